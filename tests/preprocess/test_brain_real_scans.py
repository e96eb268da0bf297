"""Our transforms against those that the publisher of real scans found, on images of larger voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from psft_jax.preprocess.bias_field import correct_bias_field
from psft_jax.preprocess.brain_settings import BiasFieldSettings, RegistrationSettings
from psft_jax.preprocess.itk_images import matrix_of
from psft_jax.preprocess.registration import Registered, register
from tests.preprocess.brains import distance_mm

pytestmark = pytest.mark.real

FIELD = BiasFieldSettings(voxel_mm=8.0, iterations=(20, 20))
QUICK = RegistrationSettings(smoothing_mm=(4.0, 1.0), samples=10_000)


@pytest.fixture(scope="module")
def raw(real_data: Path) -> Path:
    return real_data / "open_ms/longitudinal/raw/patient01"


def published(path: Path) -> sitk.AffineTransform:
    """The publisher's transform, of a class that SimpleITK does not read: from fixed to moving points."""
    lines = (line.partition(": ") for line in path.read_text().splitlines())
    numbers = {name: list(map(float, rest.split())) for name, _, rest in lines if "Parameters" in name}
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(numbers["Parameters"][:9])
    transform.SetTranslation(numbers["Parameters"][9:])
    transform.SetCenter(numbers["FixedParameters"])
    return transform


def image(path: Path) -> sitk.Image:
    """An image, shrunk within its slices and corrected."""
    shrunk = sitk.BinShrink(sitk.ReadImage(str(path), sitk.sitkFloat32), (2, 2, 1))
    return correct_bias_field(str(path), shrunk, FIELD, 1).image


@pytest.fixture(scope="module")
def second(raw: Path) -> tuple[sitk.Image, sitk.Image, np.ndarray]:
    """The FLAIR of the second visit; the publisher's brain mask on its grid; points in it (RAS+ mm)."""
    flair = image(raw / "study2_FLAIR.nii.gz")
    mask = sitk.ReadImage(str(raw.parents[1] / "coregistered/patient01/brainmask.nii.gz"), sitk.sitkUInt8)
    to_common = published(raw / "study2_FLAIR_to_common_space.txt").GetInverse()
    brain = sitk.Resample(mask, flair, to_common, sitk.sitkNearestNeighbor)
    voxels = np.argwhere(sitk.GetArrayViewFromImage(brain))[::211, ::-1]
    places = np.array([flair.TransformIndexToPhysicalPoint(voxel.tolist()) for voxel in voxels])
    return flair, brain, places * (-1, -1, 1)


def apart_mm(found: Registered, theirs: sitk.Transform, points: np.ndarray) -> float:
    return distance_mm(matrix_of(found.transform), matrix_of(theirs), points)


def test_the_t1_is_registered_as_the_publisher_did(
    raw: Path, second: tuple[sitk.Image, sitk.Image, np.ndarray]
) -> None:
    flair, brain, points = second
    theirs = published(raw / "study2_T1W_intrastudy_to_FLAIR.txt")
    assert distance_mm(np.eye(4), matrix_of(theirs), points) > 0.8  # the patient had moved
    found = register("T1", flair, image(raw / "study2_T1W.nii.gz"), brain, QUICK, 1)
    # Theirs is affine; the rigid transform nearest to it is 0.16 mm away.
    assert apart_mm(found, theirs, points) < 0.4


def test_the_baseline_is_registered_to_the_follow_up_as_the_publisher_did(
    raw: Path, second: tuple[sitk.Image, sitk.Image, np.ndarray]
) -> None:
    flair, brain, points = second
    first, common = (published(raw / f"study{visit}_FLAIR_to_common_space.txt") for visit in (1, 2))
    theirs = sitk.CompositeTransform([first, common.GetInverse()])  # the last is applied first
    assert distance_mm(np.eye(4), matrix_of(theirs), points) > 10
    found = register("baseline", flair, image(raw / "study1_FLAIR.nii.gz"), brain, QUICK, 1)
    assert apart_mm(found, theirs, points) < 0.4
