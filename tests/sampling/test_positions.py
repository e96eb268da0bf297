"""Patch centres, computed by hand: the first pixel's centre is 0."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.sampling.positions import corner_centres, grid_centres, patch_table
from psft_jax.sampling.slices import Box


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    top, left = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    return top, top + draw(st.integers(1, 60)), left, left + draw(st.integers(1, 60))


def test_a_grid_of_25_from_edge_to_edge() -> None:
    """20 rows from 0 and 32 columns from 100; a patch of 8 reaches 3.5 to each side of its centre."""
    rows, columns = [3.5, 6.5, 9.5, 12.5, 15.5], [103.5, 109.5, 115.5, 121.5, 127.5]
    expected = [(row, column) for row in rows for column in columns]
    np.testing.assert_array_equal(grid_centres((0, 20, 100, 132), 8), expected)


def test_odd_patches_have_whole_centres() -> None:
    np.testing.assert_array_equal(
        grid_centres((10, 19, 0, 11), 7, per_side=2), [(13, 3), (13, 7), (15, 3), (15, 7)]
    )


def test_a_box_as_large_as_the_patch_gives_one_place() -> None:
    np.testing.assert_array_equal(grid_centres((4, 12, 5, 13), 8), [(7.5, 8.5)] * 25)


def test_a_box_smaller_than_the_patch_lies_in_its_middle() -> None:
    """Rows 6 to 9 in the middle of a patch of 8 that starts at row 4; columns are wide enough."""
    np.testing.assert_array_equal(
        grid_centres((6, 10, 0, 20), 8, per_side=3), [(7.5, 3.5), (7.5, 9.5), (7.5, 15.5)] * 3
    )
    np.testing.assert_array_equal(grid_centres((0, 1, 0, 2), 9, per_side=1), [(0, 0)])


def test_four_corners_and_the_centre() -> None:
    np.testing.assert_array_equal(
        corner_centres((0, 20, 10, 40), 8),
        [(3.5, 13.5), (3.5, 35.5), (15.5, 13.5), (15.5, 35.5), (9.5, 24.5)],
    )


def test_five_patches_also_where_they_coincide() -> None:
    np.testing.assert_array_equal(corner_centres((2, 8, 2, 8), 8), [(4.5, 4.5)] * 5)


@settings(deadline=None, max_examples=100)
@given(boxes(), st.integers(8, 40), st.integers(2, 5))
def test_patches_lie_on_pixels_inside_the_box_or_around_it(box: Box, patch: int, per_side: int) -> None:
    centres = grid_centres(box, patch, per_side)
    assert centres.shape == (per_side**2, 2)
    first = centres - (patch - 1) / 2
    np.testing.assert_array_equal(first, first.round())
    for axis, (start, stop) in enumerate([box[:2], box[2:]]):
        begin, end = first[:, axis].min(), first[:, axis].max() + patch
        if stop - start >= patch:
            assert (begin, end) == (start, stop)
        else:
            assert begin == end - patch  # all in one place
            assert abs((begin + end) - (start + stop)) <= 1  # over the middle, but for half a pixel


@settings(deadline=None, max_examples=50)
@given(boxes(), st.integers(8, 40))
def test_the_fifth_patch_is_at_the_centre_of_the_box(box: Box, patch: int) -> None:
    centre = corner_centres(box, patch)[4]
    assert abs(centre[0] - (box[0] + box[1] - 1) / 2) <= 0.5
    assert abs(centre[1] - (box[2] + box[3] - 1) / 2) <= 0.5


def test_the_table_says_which_slice_a_patch_lies_in() -> None:
    boxes = np.array([[0, 20, 0, 20], [5, 13, 6, 14]], dtype=np.int32)
    slice_index, centres = patch_table(boxes, partial(corner_centres, patch=8))
    np.testing.assert_array_equal(slice_index, [0] * 5 + [1] * 5)
    np.testing.assert_array_equal(centres[:5], corner_centres((0, 20, 0, 20), 8))
    np.testing.assert_array_equal(centres[5:], [(8.5, 9.5)] * 5)
