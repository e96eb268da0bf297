"""The grid of the paper's voxels around a brain."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from psft_jax.errors import InputError
from psft_jax.preprocess.field_of_view import grid_around
from psft_jax.preprocess.itk_images import affine_of, to_itk
from tests.preprocess.brains import motion


def brain_in(affine: np.ndarray) -> sitk.Image:
    """Voxels 2 to 5 along z, 10 to 19 along y, 4 to 24 along x: their middle is (3.5, 14.5, 14)."""
    mask = np.zeros((8, 30, 32), bool)
    mask[2:6, 10:20, 4:25] = True
    return to_itk(mask, affine)


def test_the_brains_middle_is_the_grids() -> None:
    grid = grid_around(brain_in(np.diag([1.0, 2.0, 3.0, 1.0])), (7, 11, 15), (4.0, 3.0, 2.0), "P1")
    assert grid.GetSize() == (15, 11, 7)
    # The middle lies at x = 14 mm, y = 29 mm, z = 10.5 mm; the grid's middle voxel is (7, 5, 3).
    expected = np.array([[2, 0, 0, 14 - 14], [0, 3, 0, 29 - 15], [0, 0, 4, 10.5 - 12], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(affine_of(grid), expected, atol=1e-12)
    assert not sitk.GetArrayFromImage(grid).any()


def test_an_oblique_images_axes_are_kept() -> None:
    turn = motion((10.0, -20.0, 30.0), (5.0, 6.0, 7.0))
    straight = grid_around(brain_in(np.diag([1.0, 2.0, 3.0, 1.0])), (7, 11, 15), (4.0, 3.0, 2.0), "P1")
    oblique = grid_around(brain_in(turn @ np.diag([1.0, 2.0, 3.0, 1.0])), (7, 11, 15), (4.0, 3.0, 2.0), "P1")
    np.testing.assert_allclose(affine_of(oblique), turn @ affine_of(straight), atol=1e-9)


def test_a_brain_that_does_not_fit_is_refused() -> None:
    brain = brain_in(np.diag([1.0, 2.0, 3.0, 1.0]))  # 21 x 20 x 12 mm
    grid_around(brain, (4, 10, 21), (3.0, 2.0, 1.0), "P1")
    with pytest.raises(InputError, match=r"^P1: found a brain of 12 x 20 x 21 mm .* at most 12 x 20 x 20 mm"):
        grid_around(brain, (4, 10, 20), (3.0, 2.0, 1.0), "P1")
