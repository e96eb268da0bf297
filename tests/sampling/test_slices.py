"""Which slices are trained on, and the organ's box in each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.sampling.slices import lesion_slices, slices_of, stack
from psft_jax.scan import Scan

MakeScan = Callable[..., Scan]


def test_slices_with_a_lesion(make_scan: MakeScan) -> None:
    np.testing.assert_array_equal(lesion_slices(make_scan()), [1, 2])


def test_a_scan_without_annotation_has_nothing_to_learn_from(make_scan: MakeScan) -> None:
    with pytest.raises(InputError, match="P1_T1: found no lesion mask"):
        lesion_slices(make_scan(lesion=None))
    with pytest.raises(InputError, match="P1_T1: found no lesion mask"):
        slices_of(make_scan(lesion=None), np.array([0]))


def test_a_scan_without_lesions_has_nothing_to_learn_from(make_scan: MakeScan) -> None:
    with pytest.raises(InputError, match="a lesion mask without a lesion"):
        lesion_slices(make_scan(lesion=np.zeros((4, 24, 20), bool)))


def test_slices_hold_what_the_scan_holds(make_scan: MakeScan) -> None:
    scan = make_scan()
    slices = slices_of(scan, np.array([2, 0]))
    assert len(slices) == 2
    assert slices.names == ("P1_T1:2", "P1_T1:0")
    for sequence, of_slices in zip(scan.sequences, slices.images, strict=True):
        np.testing.assert_array_equal(of_slices, sequence[[2, 0]])
    assert scan.lesion is not None
    np.testing.assert_array_equal(slices.lesion, scan.lesion[[2, 0]])
    assert slices.lesion.dtype == np.float32


def test_the_box_is_the_organs_in_that_slice(make_scan: MakeScan) -> None:
    organ = np.zeros((4, 24, 20), bool)
    organ[0, 5, 7] = True
    organ[1, 2:9, 3:11] = True
    organ[2, [4, 20], [19, 0]] = True
    boxes = slices_of(make_scan(organ=organ), np.array([0, 1, 2])).boxes
    np.testing.assert_array_equal(boxes, [(5, 6, 7, 8), (2, 9, 3, 11), (4, 21, 0, 20)])


def test_a_slice_without_organ_takes_the_scans_box(make_scan: MakeScan) -> None:
    organ = np.zeros((4, 24, 20), bool)
    organ[0, 5:7, 7:9] = True
    organ[3, 10:12, 1:3] = True
    np.testing.assert_array_equal(slices_of(make_scan(organ=organ), np.array([1])).boxes, [(5, 12, 1, 9)])


def test_no_positions_give_no_slices(make_scan: MakeScan) -> None:
    slices = slices_of(make_scan(), np.array([], dtype=int))
    assert len(slices) == 0
    assert slices.boxes.shape == (0, 4)


def test_scans_of_other_sizes_share_a_frame(make_scan: MakeScan) -> None:
    """The smaller one goes on with its edge, and its boxes stay true."""
    low, wide = make_scan(subject="A", shape=(4, 18, 30)), make_scan(subject="B", shape=(4, 24, 20))
    parts = [slices_of(scan, np.array([1, 2])) for scan in (low, wide)]
    both = stack(parts)
    assert both.names == ("A_T1:1", "A_T1:2", "B_T1:1", "B_T1:2")
    np.testing.assert_array_equal(both.boxes, np.concatenate([p.boxes for p in parts]))
    for sequence in range(2):
        images = both.images[sequence]
        assert images.shape == (4, 24, 30, sequence + 1)
        np.testing.assert_array_equal(images[:2, :18], low.sequences[sequence][1:3])
        np.testing.assert_array_equal(images[2:, :, :20], wide.sequences[sequence][1:3])
        np.testing.assert_array_equal(images[:2, 18:], np.repeat(images[:2, 17:18], 6, axis=1))
        np.testing.assert_array_equal(images[2:, :, 20:], np.repeat(images[2:, :, 19:20], 10, axis=2))
    assert both.lesion.sum() == parts[0].lesion.sum() + parts[1].lesion.sum()
    np.testing.assert_array_equal(both.lesion[:2, :18], parts[0].lesion)


def test_taking_keeps_images_boxes_and_names_together(make_scan: MakeScan) -> None:
    organ = np.zeros((4, 24, 20), bool)
    for z in range(4):
        organ[z, z : z + 3, 5:9] = True
    scan = make_scan(organ=organ)
    taken = slices_of(scan, np.arange(4)).take(np.array([3, 1]))
    assert taken.names == ("P1_T1:3", "P1_T1:1")
    np.testing.assert_array_equal(taken.boxes, [(3, 6, 5, 9), (1, 4, 5, 9)])
    np.testing.assert_array_equal(taken.images[1], scan.sequences[1][[3, 1]])
