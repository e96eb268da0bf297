from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import measure

from psft_jax.evaluation.uncertainty import maximum_sd, mean_sd_of_detected, sd_against_error
from psft_jax.objects import match

EMPTY = np.zeros((1, 1, 10), bool)


def row(*voxels: int) -> np.ndarray:
    mask = EMPTY.copy()
    mask[0, 0, list(voxels)] = True
    return mask


def test_mean_sd_weighs_each_detected_lesion_once_over_its_annotated_voxels():
    sd = np.array([[[0.1, 0.2, 0.3, 0.0, 0.5, 0.0, 0.4, 0.4, 0.0, 0.0]]])
    reference = row(0, 1, 2, 4, 6, 7)
    prediction = row(2, 3, 4)  # hits the first lesion (mean 0.2) and the second (0.5), not the third
    assert mean_sd_of_detected(sd, match(prediction, reference)) == pytest.approx((0.2 + 0.5) / 2)


@pytest.mark.parametrize(("prediction", "reference"), [(row(), row(1)), (row(3), row(1)), (row(1), row())])
def test_mean_sd_is_undefined_where_nothing_was_detected(prediction, reference):
    assert math.isnan(mean_sd_of_detected(np.ones(EMPTY.shape), match(prediction, reference)))


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_mean_sd_agrees_with_scikit_image_region_properties(seed):
    generator = np.random.default_rng(seed)
    prediction, reference = generator.random((2, 4, 6, 6)) < 0.1
    sd = generator.random((4, 6, 6)).astype(np.float32)
    regions = measure.regionprops(measure.label(reference, connectivity=3), sd)
    means = [region.intensity_mean for region in regions if prediction[tuple(region.coords.T)].any()]
    expected = np.mean(means) if means else math.nan
    assert mean_sd_of_detected(sd, match(prediction, reference)) == pytest.approx(expected, nan_ok=True)


def test_maximum_sd_is_that_inside_the_organ():
    sd = np.array([[[0.1, 0.3, 0.9]]])
    assert maximum_sd(sd, np.array([[[True, True, False]]])) == 0.3
    assert math.isnan(maximum_sd(sd, np.zeros((1, 1, 3), bool)))


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(0, 0.5, width=32)), st.integers(1, 23))
@settings(deadline=None, max_examples=30)
def test_maximum_sd_bounds_the_mean_of_any_lesion(sd, n):
    lesion = np.zeros(24, bool)
    lesion[:n] = True
    lesion = lesion.reshape(2, 3, 4)
    assert mean_sd_of_detected(sd, match(lesion, lesion)) <= maximum_sd(sd, lesion) + 1e-6


def test_sd_against_error_by_hand():
    sd = np.array([[[0.0, 0.05, 0.1, 0.3, 0.5, 0.5]]])
    error = np.array([[[False, False, True, True, True, False]]])
    organ = np.array([[[True, True, True, True, True, False]]])
    table = sd_against_error(sd, error, organ, bins=2)
    assert table["lower"].tolist() == [0.0, 0.25]
    assert table["upper"].tolist() == [0.25, 0.5]
    assert table["voxels"].tolist() == [3, 2]
    assert table["sd"].tolist() == pytest.approx([0.05, 0.4])
    assert table["error"].tolist() == pytest.approx([1 / 3, 1.0])


def test_the_largest_sd_is_that_of_samples_that_contradict_each_other():
    sd = np.std([0.0, 1.0, 0.0, 1.0]) * np.ones((1, 1, 2))
    everywhere = np.ones((1, 1, 2), bool)
    table = sd_against_error(sd, everywhere, everywhere)
    assert len(table) == 20
    assert table["voxels"].tolist() == [0] * 19 + [2]
    assert table["upper"].iloc[-1] == table["sd"].iloc[-1] == 0.5
