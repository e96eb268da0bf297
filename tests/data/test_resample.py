"""Masks on another grid, brought onto that of the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from psft_jax.data.nifti import LoadedVolume
from psft_jax.data.resample import nearest
from psft_jax.errors import InputError
from psft_jax.scan import FileGrid


def volume(data: np.ndarray, affine: np.ndarray) -> LoadedVolume:
    z, y, x = data.shape
    return LoadedVolume(Path("mask.nii.gz"), data.astype(np.float32), affine, FileGrid((x, y, z), affine))


def grid(spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> np.ndarray:
    """An affine from spacing and origin along x, y and z."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def test_by_hand() -> None:
    # Slices 0 to 5 of 1 mm become three of 2 mm at 0.1, 2.1 and 4.1 mm: the nearest are 0, 2 and 4.
    mask = np.zeros((6, 2, 2))
    mask[2] = 1
    reference = volume(np.zeros((3, 2, 2)), grid((1, 1, 2), (0, 0, 0.1)))
    moved = nearest(volume(mask, grid((1, 1, 1), (0, 0, 0))), reference)
    assert moved.data[:, 0, 0].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(moved.affine, reference.affine)
    assert moved.file_grid is reference.file_grid


def test_it_agrees_with_simpleitk() -> None:
    noise = np.random.default_rng(0)
    mask = (noise.random((9, 11, 13)) < 0.3).astype(np.float32)
    spacing, origin = (0.9, 1.1, 2.3), (-3.03, 2.07, 1.01)
    reference = volume(np.zeros((14, 12, 10)), grid((1.3, 0.8, 1.7), (-4.11, 1.3, -2.2)))
    moved = nearest(volume(mask, grid(spacing, origin)), reference)

    image = SimpleITK.GetImageFromArray(mask)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    expected = SimpleITK.Resample(
        image,
        (10, 12, 14),
        SimpleITK.Transform(),
        SimpleITK.sitkNearestNeighbor,
        (-4.11, 1.3, -2.2),
        (1.3, 0.8, 1.7),
    )
    np.testing.assert_array_equal(moved.data, SimpleITK.GetArrayFromImage(expected))


def test_a_mask_elsewhere_is_refused_and_an_empty_one_is_not() -> None:
    reference = volume(np.zeros((4, 4, 4)), np.eye(4))
    far = grid((1, 1, 1), (100, 0, 0))
    with pytest.raises(InputError, match=r"mask\.nii\.gz: found a mask that shares no voxel"):
        nearest(volume(np.ones((4, 4, 4)), far), reference)
    assert not nearest(volume(np.zeros((4, 4, 4)), far), reference).data.any()
