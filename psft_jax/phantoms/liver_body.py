"""What surrounds the liver in the phantom: trunk, spine, lungs, heart, bowel, stomach, kidneys, spleen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from psft_jax.phantoms.liver_anatomy import Anatomy, Organ
from psft_jax.phantoms.liver_geometry import Coordinates, Frame, capsule, smooth_difference
from psft_jax.phantoms.liver_layers import Layer, layer
from psft_jax.phantoms.liver_vessels import VesselTrees, vessel_coverage


def trunk_layers(anatomy: Anatomy, frame: Frame) -> Iterator[Layer]:
    """Skin's fat, wall, ribs, the cavity's fat, spine and muscles: all that does not move with the breath."""
    whole, points = frame.whole, frame.points
    z, y, x = points
    wall = anatomy.trunk(points, anatomy.fat_mm)
    cavity = anatomy.cavity(points)
    yield layer("fat", frame, whole, anatomy.trunk(points, 0.0))
    yield layer("muscle", frame, whole, wall)
    # ribs run down and forwards within the wall, 28 mm apart
    slope = (z + np.float32(0.45) * y + np.float32(0.1) * np.abs(x)) / 28
    rib = np.maximum(np.abs(slope - np.round(slope)) * 28 - 5, np.abs(cavity - 6) - 3)
    yield layer("marrow", frame, whole, np.maximum(rib, 55 - np.abs(x) - 0.4 * np.maximum(-y, 0)))
    yield layer("fat", frame, whole, cavity)

    spine_y = anatomy.spine_y
    for side in (-1, 1):
        erector = Organ((0.0, spine_y - 27, 33.0 * side), (1e4, 17.0, 25.0), -0.2 * side)
        within = anatomy.trunk(points, 0.5 * anatomy.fat_mm)
        yield layer("muscle", frame, whole, np.maximum(erector.distance(points), within))
        psoas = Organ((-115.0, spine_y - 2, 40.0 * side), (90.0, 17.0, 17.0))
        yield layer("muscle", frame, whole, psoas.distance(points))
    vertebra = anatomy.organs["vertebra"]
    yield _column("marrow", frame, Organ((0.0, spine_y - 30, 0.0), (1e4, 12.0, 15.0)))
    yield _column("marrow", frame, vertebra)
    height = z / 34
    disc = np.maximum(vertebra.distance(points), np.abs(height - np.round(height)) * 34 - 3.5)
    yield layer("disc", frame, whole, disc)
    yield _column("fluid", frame, Organ((0.0, spine_y - 26, 0.0), (1e4, 8.0, 10.0)))
    yield _column("cord", frame, Organ((0.0, spine_y - 26, 0.0), (1e4, 4.0, 5.0)))


def chest_layers(anatomy: Anatomy, frame: Frame) -> Iterator[Layer]:
    """Lungs and heart, above the diaphragm; they move with the breath, as all that follows."""
    points = frame.points
    mediastinum = Organ((100.0, -6.0, -4.0), (90.0, 44.0, 30.0))
    lung = np.maximum(anatomy.cavity(points), -anatomy.below_diaphragm(points))
    heart = anatomy.organs["heart"]
    lung = np.maximum(lung, -np.minimum(mediastinum.distance(points), heart.distance(points, 3.0)))
    lung = np.maximum(lung, -anatomy.organs["vertebra"].distance(points, 6.0))
    yield layer("lung", frame, frame.whole, lung)
    above = 3 - anatomy.below_diaphragm(points)
    yield layer("heart", frame, frame.whole, np.maximum(heart.distance(points), above))
    blood = heart.part((8.0, 4.0, -4.0), (0.6, 0.62, 0.66))
    yield layer("aorta", frame, frame.whole, np.maximum(blood.distance(points), above))


def abdomen_layers(anatomy: Anatomy, trees: VesselTrees, frame: Frame) -> Iterator[Layer]:
    """Bowel, pancreas, large vessels, stomach, kidneys and spleen; later ones cover what runs behind them."""
    yield from _bowel(anatomy, frame)
    yield from _pancreas(anatomy, frame)
    for tissue in ("cava", "portal_vein", "aorta"):
        yield Layer(tissue, frame.whole, vessel_coverage(frame, frame.whole, getattr(trees, tissue)))
    yield from _stomach(anatomy, frame)
    for side, inward in (("right_kidney", -1.0), ("left_kidney", 1.0)):
        yield from _kidney(anatomy, frame, anatomy.organs[side], inward)
    yield from _spleen(anatomy, frame)


def _column(tissue: str, frame: Frame, organ: Organ) -> Layer:
    """An organ that is alike along Z."""
    (_, y0, x0), (_, y1, x1) = organ.corners()
    box = frame.box((float(frame.z[0]), y0, x0), (float(frame.z[-1]) + 1, y1, x1))
    return layer(tissue, frame, box, organ.distance(frame.crop(box).points))


def _inside(anatomy: Anatomy, part: Frame, distance: Coordinates) -> Coordinates:
    """``distance`` cut off by the wall, the diaphragm and the spine."""
    points = part.points
    walls = np.maximum(anatomy.cavity(points) + 3, anatomy.below_diaphragm(points) + 4)
    return np.maximum(np.maximum(distance, walls), -anatomy.organs["vertebra"].distance(points, 6.0))


def _bowel(anatomy: Anatomy, frame: Frame) -> Iterator[Layer]:
    """Loops of small bowel, as level sets of a random field, and the transverse colon with its gas."""
    organ = anatomy.organs["bowel"]
    box = frame.box(*organ.corners())
    part = frame.crop(box)
    loops = anatomy.surface.on(part)
    region = _inside(anatomy, part, organ.distance(part.points))
    yield layer("bowel_wall", frame, box, np.maximum(region, (np.abs(loops) - 0.85) * 12))
    yield layer("bowel_content", frame, box, np.maximum(region + 2, (np.abs(loops) - 0.65) * 12))

    depth = anatomy.depth - anatomy.fat_mm - 34
    bends = ((-58, 0.2, 0.58), (-52, 0.9, 0.3), (-58, 1.0, -0.1), (-40, 0.75, -0.42), (-12, 0.0, -0.66))
    places = [(float(z), y * depth, x * anatomy.width) for z, y, x in bends]
    tube = np.full(frame.shape, np.inf, np.float32)
    for start, end in pairwise(places):
        np.minimum(tube, capsule(frame.points, start, end, (17.0, 17.0)), out=tube)
    z, _, x = frame.points
    tube = _inside(anatomy, frame, tube + np.sin(np.hypot(z, x) / np.float32(5)))  # haustra
    yield layer("bowel_wall", frame, frame.whole, tube)
    yield layer("bowel_content", frame, frame.whole, tube + 3)
    level = np.float32(0.55 * depth) - frame.points[1]  # gas rises to the front
    yield layer("gas", frame, frame.whole, np.maximum(tube + 3, level))


def _pancreas(anatomy: Anatomy, frame: Frame) -> Iterator[Layer]:
    """Head beside the duodenum, neck before the portal confluence, body and tail towards the spleen."""
    organs = anatomy.organs
    z, y, _ = organs["hilum"].centre
    tail_z, tail_y, tail_x = organs["spleen"].centre
    places = (
        ((z - 36, y + 8, 30.0), 13.0),
        ((z - 22, y + 20, 12.0), 9.0),
        ((z - 12, y + 16, -22.0), 9.0),
        ((tail_z - 22, tail_y + 20, tail_x + 40), 8.0),
    )
    corner = np.array([place for place, _ in places])
    (z0, y0, x0), (z1, y1, x1) = (corner.min(0) - 18).tolist(), (corner.max(0) + 18).tolist()
    box = frame.box((z0, y0, x0), (z1, y1, x1))
    part = frame.crop(box)
    gland = np.full(part.shape, np.inf, np.float32)
    for (start, r), (end, s) in pairwise(places):
        np.minimum(gland, capsule(part.points, start, end, (r, s)), out=gland)
    yield layer("pancreas", frame, box, _inside(anatomy, part, gland + 1.5 * anatomy.fine.on(part)))


def _stomach(anatomy: Anatomy, frame: Frame) -> Iterator[Layer]:
    """Fundus and antrum: a wall, food and fluid, and gas in front."""
    for name in ("stomach", "antrum"):
        organ = anatomy.organs[name]
        box = frame.box(*organ.corners())
        part = frame.crop(box)
        wall = _inside(
            anatomy, part, organ.distance(part.points) + anatomy.surface_mm * anatomy.surface.on(part)
        )
        level = np.float32(organ.centre[1] + 0.45 * organ.semi_axes[1]) - part.points[1]
        yield layer("bowel_wall", frame, box, wall)
        yield layer("food", frame, box, wall + 3.5)
        yield layer("gas", frame, box, np.maximum(wall + 3.5, level))


def _kidney(anatomy: Anatomy, frame: Frame, organ: Organ, inward: float) -> Iterator[Layer]:
    """Cortex, pyramids of medulla between its columns, and the fat of the sinus, open towards the spine."""
    box = frame.box(*organ.corners())
    part = frame.crop(box)
    sinus = organ.part((0.0, 5.0, 0.55 * inward * organ.semi_axes[2]), (0.5, 0.36, 0.62)).distance(
        part.points
    )
    kidney = smooth_difference(_inside(anatomy, part, organ.distance(part.points)), sinus, 4.0)
    pyramids = np.maximum(kidney + 6.5, 4 * (anatomy.fine.on(part) - 0.35))
    yield layer("kidney_cortex", frame, box, kidney)
    yield layer("kidney_medulla", frame, box, np.maximum(pyramids, -sinus + 2))
    pelvis = organ.part((0.0, 4.0, 0.45 * inward * organ.semi_axes[2]), (0.16, 0.14, 0.4))
    yield layer("fluid", frame, box, pelvis.distance(part.points))


def _spleen(anatomy: Anatomy, frame: Frame) -> Iterator[Layer]:
    """The spleen under the left dome, hollow towards the stomach; its slow part makes the arterial bands."""
    organ = anatomy.organs["spleen"]
    box = frame.box(*organ.corners())
    part = frame.crop(box)
    hollow = anatomy.organs["stomach"].distance(part.points, 3.0)
    outside = organ.distance(part.points) + 0.7 * anatomy.surface_mm * anatomy.surface.on(part)
    spleen = _inside(anatomy, part, smooth_difference(outside, hollow, 8.0))
    spleen = smooth_difference(spleen, anatomy.organs["left_kidney"].distance(part.points, 3.0), 5.0)
    whole = layer("spleen", frame, box, spleen)
    yield whole
    z, y, x = part.points
    bands = np.sin((y + x) / np.float32(5.5) + z / 14 + 1.6 * anatomy.surface.on(part))
    yield Layer("spleen_slow", box, whole.coverage * np.clip(0.5 + 0.6 * bands, 0, 1))
