from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import measure

from psft_jax.evaluation.detection import f1, false_positives, precision, rate_by_size, true_positive_rate
from psft_jax.objects import Matching, match

shapes = st.tuples(*[st.integers(1, 6)] * 3)
two_masks = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
three_masks = shapes.flatmap(lambda shape: st.tuples(*[arrays(bool, shape)] * 3))


def matched(prediction: tuple[int, ...], reference: tuple[int, ...]) -> Matching:
    """Objects of a row of 12 voxels."""
    masks = np.zeros((2, 1, 1, 12), bool)
    masks[0, 0, 0, list(prediction)] = masks[1, 0, 0, list(reference)] = True
    return match(*masks)


def slow_counts(prediction: np.ndarray, reference: np.ndarray) -> tuple[int, int, int, int]:
    """Hit and all reference objects, correct and all predicted objects, one object at a time."""
    true, found = measure.label(reference, connectivity=3), measure.label(prediction, connectivity=3)
    hit = sum((prediction & (true == i)).any() for i in range(1, true.max() + 1))
    correct = sum((reference & (found == i)).any() for i in range(1, found.max() + 1))
    return int(hit), int(true.max()), int(correct), int(found.max())


def test_a_bridge_counts_once_in_precision_and_twice_in_tpr():
    matching = matched(prediction=(0, 1, 2, 6, 10), reference=(0, 2, 4, 8))
    assert true_positive_rate(matching) == 2 / 4
    assert false_positives(matching) == 2
    assert precision(matching) == 1 / 3
    assert f1(matching) == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_two_predictions_within_one_lesion_count_twice_in_precision_and_once_in_tpr():
    matching = matched(prediction=(0, 2, 6), reference=(0, 1, 2, 9))
    assert true_positive_rate(matching) == 1 / 2
    assert precision(matching) == 2 / 3
    assert false_positives(matching) == 1


@pytest.mark.parametrize(
    ("prediction", "reference", "tpr", "fpc", "share", "score"),
    [
        ((), (3,), 0.0, 0, math.nan, 0.0),
        ((3,), (), math.nan, 1, 0.0, math.nan),
        ((), (), math.nan, 0, math.nan, math.nan),
        ((1,), (5,), 0.0, 1, 0.0, 0.0),
        ((5,), (5,), 1.0, 0, 1.0, 1.0),
    ],
)
def test_where_nothing_is_there_or_found(prediction, reference, tpr, fpc, share, score):
    matching = matched(prediction, reference)
    measured = [g(matching) for g in (true_positive_rate, false_positives, precision, f1)]
    np.testing.assert_equal(measured, [tpr, fpc, share, score])


def test_prediction_beside_a_lesion_is_a_false_positive_and_a_miss():
    matching = matched(prediction=(4,), reference=(5,))
    assert true_positive_rate(matching) == 0
    assert false_positives(matching) == 1


@given(two_masks)
@settings(deadline=None, max_examples=80)
def test_rates_agree_with_a_loop_over_objects(masks):
    hit, lesions, correct, found = slow_counts(*masks)
    matching = match(*masks)
    np.testing.assert_equal(true_positive_rate(matching), hit / lesions if lesions else math.nan)
    np.testing.assert_equal(precision(matching), correct / found if found else math.nan)
    assert false_positives(matching) == found - correct


@given(three_masks)
@settings(deadline=None, max_examples=60)
def test_tpr_never_falls_when_the_prediction_grows(masks):
    prediction, more, reference = masks
    before, after = match(prediction, reference), match(prediction | more, reference)
    assert (before.detected <= after.detected).all()


@given(two_masks)
@settings(deadline=None, max_examples=40)
def test_f1_lies_between_tpr_and_precision(masks):
    matching = match(*masks)
    rates = true_positive_rate(matching), precision(matching)
    if not any(map(math.isnan, rates)):
        assert min(rates) - 1e-12 <= f1(matching) <= max(rates) + 1e-12


def test_a_lesion_of_the_threshold_volume_is_large():
    reference = np.zeros((1, 10, 250), bool)
    reference[0, :, :100] = True  # 1000 voxels
    reference[0, :, 101:200] = True  # 990
    reference[0, 0, 210] = True  # 1
    prediction = np.zeros_like(reference)
    prediction[0, 0, [0, 210]] = True
    by_size = rate_by_size(match(prediction, reference), (1.0, 1.0, 1.0), 1.0)
    assert (by_size.n_small, by_size.n_large) == (2, 1)
    assert (by_size.tpr_small, by_size.tpr_large) == (0.5, 1.0)


def test_a_size_class_without_lesions_has_no_rate():
    by_size = rate_by_size(matched((), (3,)), (1.0, 1.0, 1.0), 0.01)
    assert (by_size.n_small, by_size.n_large, by_size.tpr_small) == (1, 0, 0.0)
    assert math.isnan(by_size.tpr_large)


@given(two_masks, st.floats(0.001, 0.05))
@settings(deadline=None, max_examples=40)
def test_size_classes_part_the_lesions(masks, threshold):
    matching = match(*masks)
    by_size = rate_by_size(matching, (3.0, 1.0, 1.0), threshold)
    assert by_size.n_small + by_size.n_large == len(matching.reference)
    hits = [
        n * rate
        for n, rate in ((by_size.n_small, by_size.tpr_small), (by_size.n_large, by_size.tpr_large))
        if n
    ]
    assert sum(hits) == pytest.approx(matching.detected.sum())
