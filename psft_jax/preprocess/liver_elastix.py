"""Registrations by elastix (itk-elastix), with NumPy arrays in and the transforms that were found out.

elastix' coordinates are ITK's (LPS+); here and everywhere else in the project they are RAS+ mm, (x, y, z).

References:
    Klein et al., "elastix: a toolbox for intensity-based medical image registration", IEEE Trans. Med.
    Imaging 29, 2010.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from psft_jax.errors import InputError
from psft_jax.preprocess.coordinates import LPS, Affine, placement
from psft_jax.preprocess.extra import missing_extra
from psft_jax.scan import Mask

Points = Float[np.ndarray, "n 3"]
Stage = Mapping[str, Sequence[str]]
"""Names of elastix' parameters and their values, as a line of a parameter file has them."""

_EVERY_STAGE: Stage = {
    "FixedInternalImagePixelType": ["float"],
    "MovingInternalImagePixelType": ["float"],
    "UseDirectionCosines": ["true"],
    "Registration": ["MultiResolutionRegistration"],
    "HowToCombineTransforms": ["Compose"],
    "FixedImagePyramid": ["FixedSmoothingImagePyramid"],
    "MovingImagePyramid": ["MovingSmoothingImagePyramid"],
    "Optimizer": ["AdaptiveStochasticGradientDescent"],
    "AutomaticParameterEstimation": ["true"],
    "BSplineInterpolationOrder": ["1"],
    "ImageSampler": ["RandomCoordinate"],
    "NewSamplesEveryIteration": ["true"],
    "ErodeFixedMask": ["false"],
    "NumberOfSamplesForExactGradient": ["4096"],
    "RandomSeed": ["121212"],
    "WriteResultImage": ["false"],
}


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rigid transform: ``matrix`` takes homogeneous (x, y, z, 1) in mm."""

    matrix: Affine

    def __call__(self, points_mm: Points) -> Points:
        """Where points are taken, both in mm."""
        return points_mm @ self.matrix[:3, :3].T + self.matrix[:3, 3]


@dataclass(frozen=True, eq=False)
class Deformation:
    """A free-form deformation by cubic B-splines; as in ITK nothing moves but inside the outermost cells.

    Args:
        coefficients: (3, Z, Y, X), of the displacement along (x, y, z) in mm.
        affine: from indices (x, y, z) of the lattice to mm.
    """

    coefficients: Float[np.ndarray, "3 z y x"]
    affine: Affine

    def __call__(self, points_mm: Points) -> Points:
        """Where points are taken, both in mm."""
        to_lattice = np.linalg.inv(self.affine)
        index = (points_mm @ to_lattice[:3, :3].T + to_lattice[:3, 3]).T[::-1]
        last = np.array(self.coefficients.shape[1:])[:, None] - 2
        inside = ((index >= 1) & (index < last)).all(axis=0)
        moved = [
            # The coefficients are those of the B-splines already, so nothing is filtered.
            map_coordinates(component, index, order=3, mode="grid-constant", prefilter=False) * inside
            for component in self.coefficients
        ]
        return points_mm + np.stack(moved, axis=-1)


def run_elastix(
    where: str,
    fixed: Float[np.ndarray, "*series z y x"],
    fixed_affine: Affine,
    moving: Float[np.ndarray, "*series _ _ _"],
    moving_affine: Affine,
    stages: Sequence[Stage],
    *,
    region: Mask | None = None,
    threads: int = 1,
) -> list[dict[str, tuple[str, ...]]]:
    """Register ``moving`` to ``fixed`` in stages, each of which begins where the one before it ended.

    With equal arguments it finds the same transforms each time; another number of threads adds in another
    order, which changes them a little.

    Args:
        where: what is registered, for messages.
        fixed: (Z, Y, X) or, as a series, (T, Z, Y, X) float32.
        fixed_affine: from its voxels (x, y, z) to mm.
        moving: as ``fixed``; of a groupwise registration the same array.
        moving_affine: of ``moving``.
        stages: the parameters of each.
        region: (Z, Y, X) the voxels of ``fixed`` whose likeness counts; all without one.
        threads: how many work.

    Returns:
        The parameters of the transform of each stage.

    Raises:
        InputError: itk-elastix is not installed, or the registration failed.
    """
    itk = import_itk()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ITK's wrapping ends the process where a warning is made an error
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
        fixed_image = _image(itk, fixed, fixed_affine)
        moving_image = fixed_image if moving is fixed else _image(itk, moving, moving_affine)
        wrapped = f"itkElastixRegistrationMethodIF{fixed.ndim}IF{fixed.ndim}"
        method = getattr(itk.itkElastixRegistrationMethodPython, wrapped).New(
            FixedImage=fixed_image, MovingImage=moving_image, ParameterObject=_parameters(itk, stages)
        )
        method.SetNumberOfThreads(threads)
        method.SetLogToConsole(False)
        method.SetLogToFile(False)
        if region is not None:
            repeated = np.ascontiguousarray(np.broadcast_to(region.astype(np.uint8), fixed.shape))
            method.SetFixedMask(_image(itk, repeated, fixed_affine))
        try:
            method.UpdateLargestPossibleRegion()
        except RuntimeError as error:
            raise InputError(
                where,
                found=f"a registration that failed ({_reason(error)})",
                expected="images of the same part of the body, which overlap",
                remedy="Overlay them: do the headers place them at the same height?",
            ) from error
        found = method.GetTransformParameterObject()
        return [dict(found.GetParameterMap(stage)) for stage in range(len(stages))]


def import_itk() -> ModuleType:
    """The package ``itk`` with elastix in it, under the names that its wrapping has for each kind of image.

    ``itk.ElastixRegistrationMethod`` is the same, and would load all of ITK first (11 s of a processor core).

    Raises:
        InputError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import itk

            # itk alone has no elastix
            from itk import elxParameterObjectPython, itkElastixRegistrationMethodPython  # noqa: F401
    except ImportError as error:
        raise missing_extra("liver", f"no elastix ({error})") from error
    return itk


def rigid_of(parameters: Mapping[str, Sequence[str]]) -> Rigid:
    """The rigid transform that elastix found (EulerTransform)."""
    angles_and_shift = _numbers(parameters["TransformParameters"])
    centre = _numbers(parameters["CenterOfRotationPoint"])
    order = "xyz" if parameters["ComputeZYX"][0] == "true" else "yxz"  # of rotations about fixed axes
    angles = dict(zip("xyz", angles_and_shift[:3], strict=True))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(order, [angles[axis] for axis in order]).as_matrix()
    matrix[:3, 3] = angles_and_shift[3:] + centre - matrix[:3, :3] @ centre
    return Rigid(LPS @ matrix @ LPS)


def deformations_of(parameters: Mapping[str, Sequence[str]], count: int = 1) -> tuple[Deformation, ...]:
    """The deformations that elastix found: one, or of a stack (BSplineStackTransform) its ``count``."""
    size = [int(n) for n in parameters["GridSize"][:3]]
    direction = _numbers(parameters["GridDirection"]).reshape(3, 3).T
    affine = np.eye(4)
    affine[:3, :3] = direction * _numbers(parameters["GridSpacing"])
    affine[:3, 3] = _numbers(parameters["GridOrigin"])
    coefficients = _numbers(parameters["TransformParameters"]).reshape(count, 3, *size[::-1])
    signs = np.diag(LPS)[:3, None, None, None]
    return tuple(Deformation(of_one * signs, LPS @ affine) for of_one in coefficients)


def _parameters(itk: ModuleType, stages: Sequence[Stage]) -> Any:
    parameters = itk.elxParameterObjectPython.elastixParameterObject.New()
    for stage in stages:
        parameters.AddParameterMap({name: list(value) for name, value in {**_EVERY_STAGE, **stage}.items()})
    return parameters


def _numbers(values: Sequence[str]) -> Float[np.ndarray, " n"]:
    return np.array(values, dtype=np.float64)


def _image(itk: ModuleType, values: np.ndarray, affine: Affine) -> Any:
    """An ITK image on an array; of a series the phases lie 1 apart along the fourth axis."""
    spacing, direction, origin = placement(affine)
    every_direction = np.eye(values.ndim)
    every_direction[:3, :3] = direction
    more = values.ndim - 3
    image = itk.image_view_from_array(values)
    image.SetSpacing([*spacing.tolist(), *[1.0] * more])
    image.SetOrigin([*origin.tolist(), *[0.0] * more])
    image.SetDirection(itk.matrix_from_array(every_direction))
    return image


def _reason(error: RuntimeError) -> str:
    """The sentence in what ITK says, without its place in the source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("Description:")] or lines[-1:]
    return said[-1].removeprefix("Description:").removeprefix(" ITK ERROR:").strip()
