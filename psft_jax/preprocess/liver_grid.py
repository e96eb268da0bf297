"""Images and masks of the liver, moved by a transform onto the grid of the outputs, resampled once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.ndimage import map_coordinates, spline_filter

from psft_jax.preprocess.coordinates import Affine
from psft_jax.preprocess.liver_elastix import Points
from psft_jax.scan import Mask, Volume

Transform = Callable[[Points], Points]
"""From places (n, 3) in the output, (x, y, z) in RAS+ mm, to places in an input."""

Resampled = Float[np.ndarray, "_ _ _ c"]  # on another grid than what it was made of
ResampledMask = Bool[np.ndarray, "_ _ _"]

_SLICES = 8  # resampled at once, for the memory's sake
_STEP_MM = 0.5


@dataclass(frozen=True, eq=False)
class OutputGrid:
    """The voxels of the outputs: their number along (Z, Y, X), and their affine from (x, y, z) to mm."""

    shape: tuple[int, int, int]
    affine: Affine

    def slabs(self) -> Iterator[tuple[slice, Points]]:
        """Some slices at a time, and where their voxels lie."""
        for first in range(0, self.shape[0], _SLICES):
            slab = slice(first, min(first + _SLICES, self.shape[0]))
            index = np.mgrid[slab, 0 : self.shape[1], 0 : self.shape[2]].reshape(3, -1)
            yield slab, _applied(self.affine, index[::-1].T)


def centred_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    raw_shape: tuple[int, int, int],
    raw_affine: Affine,
) -> OutputGrid:
    """A grid with the axes and the middle of a raw one, and other voxels; all shapes are (Z, Y, X)."""
    axes = raw_affine[:3, :3] / np.linalg.norm(raw_affine[:3, :3], axis=0)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm[::-1]
    raw_middle, middle = ((np.array(n[::-1]) - 1) / 2 for n in (raw_shape, shape))
    affine[:3, 3] = _applied(raw_affine, raw_middle[None])[0] - affine[:3, :3] @ middle
    return OutputGrid(shape, affine)


def resample(
    volumes: Sequence[Volume],
    affine: Affine,
    grid: OutputGrid,
    transform: Transform,
    *,
    order: Literal[1, 3] = 3,
) -> Resampled:
    """Volumes on one grid, moved by one transform.

    Args:
        volumes: (Z, Y, X) each.
        affine: of their grid.
        grid: that of the output.
        transform: from the output to the volumes.
        order: of the spline that interpolates.

    Returns:
        (Z, Y, X, C) float32 on ``grid``, within each volume's own range, and 0 outside its field of view.
    """
    found = np.zeros((*grid.shape, len(volumes)), np.float32)
    ranges = [(float(volume.min()), float(volume.max())) for volume in volumes]
    filtered = [spline_filter(v, order, output=np.float32) if order > 1 else v for v in volumes]
    to_index, last = np.linalg.inv(affine), np.array(volumes[0].shape)[:, None] - 0.5
    for slab, points in grid.slabs():
        index = _applied(to_index, transform(points)).T[::-1]
        inside = ((index >= -0.5) & (index <= last)).all(axis=0)
        shape = found[slab, ..., 0].shape
        for channel, (coefficients, limits) in enumerate(zip(filtered, ranges, strict=True)):
            values = map_coordinates(coefficients, index, order=order, mode="mirror", prefilter=False)
            found[slab, ..., channel] = (np.clip(values, *limits) * inside).reshape(shape)
    return found


def resample_mask(mask: Mask, affine: Affine, grid: OutputGrid, transform: Transform) -> ResampledMask:
    """A mask, moved by a transform: what lies in it by half or more."""
    return resample([mask.astype(np.float32)], affine, grid, transform, order=1)[..., 0] >= 0.5


def reaches_beyond(mask: Mask, affine: Affine, grid: OutputGrid) -> bool:
    """Whether a voxel of a mask has its centre outside a grid."""
    points = _applied(affine, np.argwhere(mask)[:, ::-1])
    index = _applied(np.linalg.inv(grid.affine), points)
    return bool(((index < -0.5) | (index > np.array(grid.shape[::-1]) - 0.5)).any())


def jacobian_determinants(transform: Transform, points: Points) -> Float[np.ndarray, " n"]:
    """How much a transform enlarges the surroundings of each point; below 0 it folds space over."""
    columns = [
        (transform(points + step) - transform(points - step)) / (2 * _STEP_MM)
        for step in _STEP_MM * np.eye(3)
    ]
    return np.linalg.det(np.stack(columns, axis=-1))


def voxel_places(mask: Mask, affine: Affine, *, every: int = 1) -> Points:
    """Where the voxels of a mask lie in mm, of every so many along each axis."""
    sparse = np.zeros_like(mask)
    sparse[::every, ::every, ::every] = mask[::every, ::every, ::every]
    return _applied(affine, np.argwhere(sparse)[:, ::-1])


def _applied(affine: Affine, points: Num[np.ndarray, "n 3"]) -> Points:
    return points @ affine[:3, :3].T + affine[:3, 3]
