"""Normalisation of each channel's volume by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.data.normalise import normalise, normalise_volume
from psft_jax.errors import InputError
from psft_jax.scan import Scan


def scan_with(first: np.ndarray, second: np.ndarray) -> Scan:
    organ = np.ones(first.shape[:3], dtype=bool)
    return Scan("P1", "T1", (first, second), organ, None, (1.0, 1.0, 1.0), np.eye(4))


def test_by_hand() -> None:
    # -4 is clipped to 0; of 0, 0, 2, 2 the mean is 1 and the standard deviation 1.
    volume = np.array([-4, 0, 2, 2], dtype=np.float32).reshape(1, 2, 2)
    np.testing.assert_allclose(normalise_volume(volume).ravel(), [-1, -1, 1, 1], atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.01, 1000))
def test_zero_mean_unit_variance_and_no_memory_of_the_scale(seed: int, scale: float) -> None:
    volume = np.random.default_rng(seed).normal(1, 1, (6, 7, 8)).astype(np.float32)
    result = normalise_volume(volume)
    assert result.dtype == np.float32
    assert abs(result.mean(dtype=np.float64)) < 1e-6
    assert abs(result.std(dtype=np.float64) - 1) < 1e-5
    np.testing.assert_allclose(normalise_volume(volume * np.float32(scale)), result, atol=1e-5)
    # What was negative is the smallest value, and the order of the rest is kept.
    assert (result[volume <= 0] == result.min()).all()
    order = np.argsort(volume[volume > 0])
    assert (np.diff(result[volume > 0][order]) >= 0).all()


def test_each_channel_is_normalised_alone_and_the_input_stays() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 5, (4, 5, 6, 2)).astype(np.float32)
    second = rng.uniform(0, 900, (4, 5, 6, 1)).astype(np.float32)
    before = first.copy()
    scan = scan_with(first, second)
    result = normalise(scan)
    for c in range(2):
        np.testing.assert_array_equal(result.sequences[0][..., c], normalise_volume(first[..., c]))
    np.testing.assert_array_equal(result.sequences[1][..., 0], normalise_volume(second[..., 0]))
    np.testing.assert_array_equal(first, before)
    assert result.organ is scan.organ


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_constant_channel_is_refused_and_named(value: float) -> None:
    varied = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)
    constant = np.full((2, 2, 2, 1), value, dtype=np.float32)
    with pytest.raises(InputError, match=r"P1_T1, channel 1 of sequence 1: found (the constant|a 99\.8th)"):
        normalise(scan_with(varied, np.concatenate([varied, constant], axis=-1)))


def test_an_image_that_is_0_nearly_everywhere_is_refused() -> None:
    image = np.zeros((10, 10, 11, 1), dtype=np.float32)
    image[5, 5, 5] = 1
    with pytest.raises(InputError, match=r"99\.8th percentile of 0"):
        normalise(scan_with(image, image))
