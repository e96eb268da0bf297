"""All that fine-tuning draws, known before it begins: patches, angles and dropout keys of every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Int, Key, UInt32

from psft_jax.sampling.patches import Draw, PatchConfig, Pool, draw, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import Slices, stack

HostOrDevice = np.ndarray | Array

STEPS_PER_CALL = 128
"""Steps that are drawn in one call to the device; always so many, so that it is compiled once."""


class Minibatches(NamedTuple):
    """What consecutive steps draw, on the host.

    Args:
        draws: patches, (steps, patients, batch).
        dropout_keys: the data of one key a step and patient; the same for every run.
        slots: where the patches' features are kept, or None where they are computed.
    """

    draws: Draw
    dropout_keys: UInt32[HostOrDevice, "n p 2"]
    slots: Int[HostOrDevice, "n p b"] | None = None

    def of(self, steps: slice) -> Minibatches:
        """Those of some of the steps."""
        return Minibatches(*jax.tree.map(lambda leaf: leaf[steps], tuple(self)))


class JointPool(NamedTuple):
    """The patches of several patients in one pool: where each patient's begin, and how many they are."""

    pool: Pool
    first: Int[Array, " p"]
    number: Int[Array, " p"]


def joint_pool(parts: Sequence[Slices], config: PatchConfig) -> JointPool:
    """One pool of the slices of each patient: five patches a slice (section 2.3)."""
    pool = make_pool(stack(parts), partial(corner_centres, patch=config.size))
    per_slice = int(pool.n_patches) // sum(len(part) for part in parts)
    counts = np.array([per_slice * len(part) for part in parts])
    return JointPool(pool, jnp.asarray(np.cumsum(counts) - counts), jnp.asarray(counts))


def draw_all(pool: JointPool, keys: Key[Array, " p"], config: PatchConfig, steps: int) -> Minibatches:
    """Everything drawn in ``steps`` steps; what a patient draws depends on its own key alone.

    Args:
        pool: the patches.
        keys: of each patient.
        config: how patches are cut.
        steps: number of steps.
    """
    starts = range(0, max(steps, 1), STEPS_PER_CALL)
    parts = [_draw(pool.first, pool.number, keys, config, first) for first in starts]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:steps], *parts)
    return Minibatches(*together)


@partial(jax.jit, static_argnames="config")
def _draw(
    first: Int[Array, " p"],
    number: Int[Array, " p"],
    keys: Key[Array, " p"],
    config: PatchConfig,
    start: int | Int[Array, ""],
) -> tuple[Draw, UInt32[Array, "n p 2"]]:
    def one(step: Array, first: Array, number: Array, key: Array) -> tuple[Draw, Array]:
        draw_key, dropout_key = jax.random.split(jax.random.fold_in(key, step))
        chosen = draw(draw_key, number, config)
        return chosen._replace(patch=first + chosen.patch), jax.random.key_data(dropout_key)

    of_patients = jax.vmap(one, in_axes=(None, 0, 0, 0))
    of_steps = jax.vmap(of_patients, in_axes=(0, None, None, None))
    return of_steps(start + jnp.arange(STEPS_PER_CALL), first, number, keys)
