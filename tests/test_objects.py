from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import measure

from psft_jax.objects import label_objects, largest_filled, match

masks = arrays(bool, st.tuples(*[st.integers(1, 6)] * 3))


def test_corner_contact_joins_and_a_gap_separates():
    mask = np.zeros((3, 3, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True  # a diagonal: 26-neighbours
    mask[0, 0, 4] = mask[0, 0, 5] = True
    objects = label_objects(mask)
    assert sorted(objects.voxels.tolist()) == [2, 3]
    assert len(objects) == 2


def test_volume_is_in_cubic_centimetres():
    mask = np.zeros((5, 10, 20), bool)
    mask[:, :, :10] = True
    assert label_objects(mask).volumes_ml((2.0, 1.0, 1.0)).tolist() == [1.0]  # 500 voxels of 2 mm3


def test_an_empty_mask_has_no_objects_and_nothing_to_touch():
    empty = np.zeros((2, 2, 2), bool)
    objects = label_objects(empty)
    assert len(objects) == 0
    assert objects.volumes_ml((1.0, 1.0, 1.0)).shape == (0,)
    assert objects.touched_by(~empty).shape == (0,)


def test_a_mask_without_background_is_one_object():
    assert label_objects(np.ones((2, 3, 4), bool)).voxels.tolist() == [24]


def test_one_voxel_of_overlap_is_a_hit_and_contact_is_none():
    reference = np.zeros((1, 1, 8), bool)
    reference[0, 0, :3] = True
    overlapping, adjacent = np.zeros_like(reference), np.zeros_like(reference)
    overlapping[0, 0, 2:5] = True
    adjacent[0, 0, 3:5] = True
    assert match(overlapping, reference).detected.tolist() == [True]
    assert match(adjacent, reference).detected.tolist() == [False]
    assert match(adjacent, reference).correct.tolist() == [False]


def test_a_bridge_over_two_lesions_hits_both_and_is_one_object():
    reference = np.zeros((1, 1, 9), bool)
    reference[0, 0, [1, 7]] = True
    bridge = np.zeros_like(reference)
    bridge[0, 0, 1:8] = True
    matching = match(bridge, reference)
    assert matching.detected.tolist() == [True, True]
    assert matching.correct.tolist() == [True]


@given(masks)
@settings(deadline=None, max_examples=60)
def test_objects_agree_with_scikit_image_and_simpleitk(mask):
    objects = label_objects(mask)
    theirs = measure.label(mask, connectivity=3)
    assert len(objects) == theirs.max()
    pairs = {(a, b) for a, b in zip(objects.labels[mask], theirs[mask], strict=True)}
    assert len(pairs) == len(objects)  # the same parts, under whatever numbers
    shape = sitk.RelabelComponentImageFilter()
    shape.Execute(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    sizes = shape.GetSizeOfObjectsInPixels()
    assert sorted(objects.voxels.tolist()) == sorted(sizes)


@pytest.mark.parametrize("seed", range(5))
def test_matching_agrees_with_a_loop_over_pairs_of_objects(seed):
    generator = np.random.default_rng(seed)
    prediction, reference = generator.random((2, 6, 8, 8)) < 0.08
    matching = match(prediction, reference)
    found, true = measure.label(prediction, connectivity=3), measure.label(reference, connectivity=3)
    hits = np.array(
        [
            [((true == r) & (found == p)).any() for p in range(1, found.max() + 1)]
            for r in range(1, true.max() + 1)
        ]
    )
    assert matching.detected.sum() == hits.any(axis=1).sum()
    assert matching.correct.sum() == hits.any(axis=0).sum()
    assert (len(matching.detected), len(matching.correct)) == hits.shape


def test_the_largest_object_is_kept_with_its_holes_filled():
    shell = np.zeros((5, 5, 9), bool)
    shell[1:4, 1:4, 1:4] = True
    organ = shell.copy()
    shell[2, 2, 2] = False  # closed in on all sides
    shell[1, 2, 3] = False  # open to the outside: a notch
    organ[1, 2, 3] = False
    stray = shell.copy()
    stray[:, :, 6:8] = np.indices((5, 5, 2)).sum(axis=0) % 6 == 0  # a few voxels apart from it
    np.testing.assert_array_equal(largest_filled(stray), organ)


@settings(max_examples=50, deadline=None)
@given(masks)
def test_the_largest_object_is_one_object_without_holes(mask):
    found = largest_filled(mask)
    assert len(label_objects(found)) == mask.any()
    np.testing.assert_array_equal(largest_filled(found), found)
    if mask.any():
        assert np.count_nonzero(found) >= label_objects(mask).voxels.max()
