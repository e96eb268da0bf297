"""The registrations of a liver examination: its phases to each other, and the diffusion scan to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt

from psft_jax.errors import InputError
from psft_jax.preprocess.coordinates import Affine
from psft_jax.preprocess.groupwise import register_groupwise
from psft_jax.preprocess.liver_diffusion import RigidThenDeformed, register_diffusion
from psft_jax.preprocess.liver_elastix import Deformation, Points
from psft_jax.preprocess.liver_grid import (
    OutputGrid,
    Transform,
    centred_grid,
    jacobian_determinants,
    reaches_beyond,
    resample,
    resample_mask,
    voxel_places,
)
from psft_jax.preprocess.liver_settings import LiverSettings
from psft_jax.scan import Image, Mask

LIVER, LESION = "liver", "lesion"
_EVERY = 3  # voxels along each axis: those at which a transform is looked at


@dataclass(frozen=True, eq=False)
class RawSeries:
    """The volumes (T, Z, Y, X) of a sequence, and the affine of their grid from (x, y, z) to RAS+ mm."""

    volumes: Float[np.ndarray, "t z y x"]
    affine: Affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        _, z, y, x = self.volumes.shape
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along (Z, Y, X)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return z, y, x


@dataclass(frozen=True, eq=False)
class Aligned:
    """An examination on one grid, every voxel resampled once.

    Args:
        grid: that of all that follows.
        dce: (Z, Y, X, C) the phases in their mean position.
        dwi: (Z, Y, X, C) the b-values on top of them.
        masks: by name, in the mean position.
        to_phases: from there to each phase as it was acquired.
        to_dwi: from there to the diffusion scan.
        motion: of each phase, and of the diffusion scan, how it was registered and what ``_told`` says.
    """

    grid: OutputGrid
    dce: Image
    dwi: Float[np.ndarray, "_ _ _ b"]
    masks: Mapping[str, Mask]
    to_phases: tuple[Deformation, ...]
    to_dwi: RigidThenDeformed
    motion: tuple[dict[str, Any], ...]


def align(
    where: str, dce: RawSeries, dwi: RawSeries, masks: Mapping[str, Mask], settings: LiverSettings
) -> Aligned:
    """Register an examination, and bring it onto the grid of the settings.

    Args:
        where: whose it is, for messages.
        dce: the phases as they were acquired.
        dwi: the b-values as they were acquired.
        masks: of the liver and of the lesions (``LIVER``, ``LESION``), on the grid of the phases; they may be
            missing.
        settings: all parameters.

    Raises:
        InputError: a setting names a volume that there is not, the liver's mask is empty or reaches beyond
            the output's grid, or a registration fails or folds the liver.
    """
    _check_volumes(where, dce, dwi, settings)
    grid = centred_grid(settings.shape, settings.spacing_mm, dce.shape, dce.affine)
    if LIVER in masks:
        _check_liver(where, masks[LIVER], dce, grid)
    region = around(masks.get(LIVER), dce.spacing_mm, settings.margin_mm)
    to_phases = register_groupwise(
        f"{where}, DCE",
        dce.volumes,
        dce.affine,
        settings.groupwise,
        region=region,
        threads=settings.threads,
    )
    drawn_on = settings.masks_from_phase
    of_masks: Transform = _stay if drawn_on is None else to_phases[drawn_on]
    moved = {name: resample_mask(mask, dce.affine, grid, of_masks) for name, mask in masks.items()}
    liver = moved.get(LIVER)
    motion = [
        {"registration": "groupwise", **_told(f"{where}, DCE, phase {i}", phase, liver, grid)}
        for i, phase in enumerate(to_phases)
    ]
    phases = np.empty((*grid.shape, len(to_phases)), np.float32)
    for i, to_phase in enumerate(to_phases):
        phases[..., i] = resample([dce.volumes[i]], dce.affine, grid, to_phase)[..., 0]

    to_dwi = register_diffusion(
        f"{where}, DWI",
        phases.mean(axis=-1),
        grid.affine,
        dwi.volumes[settings.diffusion.reference],
        dwi.affine,
        settings.diffusion,
        region=around(liver, settings.spacing_mm, settings.margin_mm),
        threads=settings.threads,
    )
    how = "rigid" if to_dwi.deformation is None else "rigid, then B-splines"
    motion.append({"registration": how, **_told(f"{where}, DWI", to_dwi, liver, grid)})
    b_values = resample(list(dwi.volumes), dwi.affine, grid, to_dwi)
    return Aligned(grid, phases, b_values, moved, to_phases, to_dwi, tuple(motion))


def _told(where: str, transform: Transform, liver: Mask | None, grid: OutputGrid) -> dict[str, Any]:
    """How far a transform moves the liver, without a mask of it everything, and how much it squeezes it.

    Raises:
        InputError: it folds the liver.
    """
    places = voxel_places(np.ones(grid.shape, bool) if liver is None else liver, grid.affine, every=_EVERY)
    moved = np.linalg.norm(transform(places) - places, axis=-1)
    smallest = float(jacobian_determinants(transform, places).min())
    if liver is not None and smallest <= 0:
        raise InputError(
            where,
            found=f"a registration that folds the liver (Jacobian determinant {smallest:.2f})",
            expected="a deformation as a breath makes it, with determinants above 0",
            remedy="Look at the images; a wider lattice (lattice_mm) deforms less.",
        )
    return {
        "mean_displacement_mm": round(float(moved.mean()), 3),
        "largest_displacement_mm": round(float(moved.max()), 3),
        "smallest_jacobian_determinant": round(smallest, 4),
    }


def _check_volumes(where: str, dce: RawSeries, dwi: RawSeries, settings: LiverSettings) -> None:
    for field, chosen, series in (
        ("masks_from_phase", settings.masks_from_phase, dce),
        ("diffusion.reference", settings.diffusion.reference, dwi),
    ):
        if chosen is not None and chosen >= len(series.volumes):
            raise InputError(
                f"{where}, {field}",
                found=f"volume {chosen}",
                expected=f"one of the {len(series.volumes)} volumes, counted from 0",
                remedy="Count the volumes from 0, in the order of the file.",
            )


def _check_liver(where: str, liver: Mask, dce: RawSeries, grid: OutputGrid) -> None:
    if not liver.any():
        raise InputError(
            f"{where}, mask of the liver",
            found="an empty mask",
            expected="at least one voxel inside the liver",
            remedy="Draw it, or give no mask of the liver.",
        )
    if reaches_beyond(liver, dce.affine, grid):
        raise InputError(
            f"{where}, mask of the liver",
            found="a liver that the grid of the outputs would cut",
            expected=f"a liver within the {grid.shape} voxels (Z, Y, X) around the middle of the DCE-MRI",
            remedy="Give more voxels (shape), or larger ones (spacing_mm).",
        )


def around(liver: Mask | None, spacing_mm: tuple[float, float, float], margin_mm: float) -> Mask | None:
    """The liver and what lies within a margin around it."""
    return None if liver is None else distance_transform_edt(~liver, sampling=spacing_mm) <= margin_mm


def _stay(points_mm: Points) -> Points:
    return points_mm
