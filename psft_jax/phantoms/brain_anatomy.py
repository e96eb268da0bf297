"""One patient's brain, deformed from the atlas, and where a visit's voxels lie in it.

Two changes of coordinates lead from a voxel to the atlas, both in mm and in the order (z, y, x): the visit's
rigid position takes it to the patient's brain (scaled to the atlas' size), the patient's deformation to the
atlas.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial.transform import Rotation

from psft_jax.phantoms.brain_atlas import averaged_atlas, load_atlas
from psft_jax.phantoms.fields import displacement_field
from psft_jax.scan import Mask, Volume

FIELD_OF_VIEW_MM = (144.0, 229.92, 229.92)  # 48 x 3 mm, 240 x 0.958 mm twice (section 2.1.2 of the paper)
CENTRE_MM = (10.0, -18.0, 0.0)  # of the field of view, in MNI coordinates (z, y, x)

_LATTICE_MM = 4.0
_LATTICE_ORIGIN = np.array([-88.0, -128.0, -92.0])
_LATTICE_SHAPE = (48, 58, 47)
_PUSH_SMOOTHING_MM = 6.0  # enough that the widest ventricles do not fold over
_PUSH_DECAY_MM = 20.0  # how far from the ventricles' wall their widening is felt

Points = Float[np.ndarray, "zyx points"]


@dataclass(frozen=True)
class AnatomyParameters:
    """What differs in shape between patients. A pair is the range of a uniform draw, once per patient.

    Args:
        size: brain against the ICBM152 average along each axis; that average is larger than most brains.
        shape_sd_mm: displacement of lobes (over 30 mm).
        fold_sd_mm: displacement of gyri (over 10 mm).
        ventricle_mm: how far the wall of the lateral ventricles is pushed outwards where it moves most; the
            range gives volumes of about 17 to 55 mL before scaling.
        sulci: share of fluid against the average; above 1 sulci are wider.
    """

    size: tuple[float, float] = (0.89, 0.99)
    shape_sd_mm: float = 3.0
    fold_sd_mm: float = 1.5
    ventricle_mm: tuple[float, float] = (0.5, 4.5)
    sulci: tuple[float, float] = (1.0, 3.0)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The shape of one patient's brain.

    Args:
        size: against the atlas, along (z, y, x).
        displacement: (3, Z, Y, X) on a coarse lattice: from the patient's position at atlas size to the
            atlas, mm.
        sulci: share of fluid against the atlas.
    """

    size: Float[np.ndarray, " 3"]
    displacement: Float[np.ndarray, "3 z y x"]
    sulci: float

    def to_patient(self, atlas_mm: Points) -> Points:
        """Patient coordinates of atlas positions (inverts the deformation by iteration; to about 0.1 mm)."""
        scaled = atlas_mm
        for _ in range(20):
            index = (scaled - _LATTICE_ORIGIN[:, None]) / _LATTICE_MM
            moved = [ndimage.map_coordinates(d, index, order=1, mode="nearest") for d in self.displacement]
            scaled = atlas_mm - np.stack(moved)
        return scaled * self.size[:, None]


@dataclass(frozen=True, eq=False)
class Grid:
    """A visit's voxels: patient coordinates in mm are ``matrix @ (z, y, x) + offset``."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    matrix: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, " 3"]

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """From voxel indices (x, y, z) to the scanner's RAS+ mm; the field of view is fixed there."""
        spacing, last = np.array(self.spacing_mm)[::-1], np.array(self.shape)[::-1] - 1
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = np.array(CENTRE_MM)[::-1] - spacing * last / 2
        return affine


@dataclass(frozen=True, eq=False)
class Tissue:
    """What fills each voxel of a visit, all (Z, Y, X).

    Args:
        brain: inside the brain.
        wm, gm, csf: shares of the voxel; they add up to 1 well inside the brain.
        texture: T1 signal that these do not explain.
        ventricle_mm: distance to the wall of the lateral ventricles.
        atlas_mm: (3, n) positions in the atlas of the voxels in ``sampled``.
        sampled: the voxels for which all these are known: the brain and its border.
    """

    brain: Mask
    wm: Volume
    gm: Volume
    csf: Volume
    texture: Volume
    ventricle_mm: Volume
    atlas_mm: Points
    sampled: Mask


def draw_anatomy(rng: np.random.Generator, parameters: AnatomyParameters) -> Anatomy:
    """The shape of one patient's brain."""
    size = rng.uniform(*parameters.size) * rng.uniform(0.98, 1.02, 3)
    spacing = (_LATTICE_MM,) * 3
    displacement = rng.uniform(*parameters.ventricle_mm) * _towards_ventricles()
    for scale_mm, sd_mm in ((30.0, parameters.shape_sd_mm), (10.0, parameters.fold_sd_mm)):
        displacement = displacement + displacement_field(rng, _LATTICE_SHAPE, spacing, scale_mm, sd_mm)
    return Anatomy(size, displacement, float(rng.uniform(*parameters.sulci)))


@functools.cache
def _towards_ventricles() -> Float[np.ndarray, "3 z y x"]:
    """Vectors to the lateral ventricles on the lattice, 1 mm long at most; they widen them."""
    atlas = load_atlas()
    index = np.indices(_LATTICE_SHAPE).reshape(3, -1)
    lattice_mm = _LATTICE_MM * index + _LATTICE_ORIGIN[:, None]
    distance = ndimage.gaussian_filter(atlas.ventricle_mm, _PUSH_SMOOTHING_MM)
    weight = np.exp(-np.maximum(distance, 0) / _PUSH_DECAY_MM)
    push = np.stack([-atlas.sample(weight * gradient, lattice_mm) for gradient in np.gradient(distance)])
    return (push / np.linalg.norm(push, axis=0).max()).reshape(3, *_LATTICE_SHAPE)


def position(
    shape: tuple[int, int, int], rotation_deg: Float[np.ndarray, " 3"], shift_mm: Float[np.ndarray, " 3"]
) -> Grid:
    """The grid of a visit with the head turned about, and shifted along, (z, y, x) in the field of view."""
    spacing = FIELD_OF_VIEW_MM[0] / shape[0], FIELD_OF_VIEW_MM[1] / shape[1], FIELD_OF_VIEW_MM[2] / shape[2]
    rotation = Rotation.from_euler("zyx", rotation_deg, degrees=True).as_matrix()
    middle = (np.array(shape) - 1) / 2
    matrix = rotation * np.array(spacing)
    return Grid(shape, spacing, matrix, np.array(CENTRE_MM) + shift_mm - matrix @ middle)


def tissue(anatomy: Anatomy, grid: Grid) -> Tissue:
    """The atlas at the deformed and repositioned voxels of a visit."""
    atlas = averaged_atlas(grid.spacing_mm)
    atlas_mm = atlas_positions(anatomy, grid)
    covered = atlas.sample(atlas.brain, atlas_mm.reshape(3, -1)).reshape(grid.shape)
    sampled = covered > 0.05
    atlas_mm = atlas_mm[:, sampled]
    wm, gm, texture, distance = (
        atlas.sample(m, atlas_mm) for m in (atlas.wm, atlas.gm, atlas.texture, atlas.ventricle_mm)
    )
    covered = covered[sampled]
    csf = anatomy.sulci * np.clip(covered - wm - gm, 0, 1)
    total = np.maximum(wm + gm + csf, 1e-6) / covered

    def filled(values: Float[np.ndarray, " points"], outside: float = 0.0) -> Volume:
        volume = np.full(grid.shape, outside, np.float32)
        volume[sampled] = values
        return volume

    brain = np.zeros(grid.shape, bool)
    brain[sampled] = covered > 0.5
    return Tissue(
        brain=brain,
        wm=filled(wm / total),
        gm=filled(gm / total),
        csf=filled(csf / total),
        texture=filled(texture),
        ventricle_mm=filled(distance, outside=100.0),
        atlas_mm=atlas_mm,
        sampled=sampled,
    )


def atlas_positions(anatomy: Anatomy, grid: Grid) -> Float[np.ndarray, "3 z y x"]:
    """Where in the atlas each voxel of a visit lies: (3, Z, Y, X) float32, in mm."""
    matrix, offset = grid.matrix / anatomy.size[:, None], grid.offset / anatomy.size  # to atlas size
    index = np.ix_(*(np.arange(n, dtype=np.float32) for n in grid.shape))
    positions = np.empty((3, *grid.shape), np.float32)
    for axis in range(3):
        ndimage.affine_transform(
            anatomy.displacement[axis],
            matrix / _LATTICE_MM,
            (offset - _LATTICE_ORIGIN) / _LATTICE_MM,
            grid.shape,
            output=positions[axis],
            order=1,
            mode="nearest",
        )
        positions[axis] += sum(np.float32(m) * i for m, i in zip(matrix[axis], index, strict=True))
        positions[axis] += np.float32(offset[axis])
    return positions
