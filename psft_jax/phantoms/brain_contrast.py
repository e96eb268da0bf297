"""Signal of the brain phantom: FLAIR and T1 from tissue, lesions and what is bright but is no lesion.

Signals are given against normal white matter at 1. Everything here belongs to the patient and stays from
visit to visit; the scanner's share (gain, bias field, noise) is added in ``psft_jax.phantoms.brain``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from psft_jax.phantoms.brain_anatomy import Grid, Tissue
from psft_jax.phantoms.brain_painting import Painted
from psft_jax.scan import Volume

Range = tuple[float, float]
Point = tuple[float, float, float]

# What may be bright besides lesions: centre (z, y, |x|) and standard deviation along each axis, atlas mm.
_SEPTUM = (((9.0, 16.0, 0.0), (3.5, 4.0, 0.9)), ((14.0, 6.0, 0.0), (4.0, 5.0, 0.9)))
_CHOROID_PLEXUS = (
    ((9.0, -42.0, 22.0), (3.0, 4.0, 2.2)),
    ((17.0, -30.0, 15.0), (2.0, 6.0, 1.6)),
    ((19.0, -12.0, 8.0), (1.6, 7.0, 1.5)),
)
_FLOW = (
    ((4.0, 4.0, 4.0), (4.0, 3.0, 2.0)),  # at the foramina of Monro
    ((0.0, -14.0, 0.0), (5.0, 6.0, 1.5)),  # third ventricle
    ((-32.0, -46.0, 0.0), (6.0, 3.0, 4.0)),  # fourth ventricle
    ((-32.0, -10.0, 0.0), (8.0, 3.0, 6.0)),  # in front of the pons
    ((12.0, 22.0, 9.0), (4.0, 5.0, 3.0)),  # frontal horns
)


@dataclass(frozen=True)
class ContrastParameters:
    """What differs in signal between patients: ranges of uniform draws, once per patient; white matter is 1.

    Args:
        flair_gm: grey matter on FLAIR; 3 T, two-dimensional FLAIR shows it slightly brighter than white
            matter.
        flair_csf: fluid on FLAIR, suppressed but never black.
        flair_lesion: how much brighter than white matter lesions are on FLAIR.
        flair_texture: weight, in FLAIR, of what varies within one tissue; negative, since T1 and T2 go
            together.
        t1_gm, t1_csf: grey matter and fluid on T1.
        t1_lesion: how much darker than white matter lesions are on T1, from hardly seen to as dark as grey
            matter and below.
        profile: how much fainter a lesion is at its surface than at its centre.
        halo: height of the pale surround of lesions, as a share of their contrast.
        halo_mm: its width.
        dirty: excess signal of normal-appearing white matter at the ventricles, as a share of lesion
            contrast.
        dirty_mm: over what distance from the ventricles it fades.
        lining: brightness of the ventricles' lining, as a share of lesion contrast.
        septum, choroid_plexus, flow: brightness of each confounder, as a share of lesion contrast. Each site
            of a confounder is half to one and a half times as bright.
    """

    flair_gm: Range = (1.12, 1.35)
    flair_csf: Range = (0.15, 0.4)
    flair_lesion: Range = (0.5, 1.1)
    flair_texture: Range = (-0.8, -0.3)
    t1_gm: Range = (0.7, 0.82)
    t1_csf: Range = (0.25, 0.38)
    t1_lesion: Range = (0.1, 0.35)
    profile: Range = (0.0, 0.6)
    halo: Range = (0.0, 0.35)
    halo_mm: Range = (2.0, 4.0)
    dirty: Range = (0.0, 0.35)
    dirty_mm: Range = (4.0, 10.0)
    lining: Range = (0.1, 0.5)
    septum: Range = (0.1, 0.9)
    choroid_plexus: Range = (0.1, 0.9)
    flow: Range = (0.0, 0.7)


@dataclass(frozen=True)
class Confounder:
    """A bright spot that is no lesion, as a Gaussian in the atlas, (z, y, x) in mm."""

    centre_mm: Point
    sd_mm: Point
    brightness: float


@dataclass(frozen=True)
class Contrast:
    """One patient's signals: the fields of ``ContrastParameters``, drawn, and the confounders."""

    flair_gm: float
    flair_csf: float
    flair_lesion: float
    flair_texture: float
    t1_gm: float
    t1_csf: float
    t1_lesion: float
    profile: float
    halo: float
    halo_mm: float
    dirty: float
    dirty_mm: float
    lining: float
    septum: float
    choroid_plexus: float
    flow: float
    confounders: tuple[Confounder, ...]


def draw_contrast(rng: np.random.Generator, parameters: ContrastParameters) -> Contrast:
    """One patient's signals."""
    drawn = {f.name: float(rng.uniform(*getattr(parameters, f.name))) for f in fields(parameters)}
    sites = [(_SEPTUM, drawn["septum"]), (_CHOROID_PLEXUS, drawn["choroid_plexus"]), (_FLOW, drawn["flow"])]
    confounders = []
    for places, brightness in sites:
        for (z, y, x), sd_mm in places:
            for side in (-1, 1) if x else (1,):
                dz, dy, dx = (float(v) for v in rng.normal(0, 0.4, 3) * sd_mm)
                strength = brightness * float(rng.uniform(0.5, 1.5))
                confounders.append(Confounder((z + dz, y + dy, side * x + dx), sd_mm, strength))
    return Contrast(**drawn, confounders=tuple(confounders))


def signal(tissue: Tissue, painted: Painted, contrast: Contrast, grid: Grid) -> tuple[Volume, Volume]:
    """FLAIR and T1 without noise, (Z, Y, X) float32, white matter at 1 and 0 outside the brain."""
    lesion, c = painted.fraction, contrast
    healthy = 1 - lesion
    sd = [c.halo_mm / mm for mm in grid.spacing_mm]
    halo = c.halo * ndimage.gaussian_filter(lesion, sd, truncate=2.5)
    distance = tissue.ventricle_mm
    dirty = c.dirty * np.exp(-np.maximum(distance, 0) / c.dirty_mm)
    lining = c.lining * np.exp(-((distance - 0.3) ** 2))
    pale = np.maximum(tissue.wm * np.maximum(halo, dirty) * healthy, lining * tissue.brain)
    pale += confounding(tissue, contrast, grid)

    flair = tissue.wm + c.flair_gm * tissue.gm + c.flair_csf * tissue.csf + c.flair_texture * tissue.texture
    flair = healthy * flair + lesion + c.flair_lesion * (lesion * painted.brightness + pale)
    t1 = tissue.wm + c.t1_gm * tissue.gm + c.t1_csf * tissue.csf + tissue.texture
    t1 = healthy * (t1 - c.t1_lesion * halo * tissue.wm) + lesion * (1 - c.t1_lesion * painted.brightness)
    return flair, t1


def confounding(tissue: Tissue, contrast: Contrast, grid: Grid) -> Volume:
    """Brightness of the confounders, (Z, Y, X), as a share of lesion contrast; 0 in white matter."""
    position, bright = tissue.atlas_mm, np.zeros(tissue.atlas_mm.shape[1], np.float32)
    blur_mm2 = np.array(grid.spacing_mm) ** 2 / 12  # variance of a voxel's extent: partial volume
    for spot in contrast.confounders:
        sd = np.sqrt(np.array(spot.sd_mm) ** 2 + blur_mm2)
        height = spot.brightness * float(np.prod(np.array(spot.sd_mm) / sd))
        near = np.flatnonzero(np.abs(position[0] - spot.centre_mm[0]) < 3 * sd[0])
        scaled = (position[:, near] - np.array(spot.centre_mm)[:, None]) / sd[:, None]
        bright[near] += height * np.exp(-0.5 * (scaled**2).sum(axis=0))
    volume = np.zeros_like(tissue.wm)
    volume[tissue.sampled] = bright
    return volume * (1 - tissue.wm)
