"""Groupwise registration of a series whose contrast changes, such as the phases of DCE-MRI.

All phases are registered at once and none is the reference: after normalising each phase's intensities, the
metric is small where few principal components explain the series, and the deformations' mean over the phases
is held at 0. Jansen et al. 2020, section 2.1.1, and

    Huizinga et al., "PCA-based groupwise image registration for quantitative MRI", Med. Image Anal. 29, 2016,

with the parameters that its authors published for DCE-MRI of the abdomen (elastix model zoo, Par0039).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.errors import InputError, check_fields
from psft_jax.preprocess.coordinates import Affine
from psft_jax.preprocess.liver_elastix import Deformation, Stage, deformations_of, run_elastix
from psft_jax.scan import Mask


@dataclass(frozen=True)
class GroupwiseSettings:
    """How a series is registered.

    Args:
        lattice_mm: between the control points of the B-splines.
        iterations: at half the resolution, and again at the full one.
        samples: places that are drawn in each iteration.

    Raises:
        InputError: a value that is not positive.
    """

    lattice_mm: float = 64.0
    iterations: int = 1000
    samples: int = 2048

    def __post_init__(self) -> None:
        valid = {
            "lattice_mm": (self.lattice_mm > 0, "above 0"),
            "iterations": (self.iterations > 0, "1 or more"),
            "samples": (self.samples > 0, "1 or more"),
        }
        check_fields(self, valid, remedy="Leave it at its default.")


def register_groupwise(
    where: str,
    series: Float[np.ndarray, "t z y x"],
    affine: Affine,
    settings: GroupwiseSettings,
    *,
    region: Mask | None = None,
    threads: int = 1,
) -> tuple[Deformation, ...]:
    """From the mean position of what is in a series to its position in each phase.

    Args:
        where: whose series it is, for messages.
        series: (T, Z, Y, X) float32, two phases or more.
        affine: from voxels (x, y, z) to RAS+ mm.
        settings: lattice and optimisation.
        region: (Z, Y, X) where the phases are to fit; everywhere without one.
        threads: how many work.

    Returns:
        A deformation for each phase; at every point their displacements have the mean 0.

    Raises:
        InputError: as ``run_elastix`` does, or a phase is constant.
    """
    for number, phase in enumerate(series):
        if phase.min() == phase.max():
            raise InputError(
                where,
                found=f"the same value {float(phase.flat[0]):g} everywhere in phase {number}",
                expected="an image in each phase",
                remedy="Export the phase again.",
            )
    stage = _stage(settings)
    (found,) = run_elastix(where, series, affine, series, affine, [stage], region=region, threads=threads)
    return deformations_of(found, len(series))


def _stage(settings: GroupwiseSettings) -> Stage:
    return {
        "Metric": ["PCAMetric2"],
        "SubtractMean": ["true"],
        "MovingImageDerivativeScales": ["1", "1", "1", "0"],
        "Transform": ["BSplineStackTransform"],
        "FinalGridSpacingInPhysicalUnits": [str(settings.lattice_mm)],
        "Interpolator": ["ReducedDimensionBSplineInterpolator"],
        "ResampleInterpolator": ["FinalReducedDimensionBSplineInterpolator"],
        "NumberOfResolutions": ["2"],
        "ImagePyramidSchedule": ["2", "2", "2", "0", "1", "1", "1", "0"],
        "MaximumNumberOfIterations": [str(settings.iterations)],
        "ASGDParameterEstimationMethod": ["Original"],
        "NumberOfSpatialSamples": [str(settings.samples)],
        "CheckNumberOfSamples": ["true"],
    }
