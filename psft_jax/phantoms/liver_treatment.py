"""What time and treatment do to the lesions of the liver phantom between the baseline and the follow-up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from psft_jax.errors import InputError
from psft_jax.phantoms.liver_anatomy import Anatomy
from psft_jax.phantoms.liver_geometry import Stream
from psft_jax.phantoms.liver_lesions import (
    LARGEST_COUNT,
    Kind,
    Lesion,
    LesionHistory,
    metastasis_kind,
    new_lesion,
)

_VISIBLE_MM = 5.0  # a metastasis that shrinks below this diameter is gone


class Course(StrEnum):
    """How a patient's disease goes under treatment."""

    RESPONSE = "response"
    STABLE = "stable"
    PROGRESSION = "progression"


@dataclass(frozen=True)
class TreatmentSettings:
    """What happens in the three months to a year between two visits.

    Args:
        response, stable, progression: how often each course is taken; they add up to 1.
        response_growth, stable_growth, progression_growth: median factor on a metastasis' diameter in each.
        growth_sd: standard deviation of the logarithm of that factor between the metastases of a patient.
        response_new, stable_new, progression_new: mean number of new metastases in each, Poisson.
        ablated_patients: share of patients in whom some metastases are ablated.
        ablated_lesions: share of such a patient's metastases below 35 mm that are.

    Raises:
        InputError: shares that are none, or that do not add up.
    """

    response: float = 0.45
    stable: float = 0.20
    progression: float = 0.35
    response_growth: float = 0.70
    stable_growth: float = 1.0
    progression_growth: float = 1.35
    growth_sd: float = 0.22
    response_new: float = 0.3
    stable_new: float = 0.6
    progression_new: float = 2.5
    ablated_patients: float = 0.3
    ablated_lesions: float = 0.35

    def __post_init__(self) -> None:
        courses = (self.response, self.stable, self.progression)
        shares = (*courses, self.ablated_patients, self.ablated_lesions)
        growths = (self.response_growth, self.stable_growth, self.progression_growth)
        news = (self.response_new, self.stable_new, self.progression_new)
        if min(shares) < 0 or max(shares) > 1 or abs(sum(courses) - 1) > 1e-6:
            raise InputError(
                "liver phantom, treatment",
                found=f"shares of courses {courses}, of ablation {shares[3:]}",
                expected="shares in [0, 1], those of the three courses adding up to 1",
                remedy="Change one of the courses' shares so that their sum is 1.",
            )
        if not (min(growths) >= 0.2 and max(growths) <= 3 and 0 <= self.growth_sd <= 1 and min(news) >= 0):
            raise InputError(
                "liver phantom, treatment",
                found=f"growth {growths} with spread {self.growth_sd}, new metastases {news}",
                expected="growth in [0.2, 3], a spread in [0, 1], numbers of new metastases of at least 0",
                remedy="Leave them at their defaults, or choose values in these ranges.",
            )


def lesions_at_follow_up(
    patient: Stream, history: LesionHistory, anatomy: Anatomy, settings: TreatmentSettings
) -> tuple[Lesion, ...]:
    """The patient's lesions after treatment: from 1 to 31 metastases, and mimics.

    Under response metastases shrink, are perfused less and let water diffuse more; under progression they
    grow. Some are ablated and become zones without enhancement; new ones appear. Cysts stay. If none were
    left, the largest one remains, so that every visit has something to find.
    """
    rng = patient("treatment")
    course = list(Course)[int(rng.choice(3, p=[settings.response, settings.stable, settings.progression]))]
    growth: float = getattr(settings, f"{course}_growth")
    ablated_share = settings.ablated_lesions if rng.random() < settings.ablated_patients else 0.0
    lesions: list[Lesion] = []
    for lesion in history.lesions:
        after = _treated(patient("treatment", lesion.name), lesion, course, growth, settings)
        if lesion.kind.is_metastasis and rng.random() < ablated_share and lesion.diameter_mm < 35:
            after = replace(after, kind=Kind.ABLATION, diameter_mm=lesion.diameter_mm + 10, necrosis=0.0)
        if after.diameter_mm >= _VISIBLE_MM:
            lesions.append(after)
    if not any(lesion.kind.is_metastasis for lesion in lesions):
        largest = max((x for x in history.lesions if x.kind.is_metastasis), key=lambda x: x.diameter_mm)
        lesions = [lesion for lesion in lesions if lesion.name != largest.name]
        lesions.insert(0, replace(largest, diameter_mm=max(0.7 * largest.diameter_mm, _VISIBLE_MM)))
    known = sum(lesion.kind.is_metastasis for lesion in lesions)
    wanted = int(rng.poisson(getattr(settings, f"{course}_new")))
    for number in range(min(wanted, LARGEST_COUNT - known)):
        diameter = float(np.clip(9 * np.exp(rng.normal(0, 0.3)), 6, 20))
        kind = metastasis_kind(rng, history.primary)
        lesions.append(new_lesion(rng, f"new{number:02d}", kind, diameter, anatomy, lesions))
    return tuple(lesions)


def _treated(
    rng: np.random.Generator, lesion: Lesion, course: Course, growth: float, settings: TreatmentSettings
) -> Lesion:
    """One lesion after treatment, before anything is ablated."""
    factor = growth * float(np.exp(rng.normal(0, settings.growth_sd)))
    if lesion.kind is Kind.CYST:
        return lesion
    if lesion.kind is Kind.ABLATION:  # it scars
        return replace(lesion, diameter_mm=lesion.diameter_mm * float(rng.uniform(0.7, 0.95)))
    diameter = min(lesion.diameter_mm * factor, 70.0)
    if course is not Course.RESPONSE:
        return replace(lesion, diameter_mm=diameter)
    flow, adc = lesion.flow * float(rng.uniform(0.45, 0.85)), lesion.adc * float(rng.uniform(1.05, 1.35))
    return replace(lesion, diameter_mm=diameter, flow=flow, adc=adc)
