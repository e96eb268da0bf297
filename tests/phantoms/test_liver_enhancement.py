"""Contrast and diffusion of the liver phantom, against published constants and an integrated equation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from psft_jax.phantoms.liver_enhancement import (
    B_VALUES,
    BREATH_HOLDS,
    DCE,
    DWI,
    FLIP_ANGLE_DEG,
    PHASE_TIMES_S,
    RELAXIVITY,
    REPETITION_TIME_S,
    TISSUES,
    Inputs,
    Tissue,
    arterial_input,
    blood_inputs,
    diffusion_signal,
    enhanced_signal,
)

TIMES = np.array(PHASE_TIMES_S, np.float64)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return blood_inputs(arrival_s=15.0, portal_transit_s=22.0, strength=1.0)


def concentration(tissue: Tissue, inputs: Inputs, times_s: np.ndarray) -> np.ndarray:
    """The gradient echo's equation solved for the concentration."""
    signal = enhanced_signal(tissue, inputs, times_s) / tissue.density
    flip = np.deg2rad(FLIP_ANGLE_DEG)
    e1 = (np.sin(flip) - signal) / (np.sin(flip) - signal * np.cos(flip))
    return (-np.log(e1) / REPETITION_TIME_S - 1 / tissue.t1_s) / RELAXIVITY


def test_phases_fill_six_breath_holds() -> None:
    assert [list(hold) for hold in BREATH_HOLDS] == [
        [0],
        [1, 2, 3, 4, 5],
        [6, 7, 8, 9],
        [10, 11],
        [12, 13, 14],
        [15],
    ]
    assert list(PHASE_TIMES_S) == sorted(PHASE_TIMES_S)
    assert DCE.channels[0] == "phase00"
    assert DCE.channels[-1] == "phase15"
    assert DWI.channels == ("b10", "b150", "b1000")


def test_arterial_input_has_parkers_values() -> None:
    minutes = np.array([-0.1, 0.17046, 2.0, 5.0])
    # at the first Gaussian's centre: 0.809 / (0.0563 sqrt(2 pi)) from itself, 0.330 / (0.132 sqrt(2 pi))
    # exp(-(0.19454 / 0.132)^2 / 2) from the second; after two minutes 1.050 exp(-0.1685 t) alone
    expected = [0.0, 5.7325 + 0.3367, 1.050 * np.exp(-0.337), 1.050 * np.exp(-0.8425)]
    np.testing.assert_allclose(arterial_input(minutes), expected, rtol=1e-3)


def test_dual_input_compartment_agrees_with_an_integrated_equation(inputs: Inputs) -> None:
    liver = TISSUES["liver"]
    grid = np.arange(len(inputs.aorta)) * 0.5
    fed = (liver.arterial * inputs.aorta + liver.portal * inputs.portal) / 60
    leaving = (liver.arterial + liver.portal) / 60 / liver.volume
    solution = solve_ivp(
        lambda t, c: np.interp(t, grid, fed) - leaving * c,
        (0, 300),
        [0.0],
        t_eval=TIMES[1:],
        max_step=0.5,
    )
    found = concentration(liver, inputs, TIMES[1:])
    np.testing.assert_allclose(found, solution.y[0], atol=0.03 * solution.y[0].max())


def test_tissue_without_flow_keeps_the_signal_of_its_t1(inputs: Inputs) -> None:
    signal = enhanced_signal(Tissue(1.0, 0.5, 0.1, 1e-3), inputs, TIMES)
    e1 = np.exp(-0.0039)
    by_hand = 0.5 * np.sin(np.pi / 18) * (1 - e1) / (1 - np.cos(np.pi / 18) * e1)
    np.testing.assert_allclose(signal, by_hand)


def test_nothing_enhances_before_the_bolus(inputs: Inputs) -> None:
    for name, tissue in TISSUES.items():
        resting = enhanced_signal(replace(tissue, vessel=None, arterial=0.0, portal=0.0), inputs, TIMES[:1])
        np.testing.assert_allclose(enhanced_signal(tissue, inputs, TIMES[:1]), resting, err_msg=name)


def test_blood_arrives_in_its_order(inputs: Inputs) -> None:
    times = np.arange(0.0, 200.0, 1.0)
    order = ("aorta", "portal_vein", "hepatic_vein")
    peaks = [times[enhanced_signal(TISSUES[name], inputs, times).argmax()] for name in order]
    assert 20 <= peaks[0] <= 30 < peaks[1] < peaks[2] < 90


def test_lesions_stand_out_when_they_should(inputs: Inputs) -> None:
    names = ("liver", "hypovascular", "rim", "rim_centre", "hypervascular", "cyst", "ablation")
    signal = {name: enhanced_signal(TISSUES[name], inputs, TIMES) for name in names}
    assert signal["hypervascular"][5] > 1.2 * signal["liver"][5]  # bright in the arterial phase
    assert (signal["hypervascular"] / signal["liver"])[15] < 1  # and washed out
    assert signal["hypovascular"][8] < 0.8 * signal["liver"][8]  # dark in the portal phase
    ratio = signal["rim_centre"] / signal["rim"]
    assert ratio[5] < 0.7 < 0.85 < ratio[15]  # the centre fills
    for name in ("cyst", "ablation"):
        assert np.ptp(signal[name]) == pytest.approx(0, abs=1e-12)


def test_diffusion_signal_gives_its_adc_back() -> None:
    for tissue in TISSUES.values():
        signal = diffusion_signal(tissue)
        adc = np.log(signal[1] / signal[2]) / (B_VALUES[2] - B_VALUES[1])
        assert adc == pytest.approx(tissue.adc)
    liver, metastasis, cyst = (diffusion_signal(TISSUES[n]) for n in ("liver", "hypovascular", "cyst"))
    assert metastasis[2] > 1.3 * liver[2]  # restricted and bright at b = 1000
    assert cyst[0] > 2 * liver[0]  # long T2
    assert cyst[2] < liver[2]
