"""The vessels of the liver phantom: trees of portal and hepatic veins in the liver, large vessels outside.

Branches divide at random and stay where the liver is deep; their radii follow Murray's law (the cubes of the
children's radii add up to the cube of the parent's).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.phantoms.liver_anatomy import Anatomy
from psft_jax.phantoms.liver_geometry import Box, Frame, Point, Stream, capsule
from psft_jax.scan import Volume

_THINNEST_MM = 1.2
_CANDIDATES = 16

Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Segment:
    """A straight piece of a vessel: its ends (Z, Y, X) in mm and its radius at each."""

    start: Point
    end: Point
    radii_mm: tuple[float, float]


@dataclass(frozen=True)
class VesselTrees:
    """A patient's vessels, by the blood that they hold."""

    portal_vein: tuple[Segment, ...]
    hepatic_vein: tuple[Segment, ...]
    cava: tuple[Segment, ...]
    aorta: tuple[Segment, ...]


def draw_vessels(patient: Stream, anatomy: Anatomy) -> VesselTrees:
    """The vessels of the patient whose streams and whose anatomy these are."""
    rng = patient("vessels")
    organs = anatomy.organs
    aorta, cava, hilum = (np.array(organs[name].centre) for name in ("aorta", "cava", "hilum"))
    gate = _off(hilum, 4, 2, 6)
    confluence = np.array([gate[0] - 26, gate[1] + 2, 4.0])

    portal = _chain([confluence, _off((confluence + gate) / 2, 1, -2, 2), gate], (6.5, 6.5, 6.0))
    portal += _chain([_off(confluence, -90, -4, -4), confluence], (5.5, 6.0))  # superior mesenteric vein
    spleen = np.array(organs["spleen"].centre)
    portal += _chain(
        [_off(spleen, -10, 8, 24), _off(spleen, -20, 16, 46), _off(confluence, 2, 2, -32), confluence],
        (3.0, 4.0, 4.5, 4.5),
    )
    _grow(rng, anatomy, gate, np.array([0.1, -0.25, 1.0]), 5.2, portal)
    _grow(rng, anatomy, gate, np.array([-0.9, -0.1, 0.7]), 4.4, portal)
    left_turn = _off(gate, 14, 16, -20)
    portal += _chain([gate, _off(gate, 7, 3, -12), left_turn], (4.2, 4.0, 3.8))
    _grow(rng, anatomy, left_turn, np.array([0.3, 1.0, -0.2]), 3.6, portal)
    _grow(rng, anatomy, left_turn, np.array([0.2, 0.2, -1.0]), 2.8, portal)

    outlet = np.array([anatomy.domes[0] - 26, cava[1] + 7, cava[2] + 2])
    hepatic: list[Segment] = []
    for direction, radius in (((-0.45, 0.15, 1.0), 4.6), ((-0.45, 1.0, 0.35), 4.4), ((-0.1, 0.8, -0.7), 3.8)):
        _grow(rng, anatomy, outlet, np.array(direction), radius, hepatic)

    column = np.linspace(-140, anatomy.domes[0] + 10, 6)
    sway = rng.normal(0, 2.0, (2, 6, 2))
    cava_places = [
        np.array([z, cava[1] + s[0], cava[2] + s[1]]) for z, s in zip(column, sway[0], strict=True)
    ]
    cava_places[-1] += (0, 14, -4)  # towards the right atrium
    aorta_places = [
        np.array([z, aorta[1] + s[0], aorta[2] + s[1]]) for z, s in zip(column, sway[1], strict=True)
    ]
    aorta_places[-1] += (40, -6, -6)
    cava_tube, aorta_tube = (
        _chain(cava_places, (9.0, 9.5, 10.0, 10.5, 11.0, 11.5)),
        _chain(aorta_places, (9.5,) * 6),
    )
    for side in ("right_kidney", "left_kidney"):
        kidney = np.array(organs[side].centre)
        inward = _off(kidney * (1, 1, 0.72), 0, 7, 0)
        cava_tube += _chain([inward, np.array([kidney[0] + 4, cava[1] + 3, cava[2]])], (3.5, 4.5))
        aorta_tube += _chain([np.array([kidney[0] + 6, *aorta[1:]]), _off(inward, 2, -4, 0)], (3.0, 2.2))
    coeliac = np.array([2.0, aorta[1], aorta[2]])
    aorta_tube += _chain([coeliac, _off(coeliac, 2, 18, 2), _off(coeliac, 0, 24, 18)], (3.8, 3.4, 2.4))
    aorta_tube += _chain(
        [_off(coeliac, -14, 0, 0), _off(coeliac, -30, 16, 2), _off(coeliac, -110, 22, 2)], (3.8, 3.6, 3.2)
    )
    return VesselTrees(tuple(portal), tuple(hepatic), tuple(cava_tube), tuple(aorta_tube))


def vessel_coverage(frame: Frame, box: Box, segments: Iterable[Segment]) -> Volume:
    """The share of each voxel of ``box`` that the segments fill."""
    part = frame.crop(box)
    coverage = np.zeros(part.shape, np.float32)
    for segment in segments:
        ends, radius = np.array([segment.start, segment.end]), max(segment.radii_mm)
        (z0, y0, x0), (z1, y1, x1) = (ends.min(0) - radius).tolist(), (ends.max(0) + radius).tolist()
        inner = part.box((z0, y0, x0), (z1, y1, x1))
        small = part.crop(inner)
        if 0 in small.shape:
            continue
        filled = frame.coverage(capsule(small.points, segment.start, segment.end, segment.radii_mm))
        np.maximum(coverage[inner], filled, out=coverage[inner])
    return coverage


def _off(place: Vector, *offset_mm: int) -> Vector:
    """``place`` moved by an offset along (Z, Y, X)."""
    return place + np.array(offset_mm)


def _chain(places: list[Vector], radii_mm: tuple[float, ...]) -> list[Segment]:
    """Segments from each place to the next."""
    return [
        Segment(_point(a), _point(b), (r, s))
        for a, b, r, s in zip(places[:-1], places[1:], radii_mm[:-1], radii_mm[1:], strict=True)
    ]


def _point(place: Vector) -> Point:
    z, y, x = place.tolist()
    return float(z), float(y), float(x)


def _grow(
    rng: np.random.Generator,
    anatomy: Anatomy,
    start: Vector,
    direction: Vector,
    radius: float,
    segments: list[Segment],
) -> None:
    """Append a branch and all that springs from it, until it is thin or leaves the liver."""
    length = float(rng.uniform(5.5, 9.0)) * radius**0.6
    headings = direction / np.linalg.norm(direction) + rng.normal(0, 0.28, (_CANDIDATES, 3))
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    ends = start + length * headings
    # up to 15 mm below the surface a deeper place is better; beyond that any is good
    depth = np.minimum(anatomy.depth_in_liver(ends), 15.0)
    best = int(np.argmax(depth + rng.normal(0, 2.0, _CANDIDATES)))
    if depth[best] < 3.0:
        return
    end, heading = ends[best], headings[best]
    large = radius * float(rng.uniform(0.76, 0.92))
    small = (radius**3 - large**3) ** (1 / 3)
    segments.append(Segment(_point(start), _point(end), (radius, large)))
    turn = np.cross(heading, rng.normal(0, 1, 3))
    turn /= np.linalg.norm(turn)
    for child, angle in ((large, 0.25), (small, -0.9)):
        if child >= _THINNEST_MM:
            _grow(rng, anatomy, end, heading + np.tan(angle) * turn, child, segments)
