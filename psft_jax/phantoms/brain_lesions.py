"""White matter hyperintensities: how many, how large, where, and how they change.

A lesion is an ellipsoid with an uneven surface, in the patient's own millimetres; painting cuts it to white
matter. It keeps its identity from visit to visit. Places and sizes follow what is known of ageing brains:
caps and bands at the lateral ventricles, much alike on both sides, which run together when the load is high,
and punctate lesions in the deep white matter.

The number drawn is not the number of 26-connected components in the mask: neighbours merge, mostly at the
ventricles and at a high load, and a few lesions are split by the cortex. At 3 x 0.958 x 0.958 mm, 24
patients had 66 lesions drawn and 62 components on average (35 to 94), and volumes of 3 to 65 mL.

References:
    Wardlaw et al., "Neuroimaging standards for research into small vessel disease and its contribution to
    ageing and neurodegeneration" (STRIVE), Lancet Neurol. 12, 2013.
    Section 2.1.2 of the paper: 21 to 117 lesions a patient, 65 on average, single voxels among them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial.transform import Rotation

from psft_jax.phantoms.brain_anatomy import Anatomy, Points
from psft_jax.phantoms.brain_atlas import load_atlas
from psft_jax.scan import Volume

_WAVES = 6  # ripples that make a surface uneven
_LOST_AT_WALL = 1.3  # volume of an ellipsoid centred on the wall, against what of it lies in white matter
_HORNS = ((6.0, 33.0, 18.0), (12.0, -52.0, 28.0))  # frontal and occipital, (z, y, |x|) in the atlas, mm
_TRIES = 30  # candidate places for each lesion
_SYMMETRY_MM = 3.0  # the second of a pair at the wall lies this near to the mirror image of the first
_GAP_MM = 3.0  # wished for between neighbours


@dataclass(frozen=True)
class LesionParameters:
    """How lesions are drawn.

    Args:
        count: fewest, most frequent and largest number of lesions of a patient at baseline (triangular draw).
        load_ml: median total volume of a patient's lesions at baseline.
        load_log_sd: standard deviation of its logarithm between patients.
        load_range_ml: the total volume drawn is kept inside this range; cut to white matter, and with single
            voxels kept, what is painted differs from it by about a tenth.
        size_log_sd: standard deviation of the logarithm of the volume between one patient's lesions.
        periventricular: share of lesions at the ventricles' wall; the larger a lesion, the more often it is
            there.
        unevenness: how far a surface strays from its ellipsoid, as a share of the radius.
        brightness_sd: how much lesions of one patient differ in brightness, as a share of their contrast.
        growth_log_mean, growth_log_sd: logarithm of volume at follow-up (about two years) over baseline; at
            the defaults the median lesion grows by 14 % and one in four shrinks.
        appearing: expected number of new lesions at follow-up for each one at baseline.
        appearing_ml: median volume of a new lesion.
    """

    count: tuple[int, int, int] = (21, 57, 117)
    load_ml: float = 10.0
    load_log_sd: float = 0.9
    load_range_ml: tuple[float, float] = (1.0, 60.0)
    size_log_sd: float = 1.5
    periventricular: float = 0.35
    unevenness: float = 0.2
    brightness_sd: float = 0.1
    growth_log_mean: float = 0.13
    growth_log_sd: float = 0.2
    appearing: float = 0.1
    appearing_ml: float = 0.03


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion.

    Args:
        centre_mm: (z, y, x) in the patient.
        radius_mm: semi-axes.
        axes: rows are the directions of the semi-axes.
        waves: wave vectors of the surface's ripples, in radii.
        phases: their phases.
        unevenness: their height, in radii.
        brightness: contrast against the patient's other lesions.
    """

    centre_mm: Float[np.ndarray, " 3"]
    radius_mm: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]
    waves: Float[np.ndarray, "waves 3"]
    phases: Float[np.ndarray, " waves"]
    unevenness: float
    brightness: float


def draw_lesions(
    rng: np.random.Generator, parameters: LesionParameters, anatomy: Anatomy
) -> tuple[Lesion, ...]:
    """A patient's lesions at baseline, the largest first."""
    low, mode, high = parameters.count
    n = round(np.clip(rng.triangular(low - 0.5, mode, high + 0.5), low, high))
    load_ml = parameters.load_ml * np.exp(rng.normal(0, parameters.load_log_sd))
    load_ml = np.clip(load_ml, *parameters.load_range_ml)
    relative = np.sort(np.exp(rng.normal(0, parameters.size_log_sd, n)))[::-1]
    return _placed(rng, parameters, anatomy, load_ml * relative / relative.sum(), ())


def follow_up_lesions(
    rng: np.random.Generator, parameters: LesionParameters, anatomy: Anatomy, baseline: tuple[Lesion, ...]
) -> tuple[Lesion, ...]:
    """The same lesions, grown or shrunk, and new ones."""
    growth = np.exp(rng.normal(parameters.growth_log_mean, parameters.growth_log_sd, len(baseline)))
    changed = tuple(
        replace(lesion, radius_mm=lesion.radius_mm * factor ** (1 / 3))
        for lesion, factor in zip(baseline, growth, strict=True)
    )
    n = rng.poisson(parameters.appearing * len(baseline))
    volumes_ml = parameters.appearing_ml * np.exp(rng.normal(0, 0.5 * parameters.size_log_sd, n))
    return (*changed, *_placed(rng, parameters, anatomy, volumes_ml, changed))


def _placed(
    rng: np.random.Generator,
    parameters: LesionParameters,
    anatomy: Anatomy,
    volumes_ml: Float[np.ndarray, " n"],
    others: tuple[Lesion, ...],
) -> tuple[Lesion, ...]:
    """Lesions of the given volumes, kept clear of ``others`` and of each other where there is room."""
    n = len(volumes_ml)
    largest_first = 3 * (1 - np.arange(n) / max(n, 1)) ** 2  # mean 1: the larger, the more often at the wall
    at_wall = rng.random(n) < parameters.periventricular * largest_first
    placed, opposite = list(others), None
    for volume_ml, periventricular in zip(volumes_ml.tolist(), at_wall.tolist(), strict=True):
        places = _places()[0 if periventricular else 1]
        candidates = places[:, rng.integers(places.shape[1], size=_TRIES)]
        if periventricular and opposite is not None:
            candidates = opposite[:, None] + rng.normal(0, _SYMMETRY_MM, (3, _TRIES))
        radius_mm, axes = _ellipsoid(rng, 1000 * volume_ml, periventricular)
        in_patient = anatomy.to_patient(candidates + rng.uniform(-0.5, 0.5, candidates.shape))
        chosen = _clearest(in_patient, float(radius_mm.mean()), placed)
        if periventricular:
            opposite = candidates[:, chosen] * [1, 1, -1] if opposite is None else None
        placed.append(
            Lesion(
                centre_mm=in_patient[:, chosen],
                radius_mm=radius_mm,
                axes=axes,
                waves=rng.normal(0, 2.0, (_WAVES, 3)),
                phases=rng.uniform(0, 2 * np.pi, _WAVES),
                unevenness=parameters.unevenness,
                brightness=float(np.exp(rng.normal(0, parameters.brightness_sd))),
            )
        )
    return tuple(placed[len(others) :])


@functools.cache
def _places() -> tuple[Points, Points]:
    """Atlas positions of white matter to draw centres from: at the ventricles' wall, and deep."""
    atlas = load_atlas()
    wm, d = ndimage.uniform_filter(atlas.wm, 3), atlas.ventricle_mm
    z, y, x = np.ix_(*(o + np.arange(n) for o, n in zip(atlas.origin_mm, d.shape, strict=True)))
    x = np.abs(x)
    supratentorial = (z > -8) & ((y > -70) | (z > 5))
    callosum = (x < 13) & (d < 15)
    basal = (x < 33) & (z < 20) & (y > -28) & (y < 22) | (z < 3) & (y > -35) & (y < 10)
    wall = (wm > 0.6) & (d > 0) & (d < 3) & supratentorial & (x > 11) & ~(basal & (z < 16))
    deep = (wm > 0.97) & (d > 4) & (d < 45) & supratentorial & ~callosum & ~basal
    horns = sum(np.exp(-((z - hz) ** 2 + (y - hy) ** 2 + (x - hx) ** 2) / 100) for hz, hy, hx in _HORNS)
    weights = wall * (1 + 6 * horns), deep * np.exp(-d / 20)
    return _by_weight(weights[0], atlas.origin_mm), _by_weight(weights[1], atlas.origin_mm)


def _by_weight(weight: Volume, origin_mm: Float[np.ndarray, " 3"]) -> Points:
    """20,000 positions of a grid at quantiles of ``weight``, so that drawing one evenly draws by weight."""
    total = np.cumsum(weight, dtype=np.float64)
    flat = np.searchsorted(total, (np.arange(20_000) + 0.5) / 20_000 * total[-1])
    return np.array(np.unravel_index(flat, weight.shape)) + origin_mm[:, None]


def _ellipsoid(
    rng: np.random.Generator, volume_mm3: float, periventricular: bool
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, "3 3"]]:
    """Semi-axes and their directions; at the ventricles' wall longest from front to back, elsewhere any."""
    if periventricular:
        volume_mm3 *= _LOST_AT_WALL
        ratio = np.array([1.0, 1.7, 0.75]) * np.exp(rng.normal(0, 0.15, 3))
        axes = Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix()
    else:
        ratio = np.exp(rng.normal(0, 0.3, 3))
        axes = Rotation.random(rng=rng).as_matrix()
    radius = (volume_mm3 / (4 / 3 * np.pi * ratio.prod())) ** (1 / 3)
    return radius * ratio, axes


def _clearest(candidates: Points, radius_mm: float, placed: list[Lesion]) -> int:
    """The first candidate with room around it, or the one with most room."""
    if not placed:
        return 0
    centres = np.stack([lesion.centre_mm for lesion in placed], axis=1)
    radii = np.array([lesion.radius_mm.mean() for lesion in placed])
    distance = np.linalg.norm(candidates[:, :, None] - centres[:, None], axis=0)
    room = (distance - radii - radius_mm).min(axis=1)
    return int(np.argmax(np.minimum(room, _GAP_MM)))
