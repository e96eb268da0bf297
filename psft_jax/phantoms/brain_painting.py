"""Lesions on a visit's grid: what share of each voxel they fill, and how bright that share is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.phantoms.brain_anatomy import Grid
from psft_jax.phantoms.brain_lesions import Lesion
from psft_jax.scan import Volume

_PARTS = 3  # of a voxel along each axis, to measure a lesion's share; odd, so no share is exactly half
_MOTTLING = 0.06  # how much a lesion's brightness varies inside it
_PROMOTED = 0.75  # share given to the one voxel of a lesion too small to fill half of any
_NO_LESION, _ALL_LESION = (
    0.35,
    0.75,
)  # share of white matter at which a voxel may hold none, or all, of a lesion

Box = tuple[slice, slice, slice]
Local = Float[np.ndarray, "boxz boxy boxx"]  # the voxels of a box, or the points inside them


@dataclass(frozen=True, eq=False)
class Painted:
    """Lesions on a visit's grid, both (Z, Y, X): their share of each voxel, and how bright that share is."""

    fraction: Volume
    brightness: Volume


def paint(lesions: tuple[Lesion, ...], grid: Grid, wm: Volume, profile: float) -> Painted:
    """Every lesion's share of every voxel; where two overlap, the larger share.

    A lesion that fills half of no voxel is given the voxel that it fills most, as an annotator would, so it
    stays in the mask ``fraction > 0.5``; on coarse grids small lesions are therefore larger than drawn.

    Args:
        lesions: one patient's.
        grid: the visit's.
        wm: (Z, Y, X) share of white matter in that visit, to which lesions are cut.
        profile: how much darker a lesion is at its surface than at its centre, as a share of its contrast.
    """
    fraction, brightness = np.zeros((2, *grid.shape), np.float32)
    for lesion in lesions:
        box, share, mean = _share(lesion, grid, wm, profile)
        brighter = share > fraction[box]
        fraction[box] = np.where(brighter, share, fraction[box])
        brightness[box] = np.where(brighter, lesion.brightness * mean, brightness[box])
    return Painted(fraction, brightness)


def _share(lesion: Lesion, grid: Grid, wm: Volume, profile: float) -> tuple[Box, Local, Local]:
    """The box of a lesion, its share of the voxels there, and how bright that share is on average."""
    centre = np.linalg.solve(grid.matrix, lesion.centre_mm - grid.offset)
    reach = (1 + 2 * lesion.unevenness) * lesion.radius_mm.max() / np.array(grid.spacing_mm) + 1
    last = np.array(grid.shape) - 1
    low = np.clip(np.floor(centre - reach), 0, last).astype(int)
    high = np.clip(np.ceil(centre + reach), low, last).astype(int)
    box = slice(low[0], high[0] + 1), slice(low[1], high[1] + 1), slice(low[2], high[2] + 1)

    counts = high - low + 1
    fine = np.ix_(
        *(lo - 0.5 + (np.arange(n * _PARTS) + 0.5) / _PARTS for lo, n in zip(low, counts, strict=True))
    )
    radius, ripple = _surface(lesion, lesion.axes @ grid.matrix / lesion.radius_mm[:, None], fine, centre)
    inside = radius + lesion.unevenness * ripple < 1
    blocks = [size for n in counts for size in (n, _PARTS)]
    share = inside.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
    glow = np.where(inside, 1 - profile * np.minimum(radius, 1) ** 2 + _MOTTLING * ripple, 0)
    mean = glow.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32) / np.maximum(share, 1e-6)

    share *= np.clip((wm[box] - _NO_LESION) / (_ALL_LESION - _NO_LESION), 0, 1)
    if not (share > 0.5).any():
        nearest = tuple(np.clip(np.rint(centre), low, high).astype(int) - low)
        voxel = np.unravel_index(int(share.argmax()), share.shape) if share.any() else nearest
        share[voxel], mean[voxel] = _PROMOTED, 1.0
    return box, share, mean


def _surface(
    lesion: Lesion,
    to_unit: Float[np.ndarray, "3 3"],
    index: tuple[np.ndarray, ...],
    centre: Float[np.ndarray, " 3"],
) -> tuple[Local, Local]:
    """At each index, the radius (1 on the ellipsoid) and the ripples of the surface (unit variance)."""

    def projected(vector: Float[np.ndarray, " 3"]) -> Local:
        z, y, x = (
            np.float32(v) * (i - c).astype(np.float32) for v, i, c in zip(vector, index, centre, strict=True)
        )
        return z + y + x

    radius = np.sqrt(sum(projected(row) ** 2 for row in to_unit))
    waves = zip(lesion.waves @ to_unit, lesion.phases, strict=True)
    ripple = sum(np.cos(projected(wave) + np.float32(phase)) for wave, phase in waves)
    return radius, np.clip(np.sqrt(2 / len(lesion.phases)) * ripple, -2, 2).astype(np.float32)
