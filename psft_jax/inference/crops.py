"""What of each slice is computed: a region around the organ, and the margin that the network sees around it.

An organ's sections are smaller at its ends. A region for all slices wastes work there; a region for each
would compile a program for each. So slices share a few regions, chosen for the least work in all.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from psft_jax.model.folded import Margins
from psft_jax.scan import Mask


class Rule(NamedTuple):
    """How a volume is divided into calls to the device: what work that saves, and how many programs it takes.

    Args:
        multiple: regions begin and end at multiples of this many pixels; None for whole slices.
        most: regions of one volume.
        feature_bytes: memory for the trunk's features of one call; a slice at least is done at once.
        full_batches: as many slices in a call as fit, whatever the number that is left over; without it, so
            many that few are computed in vain.
    """

    multiple: int | None
    most: int
    feature_bytes: int
    full_batches: bool


LEAST_WORK = Rule(multiple=16, most=4, feature_bytes=256 * 2**20, full_batches=False)
"""Where compiling a program takes a fraction of the time of its slices: 0.15 s for the paper's network on a
CPU. A fifth region saves hardly a hundredth of the work, and regions at multiples of 32 take 9% more."""
ONE_PROGRAM = Rule(multiple=None, most=1, feature_bytes=2 * 2**30, full_batches=True)
"""Where compiling takes longer than the volume: all scans with slices of one size share a program."""


def rule_here() -> Rule:
    """That of the hardware at hand."""
    return LEAST_WORK if jax.default_backend() == "cpu" else ONE_PROGRAM


_Boxes = Int[np.ndarray, "n edges"]
"""First and last row, first and last column (exclusive) of a region."""


class Crop(NamedTuple):
    """Slices that share a region.

    Args:
        slices: their places along Z, rising.
        rows: of the region.
        columns: of the region.
        margins: what is looked at around it.
    """

    slices: Int[np.ndarray, " n"]
    rows: slice
    columns: slice
    margins: Margins

    @property
    def seen(self) -> tuple[slice, slice]:
        """Rows and columns of the region with its margins."""
        top, bottom, left, right = self.margins
        return (
            slice(self.rows.start - top, self.rows.stop + bottom),
            slice(self.columns.start - left, self.columns.stop + right),
        )

    @property
    def pixels_seen(self) -> int:
        """Pixels of the region with its margins."""
        rows, columns = self.seen
        return (rows.stop - rows.start) * (columns.stop - columns.start)


def crops_of(organ: Mask, reach: int, rule: Rule = LEAST_WORK) -> list[Crop]:
    """Regions that hold the organ of every slice that has any: of all divisions of the slices in the order
    of their size, the one with the least work.

    Args:
        organ: (Z, Y, X).
        reach: half the receptive field: the margin around a region, where the slice does not end before.
        rule: how regions are chosen.

    Returns:
        A crop for each region, the largest first.
    """
    places = np.flatnonzero(organ.any(axis=(1, 2)))
    boxes = np.stack([_box(organ[place], rule.multiple) for place in places])
    _, *size = organ.shape
    order = np.argsort(-_work(boxes, size, reach), kind="stable")
    crops = []
    for start, stop in _division(boxes[order], size, reach, rule.most):
        top, bottom, left, right = (int(edge) for edge in _union(boxes[order[start:stop]])[-1])
        ends = (top, size[0] - bottom, left, size[1] - right)
        margins = Margins(*(min(reach, room) for room in ends))
        crops.append(
            Crop(np.sort(places[order[start:stop]]), slice(top, bottom), slice(left, right), margins)
        )
    return crops


def _box(section: Bool[np.ndarray, "y x"], multiple: int | None) -> Int[np.ndarray, " edges"]:
    """The region of one slice."""
    if multiple is None:
        rows, columns = section.shape
        return np.array([0, rows, 0, columns])
    edges: list[int] = []
    for axis in (0, 1):
        inside = np.flatnonzero(section.any(axis=1 - axis))
        edges += [
            inside[0] // multiple * multiple,
            min(section.shape[axis], -(-(inside[-1] + 1) // multiple) * multiple),
        ]
    return np.array(edges)


def _union(boxes: _Boxes) -> _Boxes:
    """The region of the first box, of the first two, and so on."""
    begins, ends = np.minimum.accumulate(boxes[:, ::2]), np.maximum.accumulate(boxes[:, 1::2])
    return np.stack([begins, ends], axis=-1).reshape(-1, 4)


def _work(boxes: _Boxes, size: list[int], reach: int) -> Float[np.ndarray, " n"]:
    """Pixels that a layer computes on average: those of the region and half of the margins."""
    sides = []
    for axis, length in enumerate(size):
        begins, ends = boxes[:, 2 * axis], boxes[:, 2 * axis + 1]
        margins = np.minimum(reach, begins) + np.minimum(reach, length - ends)
        sides.append(ends - begins + margins / 2)
    return sides[0] * sides[1]


def _division(boxes: _Boxes, size: list[int], reach: int, most: int) -> list[tuple[int, int]]:
    """Where to divide boxes, the largest first, into groups that share a region: first and last (exclusive).

    The shortest path over the places of division, one step for each group.
    """
    count = len(boxes)
    cost = np.full((count, count + 1), np.inf)
    for start in range(count):
        cost[start, start + 1 :] = _work(_union(boxes[start:]), size, reach) * np.arange(1, count - start + 1)
    least = np.full(count + 1, np.inf)
    least[0] = 0.0
    came_from: list[Int[np.ndarray, " n"]] = []
    totals = []
    for _ in range(most):
        through = least[:count, None] + cost
        came_from.append(through.argmin(axis=0))
        least = through.min(axis=0)
        totals.append(least[count])
    groups: list[tuple[int, int]] = []
    stop = count
    for step in range(int(np.argmin(totals)), -1, -1):
        start = int(came_from[step][stop])
        groups.append((start, stop))
        stop = start
    return groups[::-1]
