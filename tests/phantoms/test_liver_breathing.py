"""The liver phantom in motion: what moves, how far, and that the images show the motion that is told of."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from psft_jax.errors import InputError
from psft_jax.phantoms.liver import BASELINE, FOLLOW_UP, LiverPhantomSettings, generate_scan
from psft_jax.phantoms.liver_acquisition import AcquisitionSettings
from psft_jax.phantoms.liver_breathing import (
    BreathingSettings,
    Motion,
    RawVisit,
    draw_motion,
    raw_visit,
)
from psft_jax.phantoms.liver_enhancement import BREATH_HOLDS
from psft_jax.rng import generator

SUBJECT = "liver-test-000"
CLEAN = AcquisitionSettings(dce_snr=1000.0, dwi_snr=1000.0, dwi_slip_mm=0.0)
PHANTOM = LiverPhantomSettings(n_training=0, n_test=1, shape=(32, 64, 64), acquisition=CLEAN)


@lru_cache
def raw(session: str = BASELINE) -> RawVisit:
    return raw_visit(PHANTOM, BreathingSettings(), SUBJECT, session)


@lru_cache
def motions(seed: int) -> tuple[tuple[Motion, ...], Motion]:
    return draw_motion(partial(generator, seed), BreathingSettings())


def places(count: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(-90, 90, (count, 3))


def test_phases_of_a_breath_hold_lie_alike_and_those_of_two_do_not() -> None:
    phases = raw().phases
    assert len(phases) == 16
    assert len({id(phase) for phase in phases}) == len(BREATH_HOLDS)
    for hold in BREATH_HOLDS:
        assert len({id(phases[phase]) for phase in hold}) == 1


def test_the_mean_position_is_that_of_the_masks() -> None:
    mean = np.mean([phase.at(places()) for phase in raw().phases], axis=0)
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    still = generate_scan(PHANTOM, SUBJECT, BASELINE)
    np.testing.assert_array_equal(raw().organ, still.organ)
    np.testing.assert_array_equal(raw().lesion, still.lesion)


def test_most_of_the_motion_is_along_the_body_under_the_diaphragm() -> None:
    of_holds = [hold for seed in range(20) for hold in motions(seed)[0]]
    dome, pelvis = np.array([[60.0, 20, 80]]), np.array([[-95.0, 20, 80]])
    z, y, x = np.std([hold.at(dome)[0] for hold in of_holds], axis=0)
    assert 3.5 < z < 8
    assert z > 2 * y > 2 * x * 0.9
    assert np.std([hold.at(pelvis)[0, 0] for hold in of_holds]) < 0.6 * z


def test_the_way_back_undoes_the_motion_and_nothing_folds() -> None:
    for motion in (*motions(3)[0], motions(3)[1]):
        moved = places() + motion.at(places())
        np.testing.assert_allclose(moved + motion.inverse.at(moved), places(), atol=0.05)
        gradients = np.stack([np.gradient(axis, 10.0) for axis in motion.displacement]).transpose(
            2, 3, 4, 0, 1
        )
        assert np.linalg.det(np.eye(3) + gradients).min() > 0.3


@pytest.mark.parametrize("phase", [0, 3, 15])
def test_a_phase_shows_at_the_moved_place_what_lies_at_the_mean_place(phase: int) -> None:
    still = generate_scan(PHANTOM, SUBJECT, BASELINE)
    landmarks = raw().landmarks_mm
    shown = sampled(raw().dce[..., phase], raw().dce_affine, landmarks + raw().phases[phase].at(landmarks))
    unmoved = sampled(raw().dce[..., phase], raw().dce_affine, landmarks)
    true = sampled(still.sequences[0][..., phase], still.affine, landmarks)
    error, without = (np.median(np.abs(values - true) / true) for values in (shown, unmoved))
    assert error < 0.03
    assert without > 1.5 * error


def test_the_diffusion_scan_lies_elsewhere_on_a_coarser_grid() -> None:
    still = generate_scan(PHANTOM, SUBJECT, BASELINE)
    assert raw().dwi.shape == (26, 43, 43, 3)
    edges = [
        np.linalg.norm(affine[:3, :3], axis=0) * shape
        for affine, shape in ((raw().dce_affine, (64, 64, 32)), (raw().dwi_affine, (43, 43, 26)))
    ]
    np.testing.assert_allclose(*edges)
    inside = np.argwhere(still.organ)[::20] * still.spacing_mm + still.affine[2::-1, 3]
    true = sampled(still.sequences[1][..., 0], still.affine, inside)
    shown = sampled(raw().dwi[..., 0], raw().dwi_affine, inside + raw().diffusion.at(inside))
    unmoved = sampled(raw().dwi[..., 0], raw().dwi_affine, inside)
    error, without = (np.mean(np.abs(values - true)) for values in (shown, unmoved))
    assert error < 0.6 * without


def test_landmarks_lie_in_the_liver() -> None:
    assert len(raw().landmarks_mm) > 50
    inside = sampled(raw().organ.astype(np.float32), raw().dce_affine, raw().landmarks_mm)
    assert np.mean(inside > 0.5) > 0.95


def test_a_visit_is_the_same_at_every_call_and_visits_differ() -> None:
    again = raw_visit(PHANTOM, BreathingSettings(), SUBJECT, BASELINE)
    np.testing.assert_array_equal(again.dce, raw().dce)
    np.testing.assert_array_equal(again.dwi, raw().dwi)
    later = raw(FOLLOW_UP)
    assert np.abs(later.phases[0].at(places()) - raw().phases[0].at(places())).max() > 0.5


def test_noise_is_that_of_the_settings() -> None:
    noisy = replace(PHANTOM, acquisition=AcquisitionSettings(dce_snr=20.0, dwi_snr=22.0))
    visit = raw_visit(noisy, BreathingSettings(), SUBJECT, BASELINE)
    liver = visit.organ
    ratio = np.std((visit.dce - raw().dce)[..., 0][liver]) / np.median(visit.dce[..., 0][liver])
    assert ratio == pytest.approx(1 / 20, rel=0.1)


@pytest.mark.parametrize("wrong", [{"along_mm": 30.0}, {"local_mm": -1.0}, {"dwi_coarser": (0.5, 1.0, 1.0)}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        BreathingSettings(**wrong)  # type: ignore[arg-type]


def sampled(volume: np.ndarray, affine: np.ndarray, places_mm: np.ndarray) -> np.ndarray:
    homogeneous = np.c_[places_mm[:, ::-1], np.ones(len(places_mm))]
    index = (np.linalg.inv(affine) @ homogeneous.T)[:3][::-1]
    return map_coordinates(volume, index, order=1)
