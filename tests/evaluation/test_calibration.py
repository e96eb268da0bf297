from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve

from psft_jax.evaluation.calibration import calibration, expected_calibration_error
from psft_jax.evaluation.rows import CALIBRATION

SHAPE = (2, 3, 4)
EVERYWHERE = np.ones(SHAPE, bool)
probabilities = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
masks = arrays(bool, SHAPE)


def _row(*values: float) -> np.ndarray:
    return np.array([[values]])


def test_columns_and_bins_are_those_of_the_file():
    table = calibration(np.zeros(SHAPE), EVERYWHERE, EVERYWHERE)
    assert list(table) == list(CALIBRATION.columns)
    np.testing.assert_allclose(table["lower"], np.arange(20) / 20)
    np.testing.assert_allclose(table["upper"], np.arange(1, 21) / 20)
    assert table["voxels"].tolist() == [24] + [0] * 19


def test_only_the_organ_counts():
    probability = _row(0.1, 0.4, 0.9, 0.9)
    lesion, organ = _row(0, 1, 1, 0).astype(bool), _row(1, 1, 1, 0).astype(bool)
    table = calibration(probability, lesion, organ, bins=2)
    assert table["voxels"].tolist() == [2, 1]
    assert table["probability"].tolist() == [0.25, 0.9]
    assert table["lesion"].tolist() == [0.5, 1.0]
    # Two voxels are 0.25 off, and one 0.1.
    assert expected_calibration_error(table) == pytest.approx((2 * 0.25 + 0.1) / 3)
    assert expected_calibration_error(table, above=0.5) == pytest.approx(0.1)


def test_error_of_several_cases_is_that_of_their_voxels():
    # In the first case 0.8 is too high by 0.8, in the second too low by 0.2: together 3 of 4 voxels, by 0.05.
    sure = calibration(_row(0.8), _row(0).astype(bool), _row(1).astype(bool))
    right = calibration(_row(0.8, 0.8, 0.8), _row(1, 1, 1).astype(bool), _row(1, 1, 1).astype(bool))
    assert expected_calibration_error(pd.concat([sure, right])) == pytest.approx(0.05)


def test_no_voxels_have_no_error():
    table = calibration(np.zeros(SHAPE), EVERYWHERE, ~EVERYWHERE)
    assert math.isnan(expected_calibration_error(table))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_certain_and_right_is_perfect_and_certain_and_wrong_is_1(value):
    probability = np.full(SHAPE, value, np.float32)
    assert expected_calibration_error(calibration(probability, probability == 1, EVERYWHERE)) == 0
    assert expected_calibration_error(calibration(probability, probability == 0, EVERYWHERE)) == 1


@given(probabilities, masks, masks)
@settings(deadline=None, max_examples=60)
def test_every_organ_voxel_and_lesion_is_in_one_bin(probability, lesion, organ):
    table = calibration(probability, lesion, organ)
    filled = table[table["voxels"] > 0]
    assert table["voxels"].sum() == organ.sum()
    assert (filled["lesion"] * filled["voxels"]).sum() == pytest.approx((lesion & organ).sum())
    assert (filled["probability"] <= filled["upper"] + 1e-6).all()
    assert (filled["probability"] >= filled["lower"] - 1e-6).all()
    if organ.any():
        assert 0 <= expected_calibration_error(table) <= 1


@given(probabilities, masks)
@settings(deadline=None, max_examples=40)
def test_bins_agree_with_scikit_learn(probability, lesion):
    table = calibration(probability, lesion, EVERYWHERE, bins=5).dropna()
    lesions, mean = calibration_curve(lesion.ravel(), probability.ravel().astype(float), n_bins=5)
    np.testing.assert_allclose(table["lesion"], lesions)
    np.testing.assert_allclose(table["probability"], mean, rtol=1e-6, atol=1e-12)
