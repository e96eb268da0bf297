"""Raw scans of a generated head whose place is known, for tests of the brain's preprocessing."""

from __future__ import annotations

import functools
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation, ornt_transform
from scipy.spatial.transform import Rotation

from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.phantoms.brain import AcquisitionParameters, BrainPhantomSettings, brain_cohort
from psft_jax.preprocess.brain_settings import (
    BiasFieldSettings,
    BrainSettings,
    BrainSource,
    RegistrationSettings,
)
from psft_jax.scan import Scan

QUICK = BrainSettings(
    brain=BrainSource.NONZERO,
    bias_field=BiasFieldSettings(voxel_mm=8.0, iterations=(20, 20)),
    registration=RegistrationSettings(smoothing_mm=(4.0, 1.0), samples=5000),
)
"""Fewer samples and levels than one would use on patients."""


@functools.cache
def head(*, bias: float = 0.0) -> Scan:
    """A skull-stripped baseline of 24 x 120 x 120 voxels of 6 x 1.9 x 1.9 mm with lesions."""
    acquisition = AcquisitionParameters(bias=bias)
    settings = BrainPhantomSettings(n_training=0, n_test=1, shape=(24, 120, 120), acquisition=acquisition)
    return brain_cohort(settings).test[0].baseline.load()


def motion(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    """A rigid motion of points in RAS+ mm: turned about the origin's x, y and z, then shifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def points_of(scan: Scan) -> np.ndarray:
    """Places of voxels of the brain in RAS+ mm: (n, 3)."""
    voxels = np.argwhere(scan.organ)[::97, ::-1]
    return nib.affines.apply_affine(scan.affine, voxels)


def distance_mm(one: np.ndarray, other: np.ndarray, points: np.ndarray) -> float:
    """How far apart two matrices take points, on average."""
    apart = nib.affines.apply_affine(one, points) - nib.affines.apply_affine(other, points)
    return float(np.linalg.norm(apart, axis=1).mean())


def save(path: Path, volume: np.ndarray, affine: np.ndarray, axes: str = "RAS") -> Path:
    """Write a volume (Z, Y, X) with the axes of the file in any order, and its voxels where they were."""
    values = volume.astype(np.uint8) if volume.dtype == np.bool_ else volume
    image = nib.Nifti1Image(values.transpose(), affine)
    turned = ornt_transform(io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(axes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turned), path)
    return path


def raw_visit(
    folder: Path,
    session: str = "one",
    role: Role = Role.TRAINING,
    *,
    placed: np.ndarray | None = None,
    t1_moved: np.ndarray | None = None,
    axes: str = "RAS",
    scan: Scan | None = None,
) -> VisitFiles:
    """Write FLAIR, T1 and lesion mask of the head.

    Args:
        folder: where to.
        session, role: of the visit.
        placed: where the head lies in the scanner at this visit.
        t1_moved: how the head had moved when the T1 was taken.
        axes: of the files.
        scan: another head.
    """
    scan = scan or head()
    affine = scan.affine if placed is None else placed @ scan.affine
    t1_affine = affine if t1_moved is None else t1_moved @ affine
    assert scan.lesion is not None
    flair = save(folder / f"{session}_FLAIR.nii.gz", scan.sequences[0][..., 0], affine, axes)
    t1 = save(folder / f"{session}_T1.nii.gz", scan.sequences[1][..., 0], t1_affine, axes)
    lesion = save(folder / f"{session}_lesion.nii.gz", scan.lesion, affine, axes)
    return VisitFiles("P 1", session, role, ((flair,), (t1,)), None, lesion)
