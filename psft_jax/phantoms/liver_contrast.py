"""Whose contrast it is: how tissues differ between patients, between visits, and between lesions.

Every difference is drawn in a stream of its own, named by the patient, the visit and the tissue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from psft_jax.errors import InputError
from psft_jax.phantoms.liver_enhancement import (
    BREATH_HOLDS,
    PHASE_TIMES_S,
    TISSUES,
    Inputs,
    Signal,
    Tissue,
    blood_inputs,
    diffusion_signal,
    enhanced_signal,
)
from psft_jax.phantoms.liver_geometry import Stream
from psft_jax.phantoms.liver_lesions import Lesion
from psft_jax.phantoms.liver_organ import part_name, parts_of

# the acquisition waits for the bolus, so the arrival is alike in all patients but for the visit's own timing
_ARRIVAL_S, _PORTAL_TRANSIT_S = 15.0, 22.0


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the logarithms of a tissue's properties.

    Args:
        flow: of its arterial and portal perfusion.
        relaxation: of T1 and T2.
        diffusion: of the ADC.
        circulation: of the bolus' strength and of its transit time to the portal vein.

    Raises:
        InputError: a spread below 0 or above 1.
    """

    flow: float
    relaxation: float
    diffusion: float
    circulation: float

    def __post_init__(self) -> None:
        spreads = (self.flow, self.relaxation, self.diffusion, self.circulation)
        if min(spreads) < 0 or max(spreads) > 1:
            raise InputError(
                "liver phantom, contrast",
                found=f"spreads {spreads}",
                expected="standard deviations of logarithms, in [0, 1]",
                remedy="0.1 is about 10 %.",
            )


@dataclass(frozen=True)
class ContrastSettings:
    """How tissues differ between patients, and between the visits of one patient.

    Args:
        patient: between patients; stays with the patient.
        visit: between visits; drawn anew at each.
        most_fat: the liver's fat fraction lies between 0 and this; most patients have little.
        arrival_sd_s: standard deviation between visits of the bolus' arrival against the acquisition.
        breath_sd_s: the same of each breath hold after the pre-contrast one.

    Raises:
        InputError: a share or a time that cannot be.
    """

    patient: Spread = field(default_factory=lambda: Spread(0.22, 0.07, 0.08, 0.12))
    visit: Spread = field(default_factory=lambda: Spread(0.08, 0.02, 0.03, 0.06))
    most_fat: float = 0.35
    arrival_sd_s: float = 1.5
    breath_sd_s: float = 1.5

    def __post_init__(self) -> None:
        times = (self.arrival_sd_s, self.breath_sd_s)
        if not 0 <= self.most_fat <= 0.6 or min(times) < 0 or max(times) > 5:
            raise InputError(
                "liver phantom, contrast",
                found=f"most_fat {self.most_fat}, standard deviations of times {times} s",
                expected="most_fat in [0, 0.6] and times in [0, 5] s",
                remedy="Leave them at their defaults, or choose values in these ranges.",
            )


def visit_signals(
    patient: Stream, visit: Stream, lesions: Iterable[Lesion], settings: ContrastSettings
) -> dict[str, Signal]:
    """Every tissue's signal at one visit: the 16 phases, then the three b-values.

    The tissues of lesions are named by ``part_name``; those of one type in one patient vary together, each
    lesion around them by its own ``flow`` and ``adc``.
    """
    inputs = _inputs(patient, visit, settings)
    times = _times(visit, settings)
    fat = settings.most_fat * float(patient("fat").beta(0.9, 3.0))
    tissues = {}
    for name, tissue in TISSUES.items():
        varied = _vary(tissue, patient("contrast", name), settings.patient)
        tissues[name] = _vary(varied, visit("contrast", name), settings.visit)
    # the patches follow their liver: what differs is their fat and their share of portal blood
    liver, mean, patch = tissues["liver"], TISSUES["liver"], TISSUES["liver_patch"]
    tissues["liver_patch"] = replace(
        liver,
        t1_s=liver.t1_s * patch.t1_s / mean.t1_s,
        arterial=liver.arterial * patch.arterial / mean.arterial,
        portal=liver.portal * patch.portal / mean.portal,
    )
    for name, share in (("liver", fat), ("liver_patch", min(1.6 * fat, 0.6))):
        tissue = tissues[name]
        tissues[name] = replace(
            tissue, density=tissue.density * (1 - share), adc=tissue.adc * (1 - 0.5 * share)
        )
    for lesion in lesions:
        for name, _, _ in parts_of(lesion):
            tissue = tissues[name]
            tissues[part_name(lesion, name)] = replace(
                tissue, arterial=tissue.arterial * lesion.flow, adc=tissue.adc * lesion.adc
            )
    return {
        name: np.concatenate([enhanced_signal(tissue, inputs, times), diffusion_signal(tissue)])
        for name, tissue in tissues.items()
    }


def _vary(tissue: Tissue, rng: np.random.Generator, spread: Spread) -> Tissue:
    """``tissue`` with its properties multiplied by log-normal factors; blood is the same in everybody."""
    if tissue.vessel is not None:
        return tissue
    flow, portal, t1, t2, adc = np.exp(rng.normal(0, 1, 5) * _sds(spread)).tolist()
    return replace(
        tissue,
        t1_s=tissue.t1_s * t1,
        t2_s=tissue.t2_s * t2,
        adc=tissue.adc * adc,
        arterial=tissue.arterial * flow,
        portal=tissue.portal * portal,
    )


def _sds(spread: Spread) -> Signal:
    return np.array([spread.flow, spread.flow, spread.relaxation, spread.relaxation, spread.diffusion])


def _inputs(patient: Stream, visit: Stream, settings: ContrastSettings) -> Inputs:
    """The visit's blood: the patient's circulation, a little otherwise every time."""
    lasting = patient("circulation").normal(0, settings.patient.circulation, 2)
    passing = visit("circulation").normal(0, settings.visit.circulation, 2)
    transit, strength = np.exp(lasting + passing).tolist()
    return blood_inputs(_ARRIVAL_S, _PORTAL_TRANSIT_S * transit, strength)


def _times(visit: Stream, settings: ContrastSettings) -> Signal:
    """When each phase was taken, in s after the start of the injection, in this visit's breath holds."""
    rng = visit("timing")
    times = np.array(PHASE_TIMES_S, np.float64)
    late = rng.normal(0, settings.arrival_sd_s)
    for breath_hold in BREATH_HOLDS[1:]:
        times[list(breath_hold)] += late + rng.normal(0, settings.breath_sd_s)
    return times
