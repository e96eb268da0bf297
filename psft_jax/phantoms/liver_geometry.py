"""Shapes of the liver phantom: implicit functions on a voxel grid in the patient's own millimetres.

An implicit function is about the signed distance to a surface in mm, negative inside. Coordinates are one
vector per axis, so a shape costs a few broadcast operations on the part of the grid that it lies in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline

from psft_jax.phantoms.fields import smooth_field
from psft_jax.scan import Volume

FIELD_OF_VIEW_MM = (200.0, 395.008, 395.008)  # 100 x 2 mm, 256 x 1.543 mm twice (section 2.1.1 of the paper)
_MARGIN_MM = 40.0  # how far a patient may be shifted within the field of view

Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]
Stream = Callable[..., np.random.Generator]  # psft_jax.rng.generator of one patient or one visit
Coordinates = Float[np.ndarray, "#z #y #x"]
Points = tuple[Coordinates, Coordinates, Coordinates]


@dataclass(frozen=True, eq=False)
class Frame:
    """Voxel centres along (Z, Y, X) in the patient's millimetres: superior, anterior, right; 0 is mid-body.

    Args:
        z, y, x: the coordinates, float32.
        edge_mm: over how far an edge is blurred by the partial volume of a voxel.
    """

    z: Float[np.ndarray, " z"]
    y: Float[np.ndarray, " y"]
    x: Float[np.ndarray, " x"]
    edge_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def points(self) -> Points:
        """The three coordinates, shaped to broadcast to (Z, Y, X)."""
        return self.z[:, None, None], self.y[None, :, None], self.x[None, None, :]

    @property
    def whole(self) -> Box:
        """The box that holds all of the grid."""
        return slice(0, len(self.z)), slice(0, len(self.y)), slice(0, len(self.x))

    def crop(self, box: Box) -> Frame:
        """The part of the grid inside ``box``."""
        return Frame(self.z[box[0]], self.y[box[1]], self.x[box[2]], self.edge_mm)

    def box(self, lowest: Point, highest: Point) -> Box:
        """The voxels between two corners (Z, Y, X) in mm, and an edge's width more; it may be empty."""
        slices = []
        for axis, low, high in zip((self.z, self.y, self.x), lowest, highest, strict=True):
            first, last = np.searchsorted(axis, (low - self.edge_mm, high + self.edge_mm))
            slices.append(slice(int(first), int(last)))
        return slices[0], slices[1], slices[2]

    def moved(self, offset_mm: Point, stretch: Point = (1.0, 1.0, 1.0)) -> Frame:
        """The same voxels in the coordinates of something that was stretched, then moved by ``offset_mm``."""
        z, y, x = (
            (axis - np.float32(d)) / np.float32(s)
            for axis, d, s in zip((self.z, self.y, self.x), offset_mm, stretch, strict=True)
        )
        return Frame(z, y, x, self.edge_mm)

    def coverage(self, distance: Coordinates, blur_mm: float = 0.0) -> Coordinates:
        """The share of each voxel inside the shape, from 0 to 1, for an edge blurred by ``blur_mm`` more."""
        return np.clip(0.5 - distance / float(np.hypot(self.edge_mm, blur_mm)), 0.0, 1.0)


def frame_of(shape: tuple[int, int, int]) -> Frame:
    """The grid of ``shape`` (Z, Y, X) over the fixed field of view, its centre at 0."""
    spacing = spacing_of(shape)
    axes = [
        ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
        for n, step in zip(shape, spacing, strict=True)
    ]
    return Frame(axes[0], axes[1], axes[2], edge_mm=max(float(np.mean(spacing)), 1.8))


def spacing_of(shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Voxel size along (Z, Y, X) in mm; (100, 256, 256) gives 2 x 1.543 x 1.543."""
    z, y, x = (size / n for size, n in zip(FIELD_OF_VIEW_MM, shape, strict=True))
    return z, y, x


@dataclass(frozen=True, eq=False)
class Texture:
    """A smooth random field that is fixed to the patient: it moves along and is the same on every grid.

    Args:
        lattice: its values at points of the patient's coordinates, the middle one at 0.
        step_mm: how far these points lie apart.
    """

    lattice: Volume
    step_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, scale_mm: float) -> Texture:
        """A field with mean 0 and standard deviation 1, alike over about ``scale_mm``."""
        nz, ny, nx = (int((size + 2 * _MARGIN_MM) / scale_mm) + 4 for size in FIELD_OF_VIEW_MM)
        return cls(smooth_field(rng, (nz, ny, nx), (scale_mm, scale_mm, scale_mm), scale_mm), scale_mm)

    def on(self, frame: Frame) -> Volume:
        """The field at every voxel of ``frame``, cubic between the lattice's points."""
        field = self.lattice
        for axis, coordinates in enumerate((frame.z, frame.y, frame.x)):
            n = self.lattice.shape[axis]
            knots = (np.arange(n) - (n - 1) / 2) * self.step_mm
            inside = np.clip(coordinates, knots[0], knots[-1])
            # the spline of the unit vectors is a matrix, which keeps the large product in float32
            weights = make_interp_spline(knots, np.eye(n))(inside).astype(np.float32)
            field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
        return np.ascontiguousarray(field)


def ellipsoid(points: Points, centre: Point, semi_axes: Point, tilt: float = 0.0) -> Coordinates:
    """An ellipsoid with semi-axes along (Z, Y, X) in mm, turned by ``tilt`` radians in the axial plane.

    First-order distance k0 (k0 - 1) / k1 of an implicit quadric, right at the surface.
    """
    z, y, x = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    if tilt:
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        y, x = cos * y - sin * x, sin * y + cos * x
    squares = [np.square(p / np.float32(r)) for p, r in zip((z, y, x), semi_axes, strict=True)]
    k0 = np.sqrt(squares[0] + squares[1] + squares[2])
    k1 = np.sqrt(sum(s / np.float32(r * r) for s, r in zip(squares, semi_axes, strict=True)))
    return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))


def capsule(points: Points, start: Point, end: Point, radii_mm: tuple[float, float]) -> Coordinates:
    """A segment of a tube from ``start`` to ``end`` whose radius runs from the first to the second."""
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    along = b - a
    offset = [p - c for p, c in zip(points, a, strict=True)]
    share = sum(o * d for o, d in zip(offset, along, strict=True)) / np.float32(
        max(float(along @ along), 1e-6)
    )
    share = np.clip(share, 0.0, 1.0)
    squared = sum(np.square(o - share * d) for o, d in zip(offset, along, strict=True))
    return np.sqrt(squared) - (np.float32(radii_mm[0]) + share * np.float32(radii_mm[1] - radii_mm[0]))


def smooth_union(a: Coordinates, b: Coordinates, width_mm: float) -> Coordinates:
    """The union of two shapes with the crease between them filled over ``width_mm`` (polynomial blend)."""
    width = np.float32(width_mm)
    blend = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - blend * blend * width * np.float32(0.25)


def smooth_difference(a: Coordinates, b: Coordinates, width_mm: float) -> Coordinates:
    """``a`` without ``b``, the edge rounded over ``width_mm``."""
    return -smooth_union(-a, b, width_mm)
