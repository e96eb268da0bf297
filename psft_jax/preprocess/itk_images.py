"""Between the project's arrays and SimpleITK's images: (Z, Y, X) and RAS+ mm here, LPS+ mm there."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from jaxtyping import Shaped

from psft_jax.data.nifti import LoadedVolume
from psft_jax.preprocess.coordinates import LPS, Affine, placement


def to_itk(data: Shaped[np.ndarray, "z y x"], affine: Affine) -> sitk.Image:
    """An array as an image; a mask becomes one of 0 and 1 (uint8).

    Args:
        data: (Z, Y, X).
        affine: from voxel indices (x, y, z) to RAS+ mm.
    """
    image = sitk.GetImageFromArray(data.astype(np.uint8) if data.dtype == np.bool_ else data)
    place(image, affine)
    return image


def volume_to_itk(volume: LoadedVolume) -> sitk.Image:
    """A file's volume as an image."""
    return to_itk(volume.data, volume.affine)


def place(image: sitk.Image, affine: Affine) -> None:
    """Give an image an affine from its voxel indices (x, y, z) to RAS+ mm."""
    spacing, direction, origin = placement(affine)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(origin.tolist())


def affine_of(image: sitk.Image) -> Affine:
    """From voxel indices (x, y, z) of an image to RAS+ mm."""
    spatial = np.eye(4)
    spatial[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    spatial[:3, 3] = image.GetOrigin()
    return LPS @ spatial


def matrix_of(transform: sitk.Transform) -> Affine:
    """A rigid or affine transform of points as a matrix in RAS+ mm."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    spatial = np.eye(4)
    spatial[:3, 3] = origin
    for axis in range(3):
        spatial[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    return LPS @ spatial @ LPS


def affine_to_itk(matrix: Affine) -> sitk.AffineTransform:
    """A rigid or affine transform of points from its matrix in RAS+ mm: ``matrix_of`` the other way."""
    spatial = LPS @ matrix @ LPS
    return sitk.AffineTransform(spatial[:3, :3].ravel().tolist(), spatial[:3, 3].tolist())


def resample_image(image: sitk.Image, grid: sitk.Image, to_image: sitk.Transform, threads: int) -> sitk.Image:
    """An image on another grid by cubic B-splines, cut to the range it had (splines overshoot at edges).

    Args:
        image: what is resampled.
        grid: an image whose grid is wanted.
        to_image: from points of the grid to points of the image. Where these lie outside it, 0.
        threads: how many work.
    """
    data = sitk.GetArrayViewFromImage(image)
    lowest, highest = float(data.min()), float(data.max())
    moved = _resampler(grid, to_image, sitk.sitkBSpline, threads).Execute(image)
    return sitk.Clamp(moved, sitk.sitkFloat32, min(lowest, 0.0), highest)


def resample_mask(mask: sitk.Image, grid: sitk.Image, to_mask: sitk.Transform, threads: int) -> sitk.Image:
    """A mask on another grid: each voxel has the label nearest to it, 0 outside. See ``resample_image``."""
    return _resampler(grid, to_mask, sitk.sitkNearestNeighbor, threads).Execute(mask)


def _resampler(
    grid: sitk.Image, transform: sitk.Transform, interpolator: int, threads: int
) -> sitk.ResampleImageFilter:
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(grid)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(0.0)
    resampler.SetNumberOfThreads(threads)
    return resampler
