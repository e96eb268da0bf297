"""Resampling onto the output's grid, and what is told of a transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from psft_jax.preprocess.liver_grid import (
    OutputGrid,
    centred_grid,
    jacobian_determinants,
    reaches_beyond,
    resample,
    resample_mask,
    voxel_places,
)

SHAPE = (12, 14, 16)
SPACING = (2.0, 1.5, 1.25)


def oblique() -> np.ndarray:
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [10, -5, 20], degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag(SPACING[::-1])
    affine[:3, 3] = [-30, 12, 5]
    return affine


def noise(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)


def stay(points: np.ndarray) -> np.ndarray:
    return points


@pytest.mark.parametrize("order", [1, 3])
def test_on_its_own_grid_an_image_stays_as_it_is(order: int) -> None:
    grid = centred_grid(SHAPE, SPACING, SHAPE, oblique())
    np.testing.assert_allclose(grid.affine, oblique(), atol=1e-12)
    found = resample([noise()], oblique(), grid, stay, order=order)
    np.testing.assert_allclose(found[..., 0], noise(), atol=1e-5)


def test_a_shift_by_one_voxel_moves_the_voxels_by_one() -> None:
    image, affine = noise(), oblique()

    def shift(points: np.ndarray) -> np.ndarray:
        return points + affine[:3, 2]  # one slice up

    found = resample([image, 2 * image], affine, OutputGrid(SHAPE, affine), shift)
    np.testing.assert_allclose(found[:-1, ..., 0], image[1:], atol=1e-5)
    np.testing.assert_allclose(found[:-1, ..., 1], 2 * image[1:], atol=1e-5)
    assert (found[-1] == 0).all()  # beyond the field of view


def test_the_middle_and_the_axes_of_the_raw_grid_are_kept() -> None:
    grid = centred_grid((10, 20, 30), (3.0, 1.0, 0.5), SHAPE, oblique())
    middles = [
        a @ [*(np.array(n)[::-1] - 1) / 2, 1] for a, n in ((grid.affine, grid.shape), (oblique(), SHAPE))
    ]
    np.testing.assert_allclose(*middles)
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), [0.5, 1.0, 3.0])
    parallel = grid.affine[:3, :3] / oblique()[:3, :3]
    np.testing.assert_allclose(parallel, np.broadcast_to(parallel[0], (3, 3)))


def test_a_larger_field_of_view_is_filled_with_0_and_values_stay_in_their_range() -> None:
    edge = np.zeros(SHAPE, np.float32)
    edge[:, 7:] = 100
    grid = centred_grid((20, 24, 26), (1.5, 1.5, 1.5), SHAPE, oblique())
    found = resample([edge], oblique(), grid, stay)
    assert found.min() == 0
    assert found.max() == 100
    constant = resample([np.full(SHAPE, 7, np.float32)], oblique(), grid, stay)
    assert set(np.unique(constant.round(4))) == {0, 7}
    # 24 mm of 20 slices of 1.5 mm have content
    assert (constant[..., 0] > 0).any(axis=(1, 2)).sum() == 16


def test_a_mask_keeps_its_volume_on_a_finer_grid() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[3:9, 4:10, 4:12] = True
    grid = centred_grid((24, 28, 32), (1.0, 0.75, 0.625), SHAPE, oblique())
    found = resample_mask(mask, oblique(), grid, stay)
    assert found.sum() == pytest.approx(8 * mask.sum(), rel=0.02)


def test_a_mask_beyond_the_grid_is_noticed() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[6, 7, 8] = True
    small = centred_grid((4, 5, 6), SPACING, SHAPE, oblique())
    assert not reaches_beyond(mask, oblique(), small)
    mask[0, 7, 8] = True
    assert reaches_beyond(mask, oblique(), small)


def test_jacobian_determinants_are_those_of_linear_maps() -> None:
    points = np.random.default_rng(0).normal(0, 50, (20, 3))
    matrix = np.array([[1.2, 0.1, 0], [0, 0.9, 0.2], [0.1, 0, 1.1]])
    found = jacobian_determinants(lambda p: p @ matrix.T + 3, points)
    np.testing.assert_allclose(found, np.linalg.det(matrix))
    mirrored = jacobian_determinants(lambda p: p * [-1, 1, 1], points)
    np.testing.assert_allclose(mirrored, -1)


def test_places_are_those_of_the_voxels() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2, 4, 6] = mask[3, 4, 6] = True
    np.testing.assert_allclose(
        voxel_places(mask, oblique()), [(oblique() @ [6, 4, z, 1])[:3] for z in (2, 3)]
    )
    assert len(voxel_places(mask, oblique(), every=2)) == 1
