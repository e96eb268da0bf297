"""Named random streams: the same everywhere, apart from each other, and independent of what else is drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp

from psft_jax import rng

names = st.lists(st.one_of(st.text(max_size=8), st.integers(0, 2**31 - 1)), max_size=4).map(tuple)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**31 - 1), names)
def test_a_generator_is_a_function_of_seed_and_names(seed: int, stream: tuple[str | int, ...]) -> None:
    first = rng.generator(seed, *stream).integers(2**63, size=4)
    np.testing.assert_array_equal(rng.generator(seed, *stream).integers(2**63, size=4), first)
    assert not np.array_equal(rng.generator(seed, *stream, "deeper").integers(2**63, size=4), first)
    assert not np.array_equal(rng.generator(seed + 1, *stream).integers(2**63, size=4), first)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31 - 1), names)
def test_a_key_is_a_function_of_seed_and_names(seed: int, stream: tuple[str | int, ...]) -> None:
    def data(*args: str | int) -> list[int]:
        return jax.random.key_data(rng.key(*args)).ravel().tolist()  # type: ignore[arg-type]

    assert data(seed, *stream) == data(seed, *stream)
    assert data(seed, *stream) != data(seed, *stream, "deeper")


def test_the_order_of_names_matters() -> None:
    assert rng.generator(0, "a", "b").random() != rng.generator(0, "b", "a").random()
    assert not (jax.random.key_data(rng.key(0, "a", 1)) == jax.random.key_data(rng.key(0, 1, "a"))).all()


def test_what_a_key_draws_is_the_same_alone_and_under_vmap() -> None:
    keys = [rng.key(3, "patient", n) for n in range(3)]
    together = jax.vmap(lambda key: jax.random.bits(key, (5,)))(jnp.stack(keys))
    np.testing.assert_array_equal(together, [jax.random.bits(key, (5,)) for key in keys])


def test_streams_are_the_same_in_another_process() -> None:
    # Python salts the hash of a string in every process; a stream that used it could not be repeated.
    draw = "rng.generator(7, 'patches', 3).integers(2**62), rng.key(7, 'patches', 3)"
    program = f"from psft_jax import rng; print({draw})"
    root = Path(rng.__file__).parents[1]
    command = [sys.executable, "-c", program]
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout
    here = rng.generator(7, "patches", 3).integers(2**62), rng.key(7, "patches", 3)
    assert other.strip() == f"{here[0]} {here[1]}"
