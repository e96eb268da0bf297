"""A patient's anatomy in the liver phantom: what is drawn once and stays the same at every visit.

Coordinates are (Z, Y, X) in mm: superior, anterior, and the patient's right, where the liver lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.errors import InputError
from psft_jax.phantoms.liver_geometry import (
    Box,
    Coordinates,
    Frame,
    Point,
    Points,
    Stream,
    Texture,
    ellipsoid,
    smooth_difference,
    smooth_union,
)


@dataclass(frozen=True)
class AnatomySettings:
    """How much patients differ in build.

    Args:
        size_sd: standard deviation of the logarithm of the trunk's and every organ's size.
        place_sd_mm: standard deviation of every organ's position, along each axis.
        surface_mm: standard deviation of the bumps on the organs' surfaces.
        least_fat_mm, most_fat_mm: thickness of the subcutaneous fat.

    Raises:
        InputError: a spread that would push organs through each other, or a fat layer that leaves no room.
    """

    size_sd: float = 0.06
    place_sd_mm: float = 3.0
    surface_mm: float = 2.5
    least_fat_mm: float = 8.0
    most_fat_mm: float = 26.0

    def __post_init__(self) -> None:
        if not (0 <= self.size_sd <= 0.2 and 0 <= self.place_sd_mm <= 10 and 0 <= self.surface_mm <= 5):
            raise InputError(
                "liver phantom, anatomy",
                found=f"size_sd {self.size_sd}, place_sd_mm {self.place_sd_mm}, surface_mm {self.surface_mm}",
                expected="size_sd in [0, 0.2], place_sd_mm in [0, 10], surface_mm in [0, 5]",
                remedy="Larger spreads push organs through each other; choose smaller ones.",
            )
        if not 0 <= self.least_fat_mm <= self.most_fat_mm <= 40:
            raise InputError(
                "liver phantom, anatomy",
                found=f"subcutaneous fat from {self.least_fat_mm} to {self.most_fat_mm} mm",
                expected="0 <= least <= most <= 40",
                remedy="Give the thinner layer first.",
            )


@dataclass(frozen=True, eq=False)
class Organ:
    """Where an organ lies and how large it is: an ellipsoid, turned by ``tilt`` radians axially."""

    centre: Point
    semi_axes: Point
    tilt: float = 0.0

    def distance(self, points: Points, grow_mm: float = 0.0) -> Coordinates:
        """Distance to the ellipsoid, grown by ``grow_mm``."""
        z, y, x = (axis + grow_mm for axis in self.semi_axes)
        return ellipsoid(points, self.centre, (z, y, x), self.tilt)

    def part(self, offset: Point, share: Point) -> Organ:
        """An ellipsoid ``offset`` further on, its semi-axes ``share`` of this one's."""
        z, y, x = (c + o for c, o in zip(self.centre, offset, strict=True))
        dz, dy, dx = (a * s for a, s in zip(self.semi_axes, share, strict=True))
        return Organ((z, y, x), (dz, dy, dx), self.tilt)

    def corners(self, margin_mm: float = 8.0) -> tuple[Point, Point]:
        """Two corners (Z, Y, X) of a box that holds the organ and a margin for its bumps."""
        dz, dy, dx = (axis + margin_mm for axis in self.semi_axes)
        if self.tilt:
            dy = dx = max(dy, dx)
        z, y, x = self.centre
        return (z - dz, y - dy, x - dx), (z + dz, y + dy, x + dx)


# Centre and semi-axes (Z, Y, X) in mm, and tilt, in a trunk 316 wide and 218 deep, of 17 mm fat.
_REFERENCE: dict[str, tuple[Point, Point, float]] = {
    "right_lobe": ((6, -4, 70), (85, 90, 82), 0.0),
    "left_lobe": ((25, 46, 2), (34, 34, 84), -0.12),
    "viscera": ((-32, 8, -62), (74, 66, 84), 0.0),
    "gallbladder": ((-38, 34, 50), (25, 11, 13), 0.5),
    "right_kidney": ((-46, -52, 58), (52, 25, 27), -0.5),
    "left_kidney": ((-30, -52, -58), (52, 25, 27), 0.5),
    "spleen": ((22, -38, -106), (52, 46, 30), 0.45),
    "stomach": ((18, 16, -62), (42, 40, 31), -0.35),
    "antrum": ((-14, 46, -28), (17, 17, 34), 0.3),
    "heart": ((82, 26, -22), (36, 40, 50), -0.4),
    "bowel": ((-92, 24, -20), (82, 52, 104), 0.0),
    "fissure": ((0, 66, 14), (34, 36, 3.5), 0.12),
    "venosum": ((24, 10, 2), (22, 3.0, 26), 0.5),
    "hilum": ((-8, -2, 28), (11, 9, 22), 0.2),
    "cava": ((0, -28, 19), (1e4, 10, 12), 0.0),
    "aorta": ((0, -29, -10), (1e4, 10, 10), 0.0),
}


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One patient's build.

    Args:
        width: half the trunk's width.
        depth: half the trunk's depth.
        fat_mm: thickness of the subcutaneous fat.
        spine_y: the middle of the vertebral bodies.
        domes: height of the diaphragm, right and left.
        organs: by name; the liver is the union of its two lobes, less what presses on it.
        surface_mm: standard deviation of the bumps on the organs' surfaces.
        surface: the bumps, as a field.
        fine: a finer field, for bowel loops, pyramids of the kidney and the lesions' outlines.
        patches: a coarser field: where the liver is fattier and perfused otherwise.
    """

    width: float
    depth: float
    fat_mm: float
    spine_y: float
    domes: tuple[float, float]
    organs: dict[str, Organ]
    surface_mm: float
    surface: Texture
    fine: Texture
    patches: Texture

    def trunk(self, points: Points, inset_mm: float) -> Coordinates:
        """The skin (inset 0) or a layer below it: a rounded box in the axial plane, alike along Z."""
        _, y, x = points
        depth, width = np.float32(self.depth - inset_mm), np.float32(self.width - inset_mm)
        power = np.float32(2.4)
        level = (np.abs(y / depth) ** power + np.abs(x / width) ** power) ** (1 / power)
        return np.sqrt(np.square(y) + np.square(x)) * (1 - 1 / np.maximum(level, np.float32(1e-3)))

    def cavity(self, points: Points) -> Coordinates:
        """The inside of ribs and abdominal wall."""
        return self.trunk(points, self.fat_mm + 14.0)

    def below_diaphragm(self, points: Points) -> Coordinates:
        """Negative below two domes, which fall off towards the wall, most of all behind."""
        z, y, x = points
        fall_y = np.where(y < 5, np.float32(44), np.float32(26)) * np.square((y - 5) / np.float32(80))
        right, left = (
            np.float32(height) - fall_y - np.float32(38) * np.square((x - np.float32(side)) / np.float32(80))
            for height, side in zip(self.domes, (0.47 * self.width, -0.47 * self.width), strict=True)
        )
        return np.float32(0.8) * (
            z - np.maximum(right, left)
        )  # oblique: the distance is less than the height

    def liver(self, points: Points, bumps: Coordinates) -> Coordinates:
        """Two lobes under the diaphragm, less viscera, kidney, gallbladder, cava, fissures and hilum.

        Args:
            points: where to evaluate.
            bumps: ``surface`` at those points.
        """
        organs = self.organs
        lobes = smooth_union(
            organs["right_lobe"].distance(points), organs["left_lobe"].distance(points), 22.0
        )
        for name, gap_mm, rounding_mm in (
            ("viscera", 0.0, 14.0),
            ("renal_bed", 4.0, 8.0),
            ("vertebra", 10.0, 8.0),
        ):
            lobes = smooth_difference(lobes, organs[name].distance(points, gap_mm), rounding_mm)
        lobes = lobes + np.float32(self.surface_mm) * bumps
        for name, gap_mm, bumps_mm in (
            ("gallbladder", 2.0, 0.0),
            ("cava", 1.0, 0.0),
            ("fissure", 0.0, 2.0),
            ("venosum", 0.0, 2.0),
            ("hilum", 0.0, 2.0),
        ):
            cleft = organs[name].distance(points, gap_mm) + np.float32(bumps_mm) * bumps
            lobes = smooth_difference(lobes, cleft, 3.0)
        return np.maximum(lobes, np.maximum(self.cavity(points) + 3, self.below_diaphragm(points) + 3))

    def liver_box(self, frame: Frame) -> Box:
        """The voxels that the liver may reach."""
        (z0, y0, x0), (z1, y1, x1) = self.organs["right_lobe"].corners()
        (a0, b0, c0), (a1, b1, c1) = self.organs["left_lobe"].corners()
        return frame.box((min(z0, a0), min(y0, b0), min(x0, c0)), (max(z1, a1), max(y1, b1), max(x1, c1)))

    def depth_in_liver(self, places: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """How deep each place (Z, Y, X) lies in the liver, in mm, without its bumps; negative outside."""
        z, y, x = (axis[None, None] for axis in places.astype(np.float32).T)
        return -self.liver((z, y, x), np.zeros_like(z))[0, 0]


def draw_anatomy(patient: Stream, settings: AnatomySettings) -> Anatomy:
    """The anatomy of the patient whose streams these are."""
    rng = patient("anatomy")

    def spread() -> float:
        return float(np.exp(np.clip(rng.normal(0, settings.size_sd), -0.25, 0.25)))

    width = 166 * spread()
    depth = 0.7 * width * spread()
    fat = float(rng.uniform(settings.least_fat_mm, settings.most_fat_mm))
    scale = (spread(), (depth - fat) / 92, (width - fat) / 141)
    spine_y = -57 * scale[1]
    organs = {"vertebra": Organ((0.0, spine_y, 0.0), (1e4, 17.0, 22.0))}
    for name, (centre, semi_axes, tilt) in _REFERENCE.items():
        size = spread()
        z, y, x = (
            c * s + float(rng.normal(0, settings.place_sd_mm)) for c, s in zip(centre, scale, strict=True)
        )
        dz, dy, dx = (a * s * size for a, s in zip(semi_axes, scale, strict=True))
        organs[name] = Organ((z, y, x), (dz, dy, dx), tilt)
    # liver lies beside and before the kidney, not behind it
    organs["renal_bed"] = organs["right_kidney"].part((2.0, -18.0, -12.0), (1.05, 1.6, 1.5))
    domes = (
        64 * scale[0] + float(rng.normal(0, settings.place_sd_mm)),
        52 * scale[0] + float(rng.normal(0, settings.place_sd_mm)),
    )
    surface, fine, patches = (
        Texture.draw(patient(name), scale_mm)
        for name, scale_mm in (("surface", 12.0), ("fine", 5.0), ("patches", 20.0))
    )
    return Anatomy(width, depth, fat, spine_y, domes, organs, settings.surface_mm, surface, fine, patches)
