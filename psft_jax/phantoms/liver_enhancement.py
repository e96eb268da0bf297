"""Signal of the liver phantom: contrast enhancement over 16 phases, and diffusion weighting.

Concentration follows from the arterial and the portal input through one compartment per tissue, the signal of
the T1-weighted spoiled gradient echo from the concentration, the diffusion-weighted signal from T2 and ADC.

References:
    Parker et al., "Experimentally-derived functional form for a population-averaged high-temporal-resolution
    arterial input function for dynamic contrast-enhanced MRI", Magn. Reson. Med. 56, 2006.
    Materne et al., "Assessment of hepatic perfusion parameters with dynamic MRI", Magn. Reson. Med. 47, 2002.
    de Bazelaire et al., "MR imaging relaxation times of abdominal and pelvic tissues measured in vivo at
    3.0 T: preliminary results", Radiology 230, 2004 (its values at 1.5 T).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from psft_jax.scan import Sequence

BREATH_HOLDS = (range(0, 1), range(1, 6), range(6, 10), range(10, 12), range(12, 15), range(15, 16))
PHASE_TIMES_S = (-20, 16, 20, 24, 28, 32, 52, 57, 62, 67, 100, 106, 160, 166, 172, 300)
"""Middle of each phase after the start of the injection: one before it, five arterial, four late arterial and
portal, two portal venous, three of equilibrium, one delayed."""
B_VALUES = (10.0, 150.0, 1000.0)

DCE = Sequence("DCE", tuple(f"phase{i:02d}" for i in range(len(PHASE_TIMES_S))))
DWI = Sequence("DWI", tuple(f"b{b:.0f}" for b in B_VALUES))

REPETITION_TIME_S, FLIP_ANGLE_DEG = 0.0039, 10.0
RELAXIVITY = 4.7  # per s and mM, gadobutrol in plasma at 1.5 T
DIFFUSION_ECHO_TIME_S = 0.065

_STEP_S = 0.5
_TIME_S = np.arange(0.0, 340.0, _STEP_S)

Curve = Float[np.ndarray, " times"]
Signal = Float[np.ndarray, " channels"]


@dataclass(frozen=True)
class Tissue:
    """What a tissue is made of, as far as the two sequences see it.

    Args:
        t1_s: T1 before contrast, in s, at 1.5 T.
        density: proton density against water; what fat suppression leaves of fat is counted in here.
        t2_s: T2, in s.
        adc: apparent diffusion coefficient, in mm2/s; the pseudo-diffusion of blood in vessels.
        arterial: arterial flow, in mL per mL of tissue and minute.
        portal: portal flow, in the same unit.
        volume: volume of distribution of the contrast agent, as a share of the tissue.
        delay_s: how much later than the aorta the artery of this tissue fills.
        vessel: the blood that it holds (one of ``Inputs``' fields), for vessels only.
    """

    t1_s: float
    density: float
    t2_s: float
    adc: float
    arterial: float = 0.0
    portal: float = 0.0
    volume: float = 0.2
    delay_s: float = 0.0
    vessel: str | None = None


def _organ(
    t1_ms: int,
    density: float,
    t2_ms: int,
    adc: float,
    arterial: float = 0.0,
    portal: float = 0.0,
    volume: float = 0.2,
    delay_s: float = 0.0,
) -> Tissue:
    return Tissue(t1_ms / 1e3, density, t2_ms / 1e3, adc * 1e-3, arterial, portal, volume, delay_s)


def _blood(vessel: str) -> Tissue:
    return Tissue(1.441, 0.95, 0.20, 15e-3, vessel=vessel)


# T1 [ms], density, T2 [ms], ADC [1e-3 mm2/s], arterial and portal flow [mL/mL/min], volume, delay [s]
TISSUES: dict[str, Tissue] = {
    "lung": _organ(1200, 0.06, 20, 2.0, 0.8, 0.0, 0.3),
    "fat": _organ(343, 0.24, 40, 0.3, 0.03, 0.0, 0.05),
    "muscle": _organ(856, 0.80, 32, 1.4, 0.10, 0.0, 0.12),
    "marrow": _organ(549, 0.42, 45, 0.5, 0.15, 0.0, 0.15),
    "disc": _organ(1100, 0.65, 60, 1.5, 0.0),
    "fluid": _organ(3500, 1.00, 250, 3.0, 0.0),
    "cord": _organ(750, 0.80, 75, 0.9, 0.1, 0.0, 0.06),
    "gas": _organ(1000, 0.01, 10, 1.0, 0.0),
    "food": _organ(900, 0.75, 70, 1.8, 0.0),
    "bowel_wall": _organ(900, 0.80, 65, 1.5, 0.80, 0.0, 0.30, 3.0),
    "bowel_content": _organ(1000, 0.75, 60, 1.8, 0.0),
    "heart": _organ(1030, 0.80, 45, 4.0, 1.0, 0.0, 0.25),
    "pancreas": _organ(584, 0.85, 60, 1.4, 1.30, 0.0, 0.28, 2.0),
    "spleen": _organ(1057, 0.90, 79, 0.80, 1.6, 0.0, 0.33, 2.0),
    "spleen_slow": _organ(1057, 0.90, 79, 0.80, 0.55, 0.0, 0.33, 6.0),
    "kidney_cortex": _organ(966, 0.90, 87, 1.9, 3.0, 0.0, 0.42, 1.0),
    "kidney_medulla": _organ(1412, 0.90, 90, 1.8, 0.55, 0.0, 0.55, 5.0),
    "liver": _organ(586, 0.85, 46, 1.10, 0.22, 0.85, 0.24),
    "liver_patch": _organ(560, 0.80, 44, 1.05, 0.24, 0.75, 0.24),
    "aorta": _blood("aorta"),
    "portal_vein": _blood("portal"),
    "hepatic_vein": _blood("hepatic"),
    "cava": _blood("cava"),
    "gallbladder": _organ(2600, 1.00, 220, 2.8, 0.0),
    "cyst": _organ(3000, 1.00, 250, 2.7, 0.0),
    "ablation": _organ(520, 0.80, 42, 1.25, 0.0),
    "ablation_rim": _organ(900, 0.85, 60, 1.6, 0.25, 0.15, 0.30, 8.0),
    "hypovascular": _organ(950, 0.88, 68, 0.92, 0.14, 0.0, 0.22, 6.0),
    "rim": _organ(920, 0.88, 72, 0.90, 0.65, 0.0, 0.30, 3.0),
    "rim_centre": _organ(1050, 0.88, 74, 1.00, 0.09, 0.0, 0.26, 8.0),
    "hypervascular": _organ(980, 0.90, 76, 0.95, 2.0, 0.0, 0.27, 2.0),
    "necrosis": _organ(1500, 0.95, 130, 2.4, 0.01, 0.0, 0.20, 10.0),
}
"""The population's mean tissues; patients, visits and lesions vary around them."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Concentration in blood, in mM, over ``_TIME_S``: what tissues are fed from, and what vessels show."""

    aorta: Curve
    portal: Curve
    hepatic: Curve
    cava: Curve


def arterial_input(minutes: Curve) -> Curve:
    """Parker's population-averaged arterial concentration in mM, at ``minutes`` after the bolus arrives.

    Two Gaussians (first pass and recirculation) and an exponential washout that a sigmoid switches on, with
    the published constants; 0.1 mmol/kg.
    """
    gaussians = sum(
        area / (width * np.sqrt(2 * np.pi)) * np.exp(-((minutes - centre) ** 2) / (2 * width**2))
        for area, centre, width in ((0.809, 0.17046, 0.0563), (0.330, 0.365, 0.132))
    )
    washout = 1.050 * np.exp(-0.1685 * minutes) / (1 + np.exp(-38.078 * (minutes - 0.483)))
    return np.where(minutes > 0, gaussians + washout, 0.0)


def blood_inputs(arrival_s: float, portal_transit_s: float, strength: float) -> Inputs:
    """Aorta, portal vein, hepatic veins and inferior vena cava.

    Args:
        arrival_s: when the bolus reaches the aorta, in s after the start of the injection.
        portal_transit_s: mean transit time from the aorta through bowel and spleen to the portal vein.
        strength: factor on the concentration (dose and cardiac output; 1 is the population's mean).
    """
    aorta = strength * arterial_input((_TIME_S - arrival_s) / 60)
    portal = _after_transit(aorta, portal_transit_s, order=3)
    outflow = _residue(aorta, portal, TISSUES["liver"]) / TISSUES["liver"].volume
    kidneys = _after_transit(aorta, 8.0, order=3)
    legs = _after_transit(aorta, 45.0, order=4)
    hepatic = _after_transit(outflow, 6.0, order=3)
    return Inputs(aorta, portal, hepatic, 0.35 * kidneys + 0.30 * legs + 0.35 * hepatic)


def enhanced_signal(tissue: Tissue, inputs: Inputs, times_s: Curve) -> Signal:
    """T1-weighted signal of ``tissue`` at ``times_s``, against water with a short T1.

    The steady state of a spoiled gradient echo, with R1 = 1 / T1 + relaxivity * concentration.
    """
    if tissue.vessel is not None:
        concentration = getattr(inputs, tissue.vessel)
    else:
        concentration = _residue(inputs.aorta, inputs.portal, tissue)
    r1 = 1 / tissue.t1_s + RELAXIVITY * np.interp(times_s, _TIME_S, concentration)
    e1 = np.exp(-REPETITION_TIME_S * r1)
    flip = np.deg2rad(FLIP_ANGLE_DEG)
    return tissue.density * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1)


def diffusion_signal(tissue: Tissue) -> Signal:
    """S0 exp(-b ADC) at the three b-values, with S0 = density exp(-TE / T2): long T2 shines through."""
    s0 = tissue.density * np.exp(-DIFFUSION_ECHO_TIME_S / tissue.t2_s)
    return s0 * np.exp(-np.array(B_VALUES) * tissue.adc)


def _residue(aorta: Curve, portal: Curve, tissue: Tissue) -> Curve:
    """One compartment with two inputs (Materne): dC/dt = Fa Ca + Fp Cp - (Fa + Fp) / v C, in mM of tissue."""
    flow = (tissue.arterial + tissue.portal) / 60
    if flow == 0:
        return np.zeros_like(aorta)
    delayed = np.interp(_TIME_S - tissue.delay_s, _TIME_S, aorta)
    inflow = (tissue.arterial * delayed + tissue.portal * portal) / 60
    return np.convolve(inflow, np.exp(-_TIME_S * flow / tissue.volume))[: len(_TIME_S)] * _STEP_S


def _after_transit(blood: Curve, mean_s: float, order: int) -> Curve:
    """``blood`` after a bed of vessels whose transit times are gamma-distributed with this mean and order."""
    step = mean_s / order
    weight = (_TIME_S / step) ** (order - 1) * np.exp(-_TIME_S / step)
    return np.convolve(blood, weight / weight.sum())[: len(_TIME_S)]
