"""All that fine-tuning draws, known before it begins: patches, angles and dropout keys of every step.

Patches are cut in a program of their own, so that the optimiser's step, which takes seconds to compile, does
not depend on how many slices a patient has and how large they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt32

from psft_jax.sampling.patches import Draw, PatchConfig, Pool, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import Slices, frame_of, stack

HostOrDevice = np.ndarray | Array

STEPS_PER_CALL = 128
"""Steps that are drawn in one call to the device; always so many, so that it is compiled once."""
ROOMS = (16, 32, 64, 128)
"""Numbers of slices, or of kept features, that there is room for; beyond them, multiples of the last."""
SIDE_MULTIPLE = 32
"""The sides of slices are padded to multiples of this many pixels."""


def room_for(count: int) -> int:
    """Room for so many things, of which few sizes are in use, so that most patients share compiled programs.

    >>> [room_for(count) for count in (1, 16, 17, 100, 300)]
    [16, 16, 32, 128, 384]
    """
    largest = -(-count // ROOMS[-1]) * ROOMS[-1]
    return next((room for room in ROOMS if room >= count), largest)


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


class Inputs(NamedTuple):
    """What consecutive steps work on, on the device.

    Args:
        images: of the patches, (steps, patients, batch, P, P, C) each, or None where features are looked up.
        lesion: fraction of each pixel.
        weights: the pool's weight maps, cut as the labels are.
        dropout_keys: as they were drawn.
        slots: likewise.
    """

    images: tuple[Float[Array, "*n p p c0"], Float[Array, "*n p p c1"]] | None
    lesion: Float[Array, "*n p p"]
    weights: dict[str, Float[Array, "*n p p"]]
    dropout_keys: UInt32[Array, "*n 2"]
    slots: Int[Array, "*n"] | None


class JointPool(NamedTuple):
    """The patches of several patients in one pool: where each patient's begin, and how many they are."""

    pool: Pool
    first: Int[Array, " p"]
    number: Int[Array, " p"]


def joint_pool(parts: Sequence[Slices], config: PatchConfig) -> JointPool:
    """One pool of the slices of each patient: five patches a slice (section 2.3)."""
    rows, columns = (-(-side // SIDE_MULTIPLE) * SIDE_MULTIPLE for side in frame_of(p.size for p in parts))
    together = stack(parts, (rows, columns))
    pool = make_pool(together, partial(corner_centres, patch=config.size), room_for(len(together)))
    per_slice = int(pool.n_patches) // len(together)
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
def cut_all(pool: Pool, drawn: Minibatches, config: PatchConfig) -> Inputs:
    """Cut the patches of some steps, one step after the other; without images where features are kept."""
    batch = jax.lax.map(jax.vmap(lambda chosen: extract(pool, chosen, config)), drawn.draws)
    images = batch.images if drawn.slots is None else None
    slots = None if drawn.slots is None else jnp.asarray(drawn.slots)
    return Inputs(images, batch.lesion, batch.weights, jnp.asarray(drawn.dropout_keys), slots)


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
