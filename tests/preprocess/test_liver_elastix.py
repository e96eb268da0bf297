"""What elastix says of its transforms, read as ITK reads it; and what happens where it cannot work."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from psft_jax.errors import InputError
from psft_jax.preprocess.groupwise import GroupwiseSettings, register_groupwise
from psft_jax.preprocess.liver import LiverSettings, liver_pipeline
from psft_jax.preprocess.liver_diffusion import DiffusionSettings, register_diffusion
from psft_jax.preprocess.liver_elastix import deformations_of, rigid_of

pytest.importorskip("itk")
pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # ITK's wrapping ends the process where a warning is an error

LPS = np.array([-1.0, -1.0, 1.0])
AFFINE = np.array([[3.0, 0, 0, -40], [0, 3.0, 0, -35], [0, 0, 4.0, -20], [0, 0, 0, 1]])


def points(count: int = 50) -> np.ndarray:
    return np.random.default_rng(1).uniform(-25, 25, (count, 3))


def by_itk(transform: sitk.Transform, places: np.ndarray) -> np.ndarray:
    """Through an ITK transform, whose coordinates are LPS+."""
    return np.array([transform.TransformPoint(place) for place in (places * LPS).tolist()]) * LPS


def words(values: object) -> list[str]:
    return [repr(float(value)) for value in np.ravel(np.asarray(values))]


@pytest.mark.parametrize("zyx", [False, True])
def test_a_rigid_transform_is_itks(zyx: bool) -> None:
    theirs = sitk.Euler3DTransform()
    theirs.SetComputeZYX(zyx)
    theirs.SetCenter([12.0, -7.0, 30.0])
    theirs.SetRotation(0.2, -0.35, 0.5)
    theirs.SetTranslation([3.0, -5.0, 8.0])
    ours = rigid_of(
        {
            "TransformParameters": words([0.2, -0.35, 0.5, 3, -5, 8]),
            "CenterOfRotationPoint": words([12, -7, 30]),
            "ComputeZYX": [str(zyx).lower()],
        }
    )
    np.testing.assert_allclose(ours(points()), by_itk(theirs, points()), atol=1e-9)


def test_a_deformation_is_itks() -> None:
    size, spacing, origin = (9, 8, 7), (12.0, 14.0, 16.0), (-45.0, -50.0, -48.0)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    coefficients = np.random.default_rng(0).normal(0, 5, (3, *size[::-1]))
    theirs = sitk.BSplineTransform(3, 3)
    theirs.SetFixedParameters([*size, *origin, *spacing, *turn.ravel()])
    theirs.SetParameters(coefficients.ravel().tolist())
    told = {
        "GridSize": [str(n) for n in size],
        "GridSpacing": words(spacing),
        "GridOrigin": words(origin),
        "GridDirection": words(turn.T),  # elastix writes the columns
        "TransformParameters": words(coefficients),
    }
    (ours,) = deformations_of(told)
    moved = by_itk(theirs, points())
    assert np.abs(moved - points()).max() > 3
    np.testing.assert_allclose(ours(points()), moved, atol=1e-6)


def blobs(shift_mm: np.ndarray, seed: int = 0) -> np.ndarray:
    """(20, 24, 26) smooth structure in space, seen after a shift along (x, y, z) in mm."""
    z, y, x = np.mgrid[0:20, 0:24, 0:26]
    places = np.stack([x * 3.0, y * 3.0, z * 4.0], axis=-1) - shift_mm
    rng = np.random.default_rng(seed)
    image = np.zeros(z.shape)
    for centre, width, height in zip(
        rng.uniform([10, 10, 10], [65, 60, 66], (25, 3)),
        rng.uniform(4, 9, 25),
        rng.uniform(50, 150, 25),
        strict=True,
    ):
        image += height * np.exp(-np.square(places - centre).sum(axis=-1) / (2 * width**2))
    return image.astype(np.float32)


def test_a_series_with_changing_contrast_is_brought_together() -> None:
    shifts = np.array([[0, 0, 4.0], [0, 2.0, -4.0], [1.0, -2.0, 2.0], [-1.0, 0, -2.0]])
    contrast = [(1, 0.1), (0.9, 0.3), (0.8, 0.5), (0.7, 0.6)]  # of two tissues
    series = np.stack(
        [a * blobs(s) + b * blobs(s, seed=1) for (a, b), s in zip(contrast, shifts, strict=True)]
    )
    settings = GroupwiseSettings(lattice_mm=40.0, iterations=30, samples=500)
    found = register_groupwise("blobs", series, AFFINE, settings)
    inner = points() * 0.6
    moved = np.stack([deformation(inner) - inner for deformation in found])
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-3)
    error = np.linalg.norm(moved - shifts[:, None], axis=-1).mean()
    assert error < 0.25 * np.linalg.norm(shifts, axis=-1).mean()
    again = register_groupwise("blobs", series, AFFINE, settings)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.coefficients, other.coefficients)


def test_another_contrast_on_another_grid_is_brought_onto_it() -> None:
    shift = np.array([4.0, -3.0, 5.0])
    dce = blobs(np.zeros(3))
    dwi = gaussian_filter(200 - blobs(shift), 0.5)[:, ::2, ::2].copy()
    dwi_affine = AFFINE @ np.diag([2, 2, 1, 1])
    settings = DiffusionSettings(iterations=100, samples=1000)
    deforming = replace(settings, deform_without_mask=True)
    everywhere = np.ones(dce.shape, bool)
    inner = points() * 0.5
    for how, region, deformed in (
        (settings, everywhere, True),
        (settings, None, False),
        (deforming, None, True),
    ):
        to_dwi = register_diffusion("blobs", dce, AFFINE, dwi, dwi_affine, how, region=region)
        error = np.linalg.norm(to_dwi(inner) - inner - shift, axis=-1).mean()
        assert error < 0.3 * np.linalg.norm(shift)
        assert (to_dwi.deformation is not None) == deformed


def test_images_that_do_not_overlap_are_told_of() -> None:
    far = AFFINE.copy()
    far[2, 3] += 1000
    with pytest.raises(InputError, match=r"P1, DWI: found a registration that failed \(.+\).*same height"):
        register_diffusion(
            "P1, DWI", blobs(np.zeros(3)), AFFINE, blobs(np.zeros(3)), far, DiffusionSettings()
        )


def test_a_constant_phase_is_told_of() -> None:
    series = np.stack([blobs(np.zeros(3)), np.full((20, 24, 26), 3, np.float32)])
    with pytest.raises(InputError, match="the same value 3 everywhere in phase 1"):
        register_groupwise("P1, DCE", series, AFFINE, GroupwiseSettings())


@pytest.mark.parametrize("module", ["itk", "SimpleITK"])
def test_a_missing_extra_is_told_of(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'psft_jax\[preprocess\]'"):
        liver_pipeline(LiverSettings())
