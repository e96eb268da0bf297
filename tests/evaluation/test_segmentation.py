from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from psft_jax.evaluation.segmentation import (
    absolute_volume_difference,
    dice,
    h95,
    lesion_f1,
    lesion_recall,
    log_volume_difference,
)
from psft_jax.objects import match

SPACING = (3.0, 0.958, 0.958)
one_mask = arrays(bool, (3, 5, 6))
few_voxels = arrays(bool, (3, 9, 10), elements=st.just(True), fill=st.just(False))
thick_masks = few_voxels.map(lambda mask: ndimage.binary_dilation(mask, np.ones((1, 5, 3))))
shapes = st.tuples(*[st.integers(1, 6)] * 3)
two_masks = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def line(*voxels: int, length: int = 12) -> np.ndarray:
    """(1, 1, X) mask."""
    mask = np.zeros((1, 1, length), bool)
    mask[0, 0, list(voxels)] = True
    return mask


def challenge_h95(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> float:
    """H95 as the challenge defines it: SimpleITK's erosion and every pair of points, with no tree."""

    def boundary(mask: np.ndarray) -> np.ndarray:
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        edge = sitk.GetArrayFromImage(image - sitk.BinaryErode(image, (1, 1, 0)))
        points = [image.TransformIndexToPhysicalPoint([int(i) for i in p[::-1]]) for p in np.argwhere(edge)]
        return np.array(points)

    between = np.linalg.norm(boundary(prediction)[:, None] - boundary(reference)[None], axis=-1)
    return max(np.percentile(between.min(axis=1), 95), np.percentile(between.min(axis=0), 95))


def challenge_detection(prediction: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Recall and F1 as the challenge defines them, by SimpleITK's components."""

    def share_hit(objects: np.ndarray, other: np.ndarray) -> float:
        labels = sitk.GetArrayFromImage(
            sitk.ConnectedComponent(sitk.GetImageFromArray(objects.astype(np.uint8)), True)
        )
        everyone = set(labels[objects].tolist())
        return len(set(labels[objects & other].tolist())) / len(everyone) if everyone else 1.0

    recall, precision = share_hit(reference, prediction), share_hit(prediction, reference)
    return recall, 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def test_dice_of_a_hand_made_case():
    assert dice(line(0, 1, 2), line(1, 2, 3, 4, 5)) == pytest.approx(2 * 2 / 8)


def test_dice_where_something_is_empty():
    assert dice(line(), line()) == 1.0
    assert dice(line(), line(3)) == 0.0
    assert dice(line(3), line()) == 0.0


@given(two_masks)
@settings(deadline=None, max_examples=60)
def test_dice_is_symmetric_within_0_and_1_and_1_only_for_equal_masks(masks):
    a, b = masks
    assert dice(a, b) == dice(b, a)
    assert 0 <= dice(a, b) <= 1
    assert (dice(a, b) == 1) == bool((a == b).all())
    assert dice(a, a) == 1


@given(two_masks)
@settings(deadline=None, max_examples=40)
def test_dice_and_volumes_agree_with_simpleitk(masks):
    prediction, reference = masks
    assume(prediction.any() and reference.any())
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(m.astype(np.uint8)) for m in (reference, prediction)))
    assert dice(prediction, reference) == pytest.approx(overlap.GetDiceCoefficient())
    sums = []
    for mask in masks:
        statistics = sitk.StatisticsImageFilter()
        statistics.Execute(sitk.GetImageFromArray(mask.astype(np.uint8)))
        sums.append(statistics.GetSum())
    avd = absolute_volume_difference(prediction, reference)
    assert avd == pytest.approx(100 * abs(sums[0] - sums[1]) / sums[1])


def test_avd_is_in_percent_of_the_reference():
    assert absolute_volume_difference(line(0, 1, 2), line(4, 5)) == pytest.approx(50.0)
    assert absolute_volume_difference(line(4, 5), line(0, 1, 2)) == pytest.approx(100 / 3)
    assert absolute_volume_difference(line(), line(0, 1)) == pytest.approx(100.0)
    assert math.isnan(absolute_volume_difference(line(0), line()))


def test_log_volume_difference_is_the_same_for_twice_and_half():
    assert log_volume_difference(line(0, 1), line(0)) == pytest.approx(math.log(2))
    assert log_volume_difference(line(0), line(0, 1)) == pytest.approx(math.log(2))
    assert log_volume_difference(line(0, 1), line(5, 6)) == 0.0
    assert math.isnan(log_volume_difference(line(), line(0)))
    assert math.isnan(log_volume_difference(line(0), line()))


def test_h95_of_single_voxels_is_their_distance():
    prediction, reference = np.zeros((2, 3, 6, 6), bool)
    prediction[0, 1, 1] = reference[2, 1, 4] = True
    assert h95(prediction, reference, SPACING) == pytest.approx(math.hypot(2 * 3.0, 3 * 0.958))


def test_h95_takes_the_larger_direction_and_interpolates_the_percentile():
    # From the prediction the distances are 0 and 10 mm: the 95th percentile is 9.5 mm. Back it is 0.
    assert h95(line(0, 10), line(0), (1.0, 1.0, 1.0)) == pytest.approx(9.5)
    assert h95(line(0), line(0, 10), (1.0, 1.0, 1.0)) == pytest.approx(9.5)


def test_h95_ignores_the_inside():
    full = np.zeros((1, 7, 7), bool)
    full[0, 1:6, 1:6] = True
    ring = full.copy()
    ring[0, 2:5, 2:5] = False  # 3x3 erosion of the square leaves just this
    assert h95(full, ring, (1.0, 1.0, 1.0)) == 0.0


def test_h95_boundary_contains_the_voxel_at_an_inner_corner():
    square = np.zeros((1, 5, 5), bool)
    square[0, 1:4, 1:4] = True
    square[0, 1, 1] = False  # now the 3x3 erosion takes the centre too; one with a plus would leave it
    centre = np.zeros_like(square)
    centre[0, 2, 2] = True
    without_centre = square & ~centre
    assert h95(square, without_centre, (1.0, 1.0, 1.0)) == pytest.approx(0.65)
    # Eight boundary voxels, seven at 0 mm and the centre at 1 mm: the 95th percentile is 0.65 mm.


def test_the_volume_border_is_no_boundary():
    whole = np.ones((1, 5, 5), bool)
    whole[0, 2, 2] = False  # the only boundary: the eight around the hole
    centre = np.zeros_like(whole)
    centre[0, 2, 2] = True
    assert h95(whole, centre, (1.0, 1.0, 1.0)) == pytest.approx(math.sqrt(2))


def test_h95_is_undefined_where_either_mask_is_empty():
    assert math.isnan(h95(line(), line(1), SPACING))
    assert math.isnan(h95(line(1), line(), SPACING))
    assert math.isnan(h95(line(1), np.ones_like(line()), SPACING))  # no boundary at all


@given(thick_masks, thick_masks)
@settings(deadline=None, max_examples=80)
def test_h95_agrees_with_the_challenge(prediction, reference):
    assume(prediction.any() and reference.any())
    assume(not prediction.all(axis=(1, 2)).any() and not reference.all(axis=(1, 2)).any())
    ours = h95(prediction, reference, SPACING)
    assert ours == pytest.approx(challenge_h95(prediction, reference, SPACING), abs=1e-9)


@given(one_mask, one_mask, st.tuples(*[st.integers(0, 3)] * 3))
@settings(deadline=None, max_examples=40)
def test_h95_is_symmetric_translation_invariant_and_scales_with_the_spacing(a, b, shift):
    assume(a.any() and b.any())
    first, second = np.zeros((2, 8, 10, 11), bool)
    first[1:4, 1:6, 1:7], second[1:4, 1:6, 1:7] = a, b
    distance = h95(first, second, SPACING)
    moved = [np.roll(m, shift, axis=(0, 1, 2)) for m in (first, second)]
    assert h95(*moved, SPACING) == pytest.approx(distance)
    assert h95(second, first, SPACING) == distance
    assert h95(first, second, (6.0, 1.916, 1.916)) == pytest.approx(2 * distance)
    assert h95(first, first, SPACING) == 0


def test_recall_and_f1_of_a_hand_made_case():
    reference = line(0, 2, 4, 8)
    prediction = line(0, 1, 2, 6, 10)  # a bridge over two lesions, and two false positives
    matching = match(prediction, reference)
    assert lesion_recall(matching) == pytest.approx(2 / 4)
    assert lesion_f1(matching) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))


@pytest.mark.parametrize(
    ("prediction", "reference", "recall", "f1"),
    [((), (3,), 0.0, 0.0), ((3,), (), 1.0, 0.0), ((), (), 1.0, 1.0), ((1,), (5,), 0.0, 0.0)],
)
def test_recall_and_f1_where_nothing_is_there_or_found(prediction, reference, recall, f1):
    matching = match(line(*prediction), line(*reference))
    assert lesion_recall(matching) == recall
    assert lesion_f1(matching) == f1


@given(two_masks)
@settings(deadline=None, max_examples=60)
def test_recall_and_f1_agree_with_the_challenge(masks):
    matching = match(*masks)
    ours = lesion_recall(matching), lesion_f1(matching)
    assert ours == pytest.approx(challenge_detection(*masks))
