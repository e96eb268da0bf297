"""Focal lesions of the liver phantom: metastases of three types, and their mimics: cysts and ablation zones.

A patient's metastases come from one primary tumour, which decides how often each type occurs. They keep their
type, their place and their own contrast from visit to visit; treatment changes size and perfusion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from psft_jax.errors import InputError
from psft_jax.phantoms.liver_anatomy import Anatomy
from psft_jax.phantoms.liver_geometry import Point, Stream

LARGEST_COUNT = 31  # section 2.1.1 of the paper: from 1 to 31 metastases, six on average
_CANDIDATES = 200
_REACH_MM = 70.0


class Primary(StrEnum):
    """The primary tumour of a patient's metastases."""

    COLORECTAL = "colorectal"
    NEUROENDOCRINE = "neuroendocrine"
    OTHER = "other"


class Kind(StrEnum):
    """What a focal lesion is, and with that how it looks."""

    HYPOVASCULAR = "hypovascular"
    RIM = "rim"
    HYPERVASCULAR = "hypervascular"
    CYST = "cyst"
    ABLATION = "ablation"

    @property
    def is_metastasis(self) -> bool:
        """False for the mimics: cysts and ablation zones."""
        return self not in (Kind.CYST, Kind.ABLATION)


_PRIMARIES = {Primary.COLORECTAL: 0.55, Primary.NEUROENDOCRINE: 0.30, Primary.OTHER: 0.15}
_KINDS = {
    Primary.COLORECTAL: {Kind.HYPOVASCULAR: 0.45, Kind.RIM: 0.55},
    Primary.NEUROENDOCRINE: {Kind.HYPERVASCULAR: 0.80, Kind.RIM: 0.20},
    Primary.OTHER: {Kind.HYPOVASCULAR: 0.35, Kind.RIM: 0.50, Kind.HYPERVASCULAR: 0.15},
}


@dataclass(frozen=True)
class LesionSettings:
    """How many lesions patients have, and how large.

    Args:
        mean_count: the number of metastases is geometric (1, 2, ...) with this mean, at most 31.
        median_diameter_mm: of the log-normal diameters, which are cut off at the next two.
        least_diameter_mm, most_diameter_mm: the smallest and the largest diameter at the baseline.
        patient_size_sd: standard deviation between patients of the logarithm of the diameter.
        lesion_size_sd: the same within a patient.
        cyst_rate: mean number of cysts, Poisson.
        ablation_rate: mean number of ablation zones from earlier treatment, Poisson.

    Raises:
        InputError: a count, a size or a rate that no liver has.
    """

    mean_count: float = 6.0
    median_diameter_mm: float = 12.5
    least_diameter_mm: float = 6.0
    most_diameter_mm: float = 60.0
    patient_size_sd: float = 0.3
    lesion_size_sd: float = 0.45
    cyst_rate: float = 0.8
    ablation_rate: float = 0.25

    def __post_init__(self) -> None:
        least, median, most = self.least_diameter_mm, self.median_diameter_mm, self.most_diameter_mm
        if not (1 <= self.mean_count <= LARGEST_COUNT and 2 <= least <= median <= most <= 80):
            raise InputError(
                "liver phantom, lesions",
                found=f"a mean count of {self.mean_count} and diameters of {least}, {median}, {most} mm",
                expected=f"a count in [1, {LARGEST_COUNT}] and 2 <= least <= median <= most <= 80 mm",
                remedy="Leave them at their defaults, or choose values in these ranges.",
            )
        spreads = (self.patient_size_sd, self.lesion_size_sd)
        if min(spreads) < 0 or max(spreads) > 1 or min(self.cyst_rate, self.ablation_rate) < 0:
            raise InputError(
                "liver phantom, lesions",
                found=f"size spreads {spreads}, rates {(self.cyst_rate, self.ablation_rate)}",
                expected="size spreads in [0, 1] and rates of at least 0",
                remedy="Leave them at their defaults, or choose values in these ranges.",
            )


@dataclass(frozen=True)
class Lesion:
    """One focal lesion.

    Args:
        name: unique in the patient, the same at every visit.
        kind: what it is.
        centre: (Z, Y, X) in the patient's mm.
        diameter_mm: of the sphere with the same volume, before its outline is roughened.
        shape: semi-axes (Z, Y, X) against the radius, their product 1.
        tilt: turn in the axial plane, in radians.
        flow: factor on its perfusion; it falls under treatment.
        adc: factor on its ADC; it rises under treatment.
        necrosis: radius of the necrotic core against the lesion's, 0 without one.
    """

    name: str
    kind: Kind
    centre: Point
    diameter_mm: float
    shape: Point = (1.0, 1.0, 1.0)
    tilt: float = 0.0
    flow: float = 1.0
    adc: float = 1.0
    necrosis: float = 0.0

    @property
    def semi_axes(self) -> Point:
        """Semi-axes (Z, Y, X) in mm."""
        z, y, x = (0.5 * self.diameter_mm * s for s in self.shape)
        return z, y, x


@dataclass(frozen=True)
class LesionHistory:
    """A patient's primary tumour, and the lesions at the baseline."""

    primary: Primary
    lesions: tuple[Lesion, ...]


def draw_lesions(patient: Stream, anatomy: Anatomy, settings: LesionSettings) -> LesionHistory:
    """The patient's lesions at the baseline, metastases first: from 1 to 31 of them, and mimics."""
    rng = patient("lesions")
    primary = list(_PRIMARIES)[int(rng.choice(len(_PRIMARIES), p=list(_PRIMARIES.values())))]
    count = min(int(rng.geometric(1 / settings.mean_count)), LARGEST_COUNT)
    median = settings.median_diameter_mm * np.exp(rng.normal(0, settings.patient_size_sd))
    diameters = np.clip(
        median * np.exp(rng.normal(0, settings.lesion_size_sd, count)),
        settings.least_diameter_mm,
        settings.most_diameter_mm,
    )
    lesions: list[Lesion] = []
    for number, diameter in enumerate(sorted(diameters.tolist(), reverse=True)):  # large ones need the room
        kind = metastasis_kind(rng, primary)
        lesions.append(new_lesion(rng, f"metastasis{number:02d}", kind, diameter, anatomy, lesions))
    mimics = patient("mimics")
    kinds = ((Kind.CYST, settings.cyst_rate, 11.0), (Kind.ABLATION, settings.ablation_rate, 28.0))
    for kind, rate, median_mm in kinds:
        for number in range(min(int(mimics.poisson(rate)), 6)):
            diameter = float(np.clip(median_mm * np.exp(mimics.normal(0, 0.35)), 5, 50))
            lesions.append(new_lesion(mimics, f"{kind}{number:02d}", kind, diameter, anatomy, lesions))
    return LesionHistory(primary, tuple(lesions))


def metastasis_kind(rng: np.random.Generator, primary: Primary) -> Kind:
    """A type of metastasis, as often as this primary tumour has it."""
    kinds = _KINDS[primary]
    return list(kinds)[int(rng.choice(len(kinds), p=list(kinds.values())))]


def new_lesion(
    rng: np.random.Generator,
    name: str,
    kind: Kind,
    diameter_mm: float,
    anatomy: Anatomy,
    others: list[Lesion],
) -> Lesion:
    """A lesion at a place of its own in the liver; smaller than asked for where there is no room."""
    aspect = np.exp(rng.normal(0, 0.13, 3))
    z, y, x = (aspect / np.cbrt(aspect.prod())).tolist()
    core = kind.is_metastasis and diameter_mm > 22 and rng.random() < 0.7
    lesion = Lesion(
        name,
        kind,
        (0.0, 0.0, 0.0),
        diameter_mm,
        (z, y, x),
        tilt=float(rng.uniform(-np.pi / 2, np.pi / 2)),
        flow=float(np.exp(rng.normal(0, 0.15))),
        adc=float(np.exp(rng.normal(0, 0.08))),
        necrosis=float(rng.uniform(0.35, 0.65)) if core else 0.0,
    )
    return _placed(rng, lesion, anatomy, others)


def _placed(rng: np.random.Generator, lesion: Lesion, anatomy: Anatomy, others: list[Lesion]) -> Lesion:
    """``lesion`` in the liver, clear of ``others``; it is made smaller until there is room."""
    corners = [anatomy.organs[lobe].corners() for lobe in ("right_lobe", "left_lobe")]
    lowest = np.min([low for low, _ in corners], axis=0)
    highest = np.max([high for _, high in corners], axis=0)
    # near the ends of the field of view a shift of the patient could push the lesion out of it
    lowest[0], highest[0] = max(lowest[0], -_REACH_MM), min(highest[0], _REACH_MM)
    for _ in range(30):
        radius = 0.5 * lesion.diameter_mm
        places = rng.uniform(lowest, highest, (_CANDIDATES, 3))
        room = anatomy.depth_in_liver(places).astype(np.float64) - min(0.6 * radius, 12) - 2
        for other in others:
            gap = np.linalg.norm(places - np.array(other.centre), axis=1) - radius - 0.5 * other.diameter_mm
            room = np.minimum(room, gap - 1)
        fitting = np.flatnonzero(room > 0)
        if len(fitting):
            z, y, x = places[fitting[0]].tolist()
            return replace(lesion, centre=(z, y, x))
        lesion = replace(lesion, diameter_mm=max(0.85 * lesion.diameter_mm, 5.0))
    raise InputError(
        "liver phantom, lesions",
        found=f"no room for {lesion.name} beside {len(others)} lesions",
        expected="a liver that holds all its lesions",
        remedy="Ask for fewer or smaller lesions.",
    )
