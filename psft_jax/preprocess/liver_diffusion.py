"""The diffusion scan of the liver, registered to the DCE-MRI: a rigid transform, then B-splines.

Jansen et al. 2020, section 2.1.1, with the parameters that its authors published (elastix model zoo,
Par0057): the scan at the lowest b-value is registered to the mean of the DCE-MRI by mutual information, and
the others follow it. Their rigid stage has a plain gradient descent with hand-set scales, from the images'
middles; here both stages have adaptive stochastic gradient descent, from where the scanner placed the images.
Without a mask of the liver the rigid transform is left as it is: B-splines that make the whole images more
alike can take the liver away from its place, and neither mutual information nor folds tell (measured in
docs/preprocessing.md).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.errors import check_fields
from psft_jax.preprocess.coordinates import Affine
from psft_jax.preprocess.liver_elastix import (
    Deformation,
    Points,
    Rigid,
    Stage,
    deformations_of,
    rigid_of,
    run_elastix,
)
from psft_jax.scan import Mask, Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiffusionSettings:
    """How the diffusion scan is registered.

    Args:
        reference: which of its volumes is registered, from 0: that of the lowest b-value.
        lattice_mm: between the control points of the B-splines along (Z, Y, X).
        iterations: of each stage.
        samples: places that are drawn in each iteration.
        deform_without_mask: whether the B-splines follow where there is no mask of the liver.

    Raises:
        InputError: a value that is not positive.
    """

    reference: int = 0
    lattice_mm: tuple[float, float, float] = (40.0, 60.0, 60.0)
    iterations: int = 2000
    samples: int = 10000
    deform_without_mask: bool = False

    def __post_init__(self) -> None:
        valid = {
            "reference": (self.reference >= 0, "0 or more"),
            "lattice_mm": (min(self.lattice_mm) > 0, "above 0"),
            "iterations": (self.iterations > 0, "1 or more"),
            "samples": (self.samples > 0, "1 or more"),
        }
        check_fields(self, valid, remedy="Leave it at its default.")


@dataclass(frozen=True, eq=False)
class RigidThenDeformed:
    """A place is taken by a rigid transform first, and from there by a deformation, where there is one."""

    rigid: Rigid
    deformation: Deformation | None

    def __call__(self, points_mm: Points) -> Points:
        """Where points are taken, both in mm."""
        moved = self.rigid(points_mm)
        return moved if self.deformation is None else self.deformation(moved)


def register_diffusion(
    where: str,
    dce: Volume,
    dce_affine: Affine,
    dwi: Float[np.ndarray, "_ _ _"],
    dwi_affine: Affine,
    settings: DiffusionSettings,
    *,
    region: Mask | None = None,
    threads: int = 1,
) -> RigidThenDeformed:
    """From a place in the DCE-MRI to the same place of the patient in the diffusion scan.

    Args:
        where: whose scans they are, for messages.
        dce: the mean of the registered phases.
        dce_affine: from its voxels (x, y, z) to RAS+ mm.
        dwi: the scan at the lowest b-value.
        dwi_affine: of ``dwi``.
        settings: lattice and optimisation.
        region: where, in the DCE-MRI, the two are to fit: around the liver. Everywhere without one, and then
            by the rigid transform alone, unless the settings say otherwise.
        threads: how many work.

    Raises:
        InputError: as ``run_elastix`` does.
    """
    stages = _stages(settings)
    if region is None and not settings.deform_without_mask:
        logger.warning("%s: no mask of the liver, so registered by a rigid transform alone", where)
        stages = stages[:1]
    rigid, *deformed = run_elastix(
        where, dce, dce_affine, dwi, dwi_affine, stages, region=region, threads=threads
    )
    return RigidThenDeformed(rigid_of(rigid), deformations_of(deformed[0])[0] if deformed else None)


def _stages(settings: DiffusionSettings) -> list[Stage]:
    both = {
        "Metric": ["NormalizedMutualInformation"],
        "Interpolator": ["BSplineInterpolator"],
        "ResampleInterpolator": ["FinalBSplineInterpolator"],
        "MaximumNumberOfIterations": [str(settings.iterations)],
        "NumberOfSpatialSamples": [str(settings.samples)],
        "RequiredRatioOfValidSamples": ["0.25"],
    }
    rigid = {
        **both,
        "Transform": ["EulerTransform"],
        "AutomaticScalesEstimation": ["true"],
        "AutomaticTransformInitialization": ["false"],
        "NumberOfHistogramBins": ["32"],
        "NumberOfResolutions": ["2"],
        "ImagePyramidSchedule": ["2", "2", "2", "1", "1", "1"],
    }
    deformed = {
        **both,
        "Transform": ["BSplineTransform"],
        "FinalGridSpacingInPhysicalUnits": [str(step) for step in settings.lattice_mm[::-1]],
        "NumberOfHistogramBins": ["64"],
        "NumberOfResolutions": ["1"],
        "ImagePyramidSchedule": ["1", "1", "1"],
    }
    return [rigid, deformed]
