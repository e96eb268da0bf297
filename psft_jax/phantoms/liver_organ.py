"""The liver itself in the phantom: parenchyma, gallbladder, vessels and focal lesions, and the two masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from psft_jax.phantoms.liver_anatomy import Anatomy
from psft_jax.phantoms.liver_geometry import Frame, ellipsoid
from psft_jax.phantoms.liver_layers import Layer, layer
from psft_jax.phantoms.liver_lesions import Kind, Lesion
from psft_jax.phantoms.liver_vessels import VesselTrees, vessel_coverage
from psft_jax.scan import Mask, Volume

# A lesion's parts from the outside in: the tissue, how far below the outline it begins (mm, and share of the
# radius), and how far its edge is blurred (mm). The necrotic core is added where a lesion has one.
_PARTS: dict[Kind, tuple[tuple[str, float, float, float], ...]] = {
    Kind.HYPOVASCULAR: (("hypovascular", 0.0, 0.0, 2.0),),
    Kind.RIM: (("rim", 0.0, 0.0, 1.0), ("rim_centre", 1.2, 0.18, 2.0)),
    Kind.HYPERVASCULAR: (("hypervascular", 0.0, 0.0, 1.0),),
    Kind.CYST: (("cyst", 0.0, 0.0, 0.0),),
    Kind.ABLATION: (("ablation_rim", 0.0, 0.0, 1.0), ("ablation", 2.5, 0.0, 1.5)),
}


@dataclass(frozen=True, eq=False)
class LiverLayers:
    """The liver's layers, and what they are made of.

    Args:
        layers: in the order of painting.
        organ: True in the liver, with all that lies in it.
        lesion: True in metastases.
    """

    layers: tuple[Layer, ...]
    organ: Mask
    lesion: Mask


def parts_of(lesion: Lesion) -> Iterator[tuple[str, float, float]]:
    """A lesion's tissues from the outside in, each with its depth below the outline and its blur, in mm."""
    radius = 0.5 * lesion.diameter_mm
    for tissue, depth_mm, share, blur_mm in _PARTS[lesion.kind]:
        yield tissue, depth_mm + share * radius, blur_mm
    if lesion.necrosis:
        yield "necrosis", (1 - lesion.necrosis) * radius, 4.0


def part_name(lesion: Lesion, tissue: str) -> str:
    """What a part of a lesion is called among the tissues: each lesion has contrasts of its own."""
    return f"{lesion.name}/{tissue}"


def liver_layers(
    anatomy: Anatomy, trees: VesselTrees, lesions: Sequence[Lesion], frame: Frame
) -> LiverLayers:
    """Parenchyma with patches of other fat and perfusion, gallbladder, vessels, mimics, metastases on top.

    A metastasis marks at least the voxel that holds its centre, so it is never lost on a coarse grid.
    """
    box = anatomy.liver_box(frame)
    part = frame.crop(box)
    liver = layer("liver", frame, box, anatomy.liver(part.points, anatomy.surface.on(part)))
    patches = np.clip(0.35 + 0.45 * anatomy.patches.on(part), 0, 1)
    layers = [liver, Layer("liver_patch", box, liver.coverage * patches)]
    for tissue in ("hepatic_vein", "portal_vein"):
        filled = vessel_coverage(frame, box, getattr(trees, tissue))
        layers.append(Layer(tissue, box, liver.coverage * filled))
    gallbladder = anatomy.organs["gallbladder"]
    fossa = frame.box(*gallbladder.corners())
    layers.append(layer("gallbladder", frame, fossa, gallbladder.distance(frame.crop(fossa).points)))

    inside = np.zeros(frame.shape, np.float32)
    inside[box] = liver.coverage
    organ, lesion_mask = inside >= 0.5, np.zeros(frame.shape, bool)
    for lesion in sorted(lesions, key=lambda each: each.kind.is_metastasis):
        parts = list(_lesion_layers(anatomy, lesion, frame, inside))
        layers += parts
        if lesion.kind.is_metastasis:
            outline = parts[0]
            lesion_mask[outline.box] |= outline.coverage >= 0.5
            centre = tuple(
                int(np.abs(axis - c).argmin())
                for axis, c in zip((frame.z, frame.y, frame.x), lesion.centre, strict=True)
            )
            lesion_mask[centre] = organ[centre] = True
    return LiverLayers(tuple(layers), organ, lesion_mask & organ)


def _lesion_layers(anatomy: Anatomy, lesion: Lesion, frame: Frame, liver: Volume) -> Iterator[Layer]:
    """One lesion's parts, cut off at the liver's surface; all but cysts have a rough outline."""
    (z, y, x), reach = lesion.centre, 1.3 * max(lesion.semi_axes) + 4
    box = frame.box((z - reach, y - reach, x - reach), (z + reach, y + reach, x + reach))
    part = frame.crop(box)
    distance = ellipsoid(part.points, lesion.centre, lesion.semi_axes, lesion.tilt)
    if lesion.kind is not Kind.CYST:
        distance = distance + min(0.12 * lesion.diameter_mm, 2.2) * anatomy.fine.on(part)
    for tissue, depth_mm, blur_mm in parts_of(lesion):
        yield Layer(part_name(lesion, tissue), box, liver[box] * frame.coverage(distance + depth_mm, blur_mm))
