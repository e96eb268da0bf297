"""Smooth fields, bias fields and Rician noise against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from psft_jax.errors import InputError
from psft_jax.phantoms.fields import bias_field, displacement_field, rician, smooth_field

SHAPE, SPACING = (6, 12, 12), (3.0, 1.0, 1.0)


def many(n: int, scale_mm: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([smooth_field(rng, SHAPE, SPACING, scale_mm) for _ in range(n)])


def test_every_voxel_of_a_smooth_field_has_mean_0_and_sd_1():
    fields = many(1200, 4.0)
    assert fields.dtype == np.float32
    np.testing.assert_allclose(fields.mean(axis=0), 0, atol=5 / np.sqrt(1200))
    np.testing.assert_allclose(fields.std(axis=0), 1, atol=5 / np.sqrt(2 * 1200))


def test_correlation_falls_as_that_of_white_noise_smoothed_by_a_gaussian():
    fields, scale_mm = many(1200, 4.0), 4.0
    for lag in (1, 4, 8):
        found = np.mean(fields[:, :, :, :-lag] * fields[:, :, :, lag:])
        assert found == pytest.approx(np.exp(-(lag**2) / (4 * scale_mm**2)), abs=0.06)
    between_slices = np.mean(fields[:, :-2] * fields[:, 2:])  # 6 mm apart: spacing counts, not voxels
    assert between_slices == pytest.approx(np.exp(-(6**2) / (4 * scale_mm**2)), abs=0.06)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), scale_mm=st.floats(8.0, 60.0))
def test_a_coarser_grid_over_the_same_field_of_view_shows_the_same_field(seed: int, scale_mm: float):
    # The centres of the last voxels, 23.5 mm and 23 mm, lie between the same knots.
    assume(np.ceil(23.5 / (scale_mm * np.sqrt(3))) == np.ceil(23.0 / (scale_mm * np.sqrt(3))))
    fine = smooth_field(np.random.default_rng(seed), (12, 24, 24), (2.0, 1.0, 1.0), scale_mm)
    coarse = smooth_field(np.random.default_rng(seed), (6, 12, 12), (4.0, 2.0, 2.0), scale_mm)
    averaged = fine.reshape(6, 2, 12, 2, 12, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coarse, averaged, atol=0.1)


def test_a_scale_below_the_voxel_size_is_refused():
    with pytest.raises(InputError, match="white noise"):
        smooth_field(np.random.default_rng(0), SHAPE, SPACING, 0.4)


def test_a_displacement_has_three_independent_components_of_the_given_size():
    field = displacement_field(np.random.default_rng(0), (40, 40, 40), (2.0, 2.0, 2.0), 4.0, 2.5)
    assert field.shape == (3, 40, 40, 40)
    np.testing.assert_allclose(field.std(axis=(1, 2, 3)), 2.5, rtol=0.15)
    assert np.abs(np.corrcoef(field.reshape(3, -1)) - np.eye(3)).max() < 0.2


def test_a_bias_field_is_positive_and_its_logarithm_has_the_given_strength():
    rng = np.random.default_rng(0)
    fields = np.stack([bias_field(rng, SHAPE, SPACING, 20.0, 0.1) for _ in range(1000)])
    assert fields.min() > 0
    np.testing.assert_allclose(np.log(fields).std(axis=0), 0.1, atol=0.01)
    np.testing.assert_allclose(np.median(fields, axis=0), 1, atol=0.01)
    assert (bias_field(rng, SHAPE, SPACING, 20.0, 0.0) == 1).all()


@pytest.mark.parametrize("signal", [0.0, 3.0, 100.0])
def test_rician_noise_has_the_moments_of_the_rice_distribution(signal: float):
    sd = 2.0
    noisy = rician(np.random.default_rng(0), np.full(400_000, signal, np.float32), sd)
    assert noisy.dtype == np.float32
    assert np.mean(noisy.astype(np.float64) ** 2) == pytest.approx(signal**2 + 2 * sd**2, rel=0.01)
    if signal == 0:
        assert noisy.mean() == pytest.approx(sd * np.sqrt(np.pi / 2), rel=0.01)  # Rayleigh
    if signal == 100:
        assert noisy.std() == pytest.approx(sd, rel=0.01)  # Gaussian at high signal


def test_no_noise_leaves_the_image():
    image = np.linspace(0, 5, 24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(rician(np.random.default_rng(0), image, 0.0), image)
