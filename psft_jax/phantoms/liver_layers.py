"""Layers of tissue, and how they are painted: each covers what was painted before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.phantoms.liver_geometry import Box, Coordinates, Frame
from psft_jax.scan import Image, Volume


@dataclass(frozen=True, eq=False)
class Layer:
    """A tissue, the box of the grid that it lies in, and the share of each voxel there that it fills."""

    tissue: str
    box: Box
    coverage: Volume


def layer(tissue: str, frame: Frame, box: Box, distance: Coordinates) -> Layer:
    """The layer that an implicit function bounds; ``distance`` is taken at the voxels of ``box``."""
    return Layer(tissue, box, np.broadcast_to(frame.coverage(distance), frame.crop(box).shape))


def paint(
    shape: tuple[int, int, int], layers: Sequence[Layer], signals: Mapping[str, Float[np.ndarray, " c"]]
) -> Image:
    """The image that ``layers`` leave, from the first at the bottom to the last on top.

    Args:
        shape: (Z, Y, X).
        layers: in the order of painting.
        signals: every tissue's signal in every channel.

    Returns:
        (Z, Y, X, C) float32; 0 where nothing was painted.
    """
    colours = {tissue: signal.astype(np.float32) for tissue, signal in signals.items()}
    image = np.zeros((*shape, len(next(iter(colours.values())))), np.float32)
    for z in range(shape[0]):  # a slice with all its channels stays in the cache
        for each in layers:
            if each.box[0].start <= z < each.box[0].stop:
                cover = each.coverage[z - each.box[0].start]
                inside = cover > 0
                region = image[z, each.box[1], each.box[2]]
                below = region[inside]
                region[inside] = below + cover[inside][:, None] * (colours[each.tissue] - below)
    return image
