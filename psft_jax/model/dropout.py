"""Dropout whose random decisions cost little: eight bits each, from a counter that is hashed.

On a CPU, drawing bits is most of what Monte Carlo dropout costs. Philox (JAX's ``rbg``) takes 60 ms for the
decisions of one minibatch of the paper's network on two cores, the hash 2 ms, and XLA fuses it with the
product that follows.
"""

from __future__ import annotations

import math
from enum import StrEnum

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

LEVELS = 256
SHIFTS = np.arange(0, 32, 8, dtype=np.uint32)


class Masks(StrEnum):
    """What one Monte Carlo dropout mask is drawn for."""

    ELEMENTWISE = "elementwise"
    """Every feature of every voxel by itself, as in the paper."""
    CHANNEL = "channel"
    """Every feature once for all voxels of a volume. In each voxel the samples are distributed as with
    elementwise masks; jointly they are not: voxels of one sample share their mask and move together."""


def dropout(
    x: Float[Array, "*b f"], rate: float, key: Array, first: int | Int[Array, ""] = 0
) -> Float[Array, "*b f"]:
    """Set elements to zero at random, each by itself, and scale the others so that the mean stays.

    Args:
        x: features.
        rate: probability of zero, rounded to the nearest 1/256 below 1 (0.2 becomes 0.1992).
        key: draws the mask.
        first: how many rows of features came before, where ``x`` is a part: the masks of all parts make that
            of the whole.

    Source: Srivastava et al., "Dropout", Journal of Machine Learning Research 15 (2014), 1929-1958.
    """
    kept = max(1, LEVELS - round(rate * LEVELS))
    if kept == LEVELS:
        return x
    return jnp.where(_kept(key, x.shape, kept, first), x * (LEVELS / kept), 0.0)


def _kept(
    key: Array, shape: tuple[int, ...], levels: int, first: int | Int[Array, ""]
) -> Bool[Array, "*b f"]:
    """A decision for each element; four share a word of 32 bits."""
    *outer, features = shape
    words = -(-features // SHIFTS.size)
    bits = random_words(key, (*outer, 1, words), first * words)
    decisions = ((bits >> SHIFTS[:, None]) & (LEVELS - 1)) < levels
    return decisions.reshape(*outer, SHIFTS.size * words)[..., :features]


def random_words(key: Array, shape: tuple[int, ...], first: int | Int[Array, ""] = 0) -> UInt32[Array, "*n"]:
    """Words of 32 random bits: the place of each word, counted from ``first``, hashed twice with the key."""
    place = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape) + jnp.uint32(first)
    one, other = jax.random.bits(key, (2,), jnp.uint32)
    return _mixed(_mixed(place ^ one) + other)


def _mixed(word: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """A bijection of 32-bit words in which every bit of the input changes every bit of the output.

    Source: the function ``lowbias32`` of C. Wellons, "Hash Prospector" (2018), with its constants of 2022.
    """
    word ^= word >> 16
    word *= np.uint32(0x21F0AAAD)
    word ^= word >> 15
    word *= np.uint32(0xD35A2D97)
    return word ^ (word >> 15)
