"""Dropout that spends eight random bits on a decision instead of 32.

On CPU, drawing the bits is most of what Monte Carlo dropout costs.
"""

from __future__ import annotations

import jax
from jax import numpy as jnp
from jaxtyping import Array, Float

LEVELS = 256


def dropout(x: Float[Array, "*b f"], rate: float, key: Array) -> Float[Array, "*b f"]:
    """Set elements to zero at random, each by itself, and scale the others so that the mean stays.

    Args:
        x: features.
        rate: probability of zero, rounded to the nearest 1/256 below 1 (0.2 becomes 0.1992).
        key: draws the mask.

    Source: Srivastava et al., "Dropout", Journal of Machine Learning Research 15 (2014), 1929-1958.
    """
    kept = max(1, LEVELS - round(rate * LEVELS))
    if kept == LEVELS:
        return x
    words = -(-x.shape[-1] // 4)
    bits = jax.random.bits(key, (*x.shape[:-1], words), jnp.uint32)
    decisions = jnp.stack([(bits >> shift) & (LEVELS - 1) for shift in (0, 8, 16, 24)], axis=-1)
    decisions = decisions.reshape(*x.shape[:-1], 4 * words)[..., : x.shape[-1]]
    return jnp.where(decisions < kept, x * (LEVELS / kept), 0.0)
