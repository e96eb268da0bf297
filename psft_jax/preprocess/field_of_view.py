"""A grid of given voxels around a brain, along the axes of the image that shows it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from psft_jax.errors import InputError
from psft_jax.preprocess.itk_images import affine_of, place
from psft_jax.scan import bounding_box

ROUNDING_MM = 1e-3  # what headers in float32 lose


def grid_around(
    brain: sitk.Image, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], where: str
) -> sitk.Image:
    """The grid with the brain in its middle.

    Args:
        brain: uint8, with at least one voxel of the brain.
        shape: voxels wanted along (Z, Y, X).
        spacing_mm: their sides along (Z, Y, X).
        where: the visit, for messages.

    Returns:
        An image of zeros on the grid.

    Raises:
        InputError: the brain is larger than the grid.
    """
    affine = affine_of(brain)
    sides_mm = np.array(brain.GetSpacing())
    box = bounding_box(sitk.GetArrayViewFromImage(brain).astype(bool))[::-1]  # (x, y, z), as all below
    brain_mm = np.array([s.stop - s.start for s in box]) * sides_mm
    voxels, new_sides_mm = np.array(shape[::-1]), np.array(spacing_mm[::-1])
    if (brain_mm > voxels * new_sides_mm + ROUNDING_MM).any():
        raise InputError(
            where,
            found=f"a brain of {_by_axis(brain_mm)} mm (Z, Y, X)",
            expected=f"at most {_by_axis(voxels * new_sides_mm)} mm, the field of view of brain.shape voxels",
            remedy="Set a larger brain.shape or brain.spacing_mm, or brain.resample=false; and look at the "
            "mask, if no brain is that large.",
        )
    centre = np.array([(s.start + s.stop - 1) / 2 for s in box])
    grid_affine = affine.copy()
    grid_affine[:3, :3] = affine[:3, :3] / sides_mm * new_sides_mm
    grid_affine[:3, 3] += affine[:3, :3] @ centre - grid_affine[:3, :3] @ (voxels - 1) / 2
    grid = sitk.Image(voxels.tolist(), sitk.sitkUInt8)
    place(grid, grid_affine)
    return grid


def _by_axis(lengths_mm: np.ndarray) -> str:
    return " x ".join(f"{length:.0f}" for length in lengths_mm[::-1])
