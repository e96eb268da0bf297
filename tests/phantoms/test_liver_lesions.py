"""Lesions and vessels of the liver phantom: how many, where, and what treatment does to them."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.errors import InputError
from psft_jax.phantoms.liver_anatomy import Anatomy, AnatomySettings, draw_anatomy
from psft_jax.phantoms.liver_lesions import Kind, LesionSettings, Primary, draw_lesions
from psft_jax.phantoms.liver_treatment import TreatmentSettings, lesions_at_follow_up
from psft_jax.phantoms.liver_vessels import draw_vessels
from psft_jax.rng import generator


@lru_cache
def anatomy_of(number: int) -> Anatomy:
    return draw_anatomy(partial(generator, 0, "liver", number), AnatomySettings())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_lesions_are_in_number_size_and_place_what_they_should(seed: int) -> None:
    anatomy = anatomy_of(seed % 3)
    history = draw_lesions(partial(generator, seed), anatomy, LesionSettings())
    metastases = [lesion for lesion in history.lesions if lesion.kind.is_metastasis]
    assert 1 <= len(metastases) <= 31
    assert all(5 <= lesion.diameter_mm <= 60 for lesion in metastases)
    centres = np.array([lesion.centre for lesion in history.lesions])
    assert (anatomy.depth_in_liver(centres) > 2).all()
    radii = np.array([lesion.diameter_mm / 2 for lesion in history.lesions])
    gaps = np.linalg.norm(centres[:, None] - centres, axis=-1) - radii[:, None] - radii
    assert (gaps[~np.eye(len(gaps), dtype=bool)] > 0).all()
    if history.primary is Primary.COLORECTAL:
        assert all(lesion.kind is not Kind.HYPERVASCULAR for lesion in metastases)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_treatment_keeps_type_and_place(seed: int) -> None:
    patient, anatomy = partial(generator, seed), anatomy_of(seed % 3)
    history = draw_lesions(patient, anatomy, LesionSettings())
    after = {each.name: each for each in lesions_at_follow_up(patient, history, anatomy, TreatmentSettings())}
    assert 1 <= sum(lesion.kind.is_metastasis for lesion in after.values()) <= 31
    for before in history.lesions:
        lesion = after.get(before.name)
        if before.kind is Kind.CYST:
            assert lesion == before
        if lesion is not None:
            assert lesion.centre == before.centre
            assert lesion.kind in (before.kind, Kind.ABLATION)
    appeared = set(after) - {lesion.name for lesion in history.lesions}
    assert all(name.startswith("new") for name in appeared)


def test_mean_number_of_metastases_is_six() -> None:
    anatomy, small = (
        anatomy_of(0),
        LesionSettings(median_diameter_mm=6.0, patient_size_sd=0.0, lesion_size_sd=0.0),
    )
    counts = [
        sum(x.kind.is_metastasis for x in draw_lesions(partial(generator, 1, n), anatomy, small).lesions)
        for n in range(150)
    ]
    # 6 (1 - (5/6)^31) = 5.98, and four standard errors of a geometric distribution with SD 5.5
    assert np.mean(counts) == pytest.approx(5.98, abs=4 * 5.5 / np.sqrt(150))


def test_response_shrinks_and_progression_grows() -> None:
    changes = {}
    for course in ("response", "progression"):
        shares = dict.fromkeys(("response", "stable", "progression"), 0.0) | {course: 1.0}
        chosen, growth = TreatmentSettings(**shares, ablated_patients=0.0), []
        for seed in range(8):
            patient = partial(generator, seed)
            history = draw_lesions(patient, anatomy_of(0), LesionSettings())
            before = {lesion.name: lesion for lesion in history.lesions if lesion.kind.is_metastasis}
            after = lesions_at_follow_up(patient, history, anatomy_of(0), chosen)
            growth += [x.diameter_mm / before[x.name].diameter_mm for x in after if x.name in before]
        changes[course] = float(np.median(growth))
    assert changes["response"] < 0.85 < 1.2 < changes["progression"]


def test_a_patient_whose_metastases_are_all_ablated_keeps_one() -> None:
    all_ablated = TreatmentSettings(
        ablated_patients=1.0, ablated_lesions=1.0, response_new=0.0, stable_new=0.0, progression_new=0.0
    )
    for seed in range(5):
        patient = partial(generator, seed)
        history = draw_lesions(patient, anatomy_of(1), LesionSettings(most_diameter_mm=20.0))
        after = lesions_at_follow_up(patient, history, anatomy_of(1), all_ablated)
        before = sum(lesion.kind.is_metastasis for lesion in history.lesions)
        assert sum(lesion.kind.is_metastasis for lesion in after) == 1
        assert len({lesion.name for lesion in after}) == len(after)
        if before > 1:
            assert any(lesion.kind is Kind.ABLATION for lesion in after)


def test_vessel_branches_follow_murrays_law_and_stay_in_the_liver() -> None:
    anatomy = anatomy_of(2)
    trees = draw_vessels(partial(generator, 2), anatomy)
    assert len(trees.hepatic_vein) > 20
    ends = np.array([segment.end for segment in trees.hepatic_vein])
    assert (anatomy.depth_in_liver(ends) >= 3).all()
    starts: dict[tuple[float, ...], list[float]] = {}
    for segment in trees.hepatic_vein:
        starts.setdefault(segment.start, []).append(segment.radii_mm[0])
    forks = 0
    for segment in trees.hepatic_vein:
        children = starts.get(segment.end, [])
        if len(children) == 2:
            forks += 1
            assert sum(radius**3 for radius in children) == pytest.approx(segment.radii_mm[0] ** 3)
    assert forks > 5


@pytest.mark.parametrize(
    "wrong",
    [
        partial(LesionSettings, mean_count=0.5),
        partial(LesionSettings, median_diameter_mm=90.0),
        partial(LesionSettings, cyst_rate=-1.0),
        partial(TreatmentSettings, response=0.9),
        partial(TreatmentSettings, stable_growth=9.0),
        partial(AnatomySettings, size_sd=1.0),
        partial(AnatomySettings, least_fat_mm=30.0, most_fat_mm=10.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: partial[object]) -> None:
    with pytest.raises(InputError, match="liver phantom"):
        wrong()
