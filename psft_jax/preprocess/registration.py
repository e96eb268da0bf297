"""Rigid registration of two images of one head by mutual information, from coarse to fine.

Both images are smoothed at each level and none is shrunk: their slices are thick already. Powell's method
finds the maximum without derivatives; on a real patient, gradient descent stopped short of it. It
starts where the headers put the two images, or from equal centres of mass where the images share more there.

References:
    Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE Trans. Med.
    Imaging 22, 2003.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.preprocess.brain_settings import RegistrationSettings
from psft_jax.preprocess.itk_images import matrix_of

STEP, STEP_TOLERANCE = 1.0, 1e-3  # about voxels, by which the farthest one moves
VALUE_TOLERANCE = 1e-5
LINE_ITERATIONS = 50
LEAST_COVERED = 0.5
"""The share of the brain that must lie inside the other image."""


@dataclass(frozen=True, eq=False)
class Registered:
    """A rigid transform that was found.

    Args:
        transform: from points of the fixed to points of the moving image, in SimpleITK's coordinates (LPS+).
        told: parameters, and what was found on the way.
    """

    transform: sitk.Transform
    told: dict[str, Any]

    @property
    def inverse(self) -> Registered:
        """The same with fixed and moving image exchanged."""
        return Registered(self.transform.GetInverse(), self.told)


def register(
    where: str,
    fixed: sitk.Image,
    moving: sitk.Image,
    region: sitk.Image,
    settings: RegistrationSettings,
    threads: int,
) -> Registered:
    """Find the rigid transform under which two images share most information.

    With equal arguments it finds the same each time.

    Args:
        where: what is registered, for messages.
        fixed, moving: float32 images of one head, on any grids.
        region: uint8 on the grid of ``fixed``: the brain. The images are compared in it and around it.
        settings: of the registration.
        threads: how many work.

    Raises:
        InputError: the images do not overlap, or ``moving`` shows less than ``LEAST_COVERED`` of the region.
    """
    method = _method(_grown(region, settings.margin_mm), settings, threads)
    starts = _starts(fixed, moving, region)
    scores = {name: _score(method, fixed, moving, start) for name, start in starts.items()}
    best = min(scores, key=lambda name: scores[name])
    if not np.isfinite(scores[best]):
        raise _no_overlap(where, 0.0)
    method.SetInitialTransform(starts[best], True)
    method.Execute(fixed, moving)
    transform = starts[best]
    covered = _covered(region, moving, transform)
    if covered < LEAST_COVERED:
        raise _no_overlap(where, covered)
    told = {
        **asdict(settings),
        "method": "rigid, Mattes mutual information",
        "start": best,
        "information_at_start": -scores[best],
        "information": -method.GetMetricValue(),
        "iterations_of_last_level": method.GetOptimizerIteration(),
        "stopped": method.GetOptimizerStopConditionDescription(),
        "rotation_deg": np.rad2deg(transform.GetParameters()[:3]).tolist(),
        "share_of_brain_covered": covered,
    }
    return Registered(transform, told)


def described(registered: Registered, moving: str, fixed: str) -> dict[str, Any]:
    """A transform for a sidecar: how it was found, and as a matrix of points in RAS+ mm.

    The matrix takes points of what moves to their place in what is fixed, which is the inverse of what the
    file of ``write_transform`` holds.
    """
    matrix = matrix_of(registered.transform.GetInverse())
    return {**registered.told, "from": moving, "to": fixed, "matrix_of_points_ras_mm": matrix.tolist()}


def write_transform(path: Path, registered: Registered) -> None:
    """Write an ITK text file as ANTs, Slicer and SimpleITK resample the moving image with.

    As everywhere in ITK it takes points of the fixed image to points of the moving image, in LPS+ mm.
    """
    with atomic_path(path) as temporary:
        sitk.WriteTransform(registered.transform, str(temporary))


def _method(region: sitk.Image, settings: RegistrationSettings, threads: int) -> sitk.ImageRegistrationMethod:
    voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(region)))
    levels = len(settings.smoothing_mm)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(threads)
    method.SetMetricAsMattesMutualInformation(settings.bins)
    method.SetMetricFixedMask(region)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, settings.samples / max(voxels, 1)), settings.seed)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([1] * levels)
    method.SetSmoothingSigmasPerLevel(list(settings.smoothing_mm))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerAsPowell(settings.iterations, LINE_ITERATIONS, STEP, STEP_TOLERANCE, VALUE_TOLERANCE)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _starts(fixed: sitk.Image, moving: sitk.Image, region: sitk.Image) -> dict[str, sitk.Euler3DTransform]:
    """Where to start from; the head turns about the middle of the region."""
    voxels = np.argwhere(sitk.GetArrayViewFromImage(region))
    centre = fixed.TransformContinuousIndexToPhysicalPoint(voxels.mean(axis=0)[::-1].tolist())
    by_mass = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    shifts = {"headers": (0.0, 0.0, 0.0), "centres of mass": sitk.Euler3DTransform(by_mass).GetTranslation()}
    starts = {}
    for name, shift in shifts.items():
        starts[name] = sitk.Euler3DTransform()
        starts[name].SetCenter(centre)
        starts[name].SetTranslation(shift)
    return starts


def _score(
    method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform
) -> float:
    """Minus the information that the two share at the start; infinite where they do not overlap."""
    method.SetInitialTransform(start, False)
    try:
        return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # ITK: all samples map outside the moving image
        return float("inf")


def _grown(region: sitk.Image, margin_mm: float) -> sitk.Image:
    distance = sitk.SignedMaurerDistanceMap(region, squaredDistance=False, useImageSpacing=True)
    # Without a voxel outside the region, the filter puts all of them infinitely far outside.
    return sitk.Cast(distance <= margin_mm, sitk.sitkUInt8) | region


def _covered(region: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> float:
    """The share of the region that lies inside the moving image."""
    field_of_view = sitk.Image(moving.GetSize(), sitk.sitkUInt8) + 1
    field_of_view.CopyInformation(moving)
    seen = sitk.Resample(field_of_view, region, transform, sitk.sitkNearestNeighbor, 0)
    inside = sitk.GetArrayViewFromImage(region).astype(bool)
    return float(sitk.GetArrayViewFromImage(seen)[inside].mean())


def _no_overlap(where: str, covered: float) -> InputError:
    return InputError(
        where,
        found=f"images that overlap in {100 * covered:.0f} % of the brain",
        expected=f"at least {100 * LEAST_COVERED:.0f} %",
        remedy="Overlay them: do both show the whole head, and do the headers place them at one height?",
    )
