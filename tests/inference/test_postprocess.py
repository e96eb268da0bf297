from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import morphology

from psft_jax.inference.postprocess import close_holes, organ_mask, postprocess, remove_noise

masks = arrays(bool, st.tuples(*[st.integers(1, 7)] * 3))


def from_rows(*rows: str) -> np.ndarray:
    """One slice, (1, Y, X), from rows of '#' and '.'."""
    return np.array([[[c == "#" for c in row] for row in rows]])


def as_probability(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 0.9, 0.1).astype(np.float32)


def everywhere(mask: np.ndarray) -> np.ndarray:
    return np.ones_like(mask)


def test_threshold_itself_is_lesion_and_organ_masks_first():
    probability = np.array([[[0.5, 0.0, 0.0, 0.49, 0.0, 0.0, 0.9]]], np.float32)
    organ = np.array([[[1, 1, 1, 1, 1, 1, 0]]], bool)
    assert postprocess(probability, organ)[0, 0].tolist() == [True] + 6 * [False]


def test_threshold_can_be_moved():
    probability = np.full((1, 1, 1), 0.3, np.float32)
    organ = np.ones((1, 1, 1), bool)
    assert postprocess(probability, organ, threshold=0.3).all()  # 0.3 in float32 is a little above 0.3
    assert not postprocess(probability, organ).any()


def test_closing_fills_a_hole_and_bridges_a_gap_of_one_voxel():
    ring = np.zeros((5, 5, 9), bool)
    ring[1:4, 1:4, 1:4] = True
    ring[2, 2, 2] = False
    ring[2, 2, 5] = True  # one voxel from the cube's face
    expected = ring.copy()
    expected[2, 2, 2] = True
    expected[2, 2, 4] = True
    np.testing.assert_array_equal(postprocess(as_probability(ring), everywhere(ring)), expected)


def test_closing_acts_across_slices():
    column = np.zeros((5, 3, 3), bool)
    column[[1, 3], 1, 1] = True
    assert postprocess(as_probability(column), everywhere(column))[:, 1, 1].tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("corner", [(0, 0, 0), (0, 4, 4), (4, 0, 4), (4, 4, 4), (0, 2, 2), (2, 2, 4)])
def test_closing_keeps_a_single_voxel_on_the_volume_border_as_it_is(corner):
    mask = np.zeros((5, 5, 5), bool)
    mask[corner] = True
    np.testing.assert_array_equal(postprocess(as_probability(mask), everywhere(mask)), mask)


def test_closing_does_not_grow_a_lesion_beside_the_border_onto_it():
    mask = np.zeros((1, 1, 4), bool)
    mask[0, 0, 1] = True
    assert close_holes(mask)[0, 0].tolist() == [False, True, False, False]


def test_opening_removes_what_no_plus_fits_into():
    mask = from_rows(
        "#........",
        "...###...",
        "...###..#",
        "...###..#",
        "........#",
    )
    expected = from_rows(
        ".........",
        "....#....",
        "...###...",
        "....#....",
        ".........",
    )
    np.testing.assert_array_equal(remove_noise(mask), expected)


def test_opening_is_within_the_slice():
    plus = from_rows(".....", "..#..", ".###.", "..#..", ".....")
    mask = np.concatenate([np.zeros_like(plus), plus, np.zeros_like(plus)])
    np.testing.assert_array_equal(remove_noise(mask), mask)
    stick = np.zeros((5, 5, 5), bool)
    stick[:, 2, 2] = True
    assert not remove_noise(stick).any()


def test_opening_keeps_a_lesion_that_the_border_cuts():
    half_plus = from_rows(".###.", "..#..", ".....")
    np.testing.assert_array_equal(remove_noise(half_plus), half_plus)


def test_opening_is_for_detection_only():
    speck = np.zeros((5, 5, 5), bool)
    speck[2, 2, 2] = True
    np.testing.assert_array_equal(postprocess(as_probability(speck), everywhere(speck)), speck)
    assert not postprocess(as_probability(speck), everywhere(speck), opening=True).any()


def test_closing_comes_before_opening():
    ring = from_rows(".....", "..#..", ".#.#.", "..#..", ".....")
    ring = np.concatenate([np.zeros_like(ring), ring, np.zeros_like(ring)])
    full = ring.copy()
    full[1, 2, 2] = True  # the opening alone would have left nothing
    np.testing.assert_array_equal(postprocess(as_probability(ring), everywhere(ring), opening=True), full)


@given(masks)
@settings(deadline=None, max_examples=60)
def test_closing_agrees_with_simpleitk_and_is_extensive_and_idempotent(mask):
    closed = close_holes(mask)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    theirs = sitk.BinaryMorphologicalClosing(image, (1, 1, 1), sitk.sitkBox, 1, True)
    np.testing.assert_array_equal(closed, sitk.GetArrayFromImage(theirs).astype(bool))
    assert (closed >= mask).all()
    np.testing.assert_array_equal(close_holes(closed), closed)


@given(masks)
@settings(deadline=None, max_examples=60)
def test_opening_agrees_with_scikit_image_and_is_antiextensive_and_idempotent(mask):
    opened = remove_noise(mask)
    theirs = [morphology.opening(s, morphology.disk(1), mode="ignore") for s in mask]
    np.testing.assert_array_equal(opened, np.stack(theirs))
    assert (opened <= mask).all()
    np.testing.assert_array_equal(remove_noise(opened), opened)


@given(masks, st.booleans())
@settings(deadline=None, max_examples=40)
def test_more_probability_never_means_less_lesion(mask, opening):
    generator = np.random.default_rng(0)
    low = generator.random(mask.shape)
    high = np.where(mask, 1.0, low)
    organ = np.ones(mask.shape, bool)
    assert (postprocess(low, organ, opening=opening) <= postprocess(high, organ, opening=opening)).all()


def test_an_organ_is_the_largest_object_that_reaches_the_threshold():
    probability = np.array([[[0.5, 0.7, 0.49, 0.9, 0.0, 0.5, 0.5, 0.6]]], np.float32)
    assert organ_mask(probability)[0, 0].tolist() == [False] * 5 + [True] * 3
    assert organ_mask(probability, threshold=0.55)[0, 0].tolist() == [False, True] + [False] * 6
    assert not organ_mask(probability, threshold=0.95).any()
