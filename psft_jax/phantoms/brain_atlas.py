"""The anatomy that every brain phantom is deformed from: the ICBM152 average that nilearn carries.

The average of 152 brains is blurred where their folds differ, so its tissue probabilities are sharpened. The
lateral ventricles are found in it: the distance to their wall tells where a brain ages and where lesions sit.
Positions are MNI coordinates in mm, in the order (z, y, x) of the arrays.

Reference: Fonov et al., "Unbiased average age-appropriate atlases for pediatric studies", NeuroImage 54,
2011.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from nilearn import datasets
from scipy import ndimage

from psft_jax.scan import Mask, Volume

_ORIGIN_MM = (-72.0, -134.0, -98.0)  # centre of the first voxel of the 1 mm template
_T1_WM, _T1_GM, _T1_CSF = 0.86, 0.65, 0.31  # means in the template where each tissue is above 0.8
_VENTRICLE_T1 = 0.56  # halfway from cerebrospinal fluid to what surrounds the ventricles
_SHARPENING = 2.5  # power of the tissue probabilities: 1 keeps the blurred average, 3 is nearly a hard label
_SULCI = 1.5  # how much wider than in the average of 152 folded cortices a sulcus is in one of them
_RIM_MM = 4.0  # band around the ventricles where partial volume of white matter passes for grey matter
_SEPTUM_MM = 3.0  # from the midline; what passes for grey matter here is the septum pellucidum


@dataclass(frozen=True, eq=False)
class Atlas:
    """Maps on a 1 mm grid around the brain, each (Z, Y, X) float32.

    Args:
        brain: 1 inside the brain, ventricles and sulci included.
        wm: share of white matter.
        gm: share of grey matter. What the brain holds besides is cerebrospinal fluid.
        texture: T1 signal that the three shares do not explain, with white matter at 1.
        ventricle_mm: distance to the wall of the lateral ventricles, negative inside.
        origin_mm: position of the first voxel's centre.
    """

    brain: Volume
    wm: Volume
    gm: Volume
    texture: Volume
    ventricle_mm: Volume
    origin_mm: Float[np.ndarray, " 3"]

    def sample(
        self, volume: Volume, position_mm: Float[np.ndarray, "zyx points"]
    ) -> Float[np.ndarray, " points"]:
        """``volume``, on this atlas' grid, linear between voxels; beyond it, its border values."""
        index = position_mm - self.origin_mm.astype(position_mm.dtype)[:, None]
        return ndimage.map_coordinates(volume, index, order=1, output=np.float32, mode="nearest")


@functools.cache
def load_atlas() -> Atlas:
    """The atlas, from the files that come with nilearn; nothing is downloaded."""
    mask = _template(datasets.load_mni152_brain_mask) > 0
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(mask, iterations=6))
    found = ndimage.find_objects(brain.astype(np.int8))[0]
    box = tuple(slice(s.start - 4, s.stop + 4) for s in found)
    origin = np.array(_ORIGIN_MM) + [s.start for s in box]
    brain, t1 = brain[box], _template(datasets.load_mni152_template)[box]
    wm = np.minimum(_template(datasets.load_mni152_wm_template)[box], brain)
    gm = np.minimum(_template(datasets.load_mni152_gm_template)[box], brain - wm)

    z, y, x = np.ix_(*(o + np.arange(n) for o, n in zip(origin, brain.shape, strict=True)))
    distance = _signed_distance(_lateral_ventricles(t1, z, y, np.abs(x)))
    rim = (distance < _RIM_MM) & (np.abs(x) >= _SEPTUM_MM)
    wm, gm = _without_rim(t1, wm, gm, rim)
    wm, gm, csf = _with_sulci(t1, *_sharpened(wm, gm, np.clip(brain - wm - gm, 0, 1)))
    unexplained = (t1 - _T1_WM * wm - _T1_GM * gm - _T1_CSF * csf) / _T1_WM
    texture = np.clip(unexplained, -0.1, 0.1) * (wm**4 + gm**4 + csf**4)  # where one tissue fills the voxel
    single = functools.partial(np.ascontiguousarray, dtype=np.float32)
    return Atlas(single(brain), single(wm), single(gm), single(texture), single(distance), origin)


@functools.cache
def averaged_atlas(voxel_mm: tuple[float, float, float]) -> Atlas:
    """The atlas with its tissues averaged over voxels of ``voxel_mm`` along (Z, Y, X): partial volume."""
    atlas, size = load_atlas(), [max(1, round(mm)) for mm in voxel_mm]
    brain, wm, gm, texture = (
        ndimage.uniform_filter(m, size) for m in (atlas.brain, atlas.wm, atlas.gm, atlas.texture)
    )
    return replace(atlas, brain=brain, wm=wm, gm=gm, texture=texture)


def _template(load: Callable[..., Any]) -> Volume:
    """One of nilearn's templates at 1 mm as (Z, Y, X)."""
    return np.asarray(load(resolution=1).dataobj, dtype=np.float32).T


def _lateral_ventricles(t1: Volume, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> Mask:
    """The two largest dark regions in the ventricles' box; ``x`` is the distance from the midline."""
    box = (z > -6) & (z < 34) & (y > -52) & (y < 36) & (x > 1.5) & (x < 36)
    cisterns = (x < 19) & (y < -28) & (z < 9)
    insula = (x > 22) & (y > -32)
    third_ventricle = (x < 5) & (z < 4)
    labels, _ = ndimage.label((t1 < _VENTRICLE_T1) & box & ~cisterns & ~insula & ~third_ventricle)
    largest = np.argsort(np.bincount(labels.ravel())[1:])[-2:] + 1
    return np.isin(labels, largest)


def _signed_distance(mask: Mask) -> Volume:
    """Distance in voxels to the surface of ``mask``, negative inside."""
    inside, outside = (ndimage.distance_transform_edt(m) for m in (mask, ~mask))
    return np.where(mask, 0.5 - inside, outside - 0.5)


def _without_rim(t1: Volume, wm: Volume, gm: Volume, rim: Mask) -> tuple[Volume, Volume]:
    """White and grey matter; in ``rim``, grey matter too thin to be a nucleus goes back to its neighbours."""
    thin = np.where(rim, np.maximum(gm - ndimage.grey_opening(gm, size=(5, 5, 5)), 0), 0)
    white = np.clip((t1 - _T1_CSF) / (_T1_WM - _T1_CSF), 0, 1)
    return wm + thin * white, gm - thin


def _with_sulci(t1: Volume, wm: Volume, gm: Volume, csf: Volume) -> tuple[Volume, Volume, Volume]:
    """The three shares of tissue, with fluid where the average T1 is darker than grey matter can be."""
    dark = np.clip(_SULCI * (_T1_GM - 0.05 - t1) / (_T1_GM - _T1_CSF), 0, 1)
    moved = np.clip(dark - csf, 0, gm)
    return wm, gm - moved, csf + moved


def _sharpened(*shares: Volume) -> tuple[Volume, ...]:
    """Shares of tissue pushed towards the largest, with their sum kept."""
    powers = [share**_SHARPENING for share in shares]
    scale = sum(shares) / np.maximum(sum(powers), 1e-6)
    return tuple(power * scale for power in powers)
