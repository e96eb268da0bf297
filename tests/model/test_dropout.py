"""Dropout from eight random bits a decision."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import stats

from psft_jax import rng
from psft_jax.model.dropout import dropout, random_words


@pytest.mark.parametrize("features", [1, 3, 4, 641])
def test_a_fifth_is_zero_and_the_rest_is_scaled(features: int) -> None:
    x = jnp.full((64 * 640 // features + 1, features), 2.0)
    out = np.asarray(dropout(x, 0.2, rng.key(0, "dropout")))
    kept = 205 / 256  # 0.2 is rounded to 51/256
    np.testing.assert_allclose(np.unique(out), [0.0, 2.0 / kept], rtol=1e-6)
    assert abs(np.mean(out > 0) - kept) < 4 * np.sqrt(kept * (1 - kept) / out.size)
    assert abs(out.mean() / 2 - 1) < 4 * np.sqrt((1 - kept) / kept / out.size)


def test_every_element_is_decided_by_itself() -> None:
    """Neighbours share a word of 32 bits; that must not make them fall together."""
    out = np.asarray(dropout(jnp.ones((4000, 8)), 0.5, rng.key(1, "dropout"))) > 0
    correlation = np.corrcoef(out.T) - np.eye(8)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)


def test_rate_zero_changes_nothing() -> None:
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(dropout(x, 0.0, rng.key(0)), x)


def test_a_rate_next_to_one_keeps_one_level() -> None:
    out = np.asarray(dropout(jnp.ones((400, 64)), 0.999, rng.key(0)))
    np.testing.assert_allclose(np.unique(out), [0.0, 256.0])
    assert abs(out.mean() - 1) < 4 * np.sqrt(255 / out.size)


def test_the_mask_is_a_function_of_the_key() -> None:
    x = jnp.ones((50, 7))
    again = [np.asarray(dropout(x, 0.2, rng.key(seed))) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any()


def test_the_gradient_flows_through_what_is_kept() -> None:
    x, key = jnp.linspace(1, 2, 40).reshape(8, 5), rng.key(3)
    gradient = jax.grad(lambda x: dropout(x, 0.2, key).sum())(x)
    np.testing.assert_allclose(gradient, np.where(dropout(x, 0.2, key) > 0, 256 / 205, 0), rtol=1e-6)


def test_the_masks_of_parts_are_those_of_the_whole() -> None:
    x, key = jnp.ones((50, 10)), rng.key(0)
    parts = [dropout(x[rows], 0.5, key, rows.start) for rows in (slice(0, 7), slice(7, 30), slice(30, 50))]
    np.testing.assert_array_equal(jnp.concatenate(parts), dropout(x, 0.5, key))


@pytest.mark.parametrize("stride", [1, 2, 20, 160, 161, 640])
def test_masks_show_no_pattern_along_the_counter(stride: int) -> None:
    """Bits hashed from a counter: decisions at any distance, and those of two keys, are independent."""
    one, other = (np.asarray(dropout(jnp.ones((2000, 640)), 0.2, rng.key(s))).ravel() > 0 for s in (0, 1))
    spread = 4.5 / np.sqrt(one.size - stride)
    assert abs(np.corrcoef(one[:-stride], one[stride:])[0, 1]) < spread
    assert abs(np.corrcoef(one[:-stride], other[stride:])[0, 1]) < spread


def test_the_four_bytes_of_a_word_are_uniform_and_independent() -> None:
    """Chi-square over all pairs of bytes, with one key and with many."""
    for keys in ([rng.key(5)], [rng.key(n) for n in range(64)]):
        rows = 4_000_000 // (4 * len(keys))
        words = np.concatenate([np.asarray(random_words(key, (rows,))) for key in keys])
        parts = [(words >> shift) & 255 for shift in (0, 8, 16, 24)]
        for a, b in itertools.combinations(range(4), 2):
            counts = np.bincount(parts[a] * 256 + parts[b], minlength=65536)
            assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4
