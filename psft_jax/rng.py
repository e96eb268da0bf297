"""Named random streams: every draw is a function of (seed, names), never of what was drawn before it.

A stream's name is folded into the seed, so adding a consumer, resuming a run or running patients in another
order changes no other stream.
"""

from __future__ import annotations

import zlib

import jax
import numpy as np

IMPLEMENTATION = "threefry2x32"


def _name_to_int(name: str | int) -> int:
    """A stable 32-bit integer for a stream's name (Python's own ``hash`` changes from process to process)."""
    return name if isinstance(name, int) else zlib.crc32(name.encode())


def key(seed: int, *names: str | int) -> jax.Array:
    """A JAX key for the stream ``names`` under ``seed``.

    The key is of the ``threefry`` kind: what it draws is the same alone, under ``vmap``, and on many devices.

    >>> bool((jax.random.key_data(key(0, "dropout")) == jax.random.key_data(key(0, "patches"))).all())
    False
    """
    stream = jax.random.key(seed, impl=IMPLEMENTATION)
    for name in names:
        stream = jax.random.fold_in(stream, _name_to_int(name))
    return stream


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream ``names`` under ``seed``.

    >>> int(generator(0, "patient", 3).integers(100)) == int(generator(0, "patient", 3).integers(100))
    True
    """
    # The number of names keeps ("p",) and ("p", 0) apart: NumPy pads a short seed with zeros.
    return np.random.default_rng([seed, len(names), *map(_name_to_int, names)])
