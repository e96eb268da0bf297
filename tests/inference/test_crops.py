"""Regions that slices share: all of the organ, no more of them than asked for, and the least work."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.inference.crops import LEAST_WORK, ONE_PROGRAM, crops_of
from psft_jax.model.folded import Margins

Boxes = list[tuple[int, int, int, int]]


def organ_of(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    """An organ whose sections are boxes: rows, then columns (first and after the last)."""
    organ = np.zeros((len(boxes), *size), bool)
    for section, (top, bottom, left, right) in zip(organ, boxes, strict=True):
        section[top:bottom, left:right] = True
    return organ


@pytest.mark.parametrize(("reach", "margins"), [(5, Margins(0, 5, 5, 0)), (60, Margins(0, 8, 16, 0))])
def test_the_margin_is_half_the_receptive_field_where_the_slice_goes_on(reach: int, margins: Margins) -> None:
    organ = organ_of([(12, 20, 30, 33), (0, 0, 0, 0)], (40, 36))
    (crop,) = crops_of(organ, reach)
    # The box at multiples of 16, and inside the slice.
    assert (crop.rows, crop.columns, crop.margins) == (slice(0, 32), slice(16, 36), margins)
    assert crop.slices.tolist() == [0]
    rows, columns = crop.seen
    assert (rows, columns) == (slice(0, 32 + margins.bottom), slice(16 - margins.left, 36))
    assert crop.pixels_seen == (32 + margins.bottom) * (20 + margins.left)


def test_slices_of_like_extent_share_a_region() -> None:
    organ = organ_of([(64, 80, 64, 80), (0, 150, 10, 150), (65, 70, 66, 79), (1, 159, 0, 155)], (160, 160))
    large, small = crops_of(organ, 4, LEAST_WORK._replace(most=2))
    assert (large.slices.tolist(), small.slices.tolist()) == ([1, 3], [0, 2])
    assert (small.rows, small.columns, small.margins) == (slice(64, 80), slice(64, 80), Margins(4, 4, 4, 4))


def test_with_one_program_all_slices_are_taken_whole() -> None:
    organ = organ_of([(70, 80, 64, 80), (0, 0, 0, 0), (65, 150, 10, 150)], (160, 140))
    (crop,) = crops_of(organ, 5, ONE_PROGRAM)
    assert (crop.rows, crop.columns, crop.margins) == (slice(0, 160), slice(0, 140), Margins(0, 0, 0, 0))
    assert crop.slices.tolist() == [0, 2]


def work_of(boxes: Boxes, size: tuple[int, int], reach: int) -> float:
    """Pixels of the common region, with half the margins, of every slice."""
    product = float(len(boxes))
    for axis, length in enumerate(size):
        begin = min(box[2 * axis] for box in boxes) // 16 * 16
        end = min(length, -(-max(box[2 * axis + 1] for box in boxes) // 16) * 16)
        product *= end - begin + (min(reach, begin) + min(reach, length - end)) / 2
    return product


@st.composite
def sections(draw: st.DrawFn) -> Boxes:
    """Up to six boxes in 96 x 112 pixels."""

    def extent(length: int) -> tuple[int, int]:
        begin = draw(st.integers(0, length - 1))
        return begin, draw(st.integers(begin + 1, length))

    return [(*extent(96), *extent(112)) for _ in range(draw(st.integers(1, 6)))]


@settings(max_examples=60, deadline=None)
@given(boxes=sections(), reach=st.integers(0, 40), most=st.integers(1, 3))
def test_no_division_of_slices_in_order_of_size_takes_less_work(boxes: Boxes, reach: int, most: int) -> None:
    size = (96, 112)
    organ = organ_of(boxes, size)
    crops = crops_of(organ, reach, LEAST_WORK._replace(most=most))
    assert len(crops) <= most
    assert sorted(place for crop in crops for place in crop.slices.tolist()) == list(range(len(boxes)))
    for crop in crops:
        held = np.zeros_like(organ[crop.slices])
        held[:, crop.rows, crop.columns] = True
        assert not (organ[crop.slices] & ~held).any()
    found = sum(work_of([boxes[z] for z in crop.slices], size, reach) for crop in crops)
    ordered = sorted(boxes, key=lambda box: -work_of([box], size, reach))
    places = range(1, len(boxes))
    divisions = [cuts for count in range(most) for cuts in combinations(places, count)]
    least = min(
        sum(
            work_of(ordered[begin:end], size, reach)
            for begin, end in zip((0, *cuts), (*cuts, len(boxes)), strict=True)
        )
        for cuts in divisions
    )
    assert found == pytest.approx(least)
