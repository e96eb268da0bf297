"""The frozen trunk's features of patches that come again: computed once, then looked up."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float, Int

from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import Draw, PatchConfig, Pool, extract

BUDGET_BYTES = 2 * 2**30
"""Memory that kept features may take."""


def feature_bank(
    network: Network, variables: Variables, pool: Pool, patches: PatchConfig, *, draws: int
) -> Float[Array, "n k p p f"] | None:
    """The trunk's features of every patch at every angle, where keeping them saves work.

    Args:
        network: the architecture.
        variables: the base CNN.
        pool: the patches.
        patches: how they are cut; their angles must be fixed ones to come again.
        draws: how many patches will be drawn.

    Returns:
        Features (patches, angles, P, P, F), or None where angles are continuous, where fewer patches are
        drawn than exist, or where the features would not fit ``BUDGET_BYTES``.
    """
    angles = patches.fixed_angles
    if angles is None:
        return None
    count = int(pool.n_patches)
    size = count * len(angles) * patches.size**2 * network.config.fused_channels * np.float32().itemsize
    if draws < count * len(angles) or size > BUDGET_BYTES:
        return None

    # One patch a call: XLA compiles convolutions badly for a CPU when they stand inside a loop of its own.
    kept = [
        _features_of(network, patches, variables, pool, n, k)
        for n in range(count)
        for k in range(len(angles))
    ]
    return jnp.stack(kept).reshape(count, len(angles), *kept[0].shape)


@partial(jax.jit, static_argnames=("network", "patches"))
def _features_of(
    network: Network,
    patches: PatchConfig,
    variables: Variables,
    pool: Pool,
    patch: int | Int[Array, ""],
    turn: int | Int[Array, ""],
) -> Float[Array, "p p f"]:
    which, angle = jnp.asarray([patch]), jnp.asarray(patches.fixed_angles)[jnp.asarray([turn])]
    batch = extract(pool, Draw(which, angle, jnp.asarray([turn])), patches)
    return network.trunk(variables, batch.images)[0][0]


def look_up(bank: Float[Array, "n k p p f"], chosen: Draw) -> Float[Array, "b p p f"]:
    """The kept features of a minibatch."""
    return bank[chosen.patch, chosen.turn]
