"""Where patches lie: a grid over the organ for base training, corners and centre for fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from psft_jax.sampling.slices import Box

Centres = Float[np.ndarray, "n 2"]
"""Row and column of patch centres, in pixels (the centre of the first pixel is 0)."""


def grid_centres(box: Box, patch: int, per_side: int = 5) -> Centres:
    """A grid of ``per_side`` x ``per_side`` overlapping patches over the box (section 2.2: 25 patches).

    The outer patches touch the box from inside. Along an axis in which the box is smaller than the patch, the
    patch lies over the middle of the box. Patches lie on whole pixels, so that one that is not rotated is cut
    out as it is, and its labels do not move against its image.
    """
    first_row, last_row, first_column, last_column = box
    rows = _along(first_row, last_row, patch, per_side)
    columns = _along(first_column, last_column, patch, per_side)
    return np.array(list(product(rows, columns)), dtype=np.float32)


def corner_centres(box: Box, patch: int) -> Centres:
    """Five patches: the four corners of the box and its centre (section 2.3)."""
    middle = grid_centres(box, patch, per_side=3)[4:5]
    return np.concatenate([grid_centres(box, patch, per_side=2), middle])


def patch_table(
    boxes: Int[np.ndarray, "s 4"], centres: Callable[[Box], Centres]
) -> tuple[Int[np.ndarray, " n"], Centres]:
    """Every patch of every slice: the slice it lies in, and its centre.

    Args:
        boxes: organ box of each slice.
        centres: the patch centres in one box.
    """
    per_slice = [centres((int(a), int(b), int(c), int(d))) for a, b, c, d in boxes]
    slice_index = np.repeat(np.arange(len(per_slice), dtype=np.int32), [len(c) for c in per_slice])
    return slice_index, np.concatenate(per_slice)


def _along(start: int, stop: int, patch: int, count: int) -> Float[np.ndarray, " n"]:
    """Centres of ``count`` patches from one end of an extent to the other."""
    first, last = float(start), float(stop - patch)
    if last < first:
        first = last = (first + last) / 2
    return np.round(np.linspace(first, last, count)) + (patch - 1) / 2
