"""The files of a liver's transforms, read by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from psft_jax.preprocess.itk_images import affine_to_itk, matrix_of
from psft_jax.preprocess.liver_alignment import Aligned
from psft_jax.preprocess.liver_diffusion import RigidThenDeformed
from psft_jax.preprocess.liver_elastix import Deformation, Rigid
from psft_jax.preprocess.liver_grid import OutputGrid
from psft_jax.preprocess.liver_transforms import write_transforms

LPS = np.array([-1.0, -1.0, 1.0])


def turned(*degrees: float) -> np.ndarray:
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def deformation(seed: int) -> Deformation:
    """On an oblique lattice of (Z, Y, X) 7 x 8 x 9 points."""
    affine = np.eye(4)
    affine[:3, :3] = turned(10, -20, 30) @ np.diag([40.0, 44.0, 50.0])
    affine[:3, 3] = -affine[:3, :3] @ [4, 3.5, 3] + [5, -8, 3]
    return Deformation(np.random.default_rng(seed).normal(0, 6, (3, 7, 8, 9)), affine)


def rigid() -> Rigid:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned(3, 5, -8), [4, -7, 11]
    return Rigid(matrix)


def written(folder: Path, to_dwi: RigidThenDeformed) -> tuple[Aligned, list[Path]]:
    """An examination of two phases, and the files of its transforms."""
    voxel = np.zeros((1, 1, 1, 1), np.float32)
    aligned = Aligned(
        OutputGrid((1, 1, 1), np.eye(4)),
        dce=voxel,
        dwi=voxel,
        masks={},
        to_phases=(deformation(0), deformation(1)),
        to_dwi=to_dwi,
        motion=({"largest_displacement_mm": 1.0}, {}, {}),
    )
    told = write_transforms(folder, "P1", "T0", aligned)
    assert next(iter(told.values())) == {"from": "phase00", "to": "DCE", "largest_displacement_mm": 1.0}
    return aligned, list(told)


PLACES = np.random.default_rng(2).uniform(-220, 220, (400, 3))  # some beyond the lattice, where nothing moves


def by_itk(transform: sitk.Transform, places: np.ndarray) -> np.ndarray:
    """Through an ITK transform, whose coordinates are LPS+."""
    return np.array([transform.TransformPoint(place) for place in (places * LPS).tolist()]) * LPS


@pytest.mark.parametrize("deformed", [True, False])
def test_simple_itk_reads_what_our_transforms_do(deformed: bool, tmp_path: Path) -> None:
    to_dwi = RigidThenDeformed(rigid(), deformation(2) if deformed else None)
    aligned, files = written(tmp_path, to_dwi)
    assert [file.name.removeprefix("sub-P1_ses-T0_") for file in files] == [
        f"from-{name}_to-DCE_mode-image_xfm.txt" for name in ("phase00", "phase01", "DWI")
    ]
    for ours, file in zip((*aligned.to_phases, aligned.to_dwi), files, strict=True):
        moved = by_itk(sitk.ReadTransform(str(file)), PLACES)
        assert np.abs(moved - PLACES).max() > 3
        np.testing.assert_allclose(ours(PLACES), moved, atol=1e-9)


def test_the_matrix_of_a_transform_is_the_one_that_it_was_made_of() -> None:
    np.testing.assert_allclose(matrix_of(affine_to_itk(rigid().matrix)), rigid().matrix, atol=1e-12)
