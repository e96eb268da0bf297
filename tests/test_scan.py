"""Scan, Patient and Cohort: what they compute, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from psft_jax.errors import InputError
from psft_jax.scan import Cohort, Patient, Provenance, Scan, Sequence, Visit, bounding_box

FLAIR_T1 = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))


def make_scan(**changes: Any) -> Scan:
    fields: dict[str, Any] = {
        "subject": "P1",
        "session": "T2",
        "sequences": (np.zeros((4, 5, 6, 2), np.float32), np.zeros((4, 5, 6, 3), np.float32)),
        "organ": np.ones((4, 5, 6), bool),
        "lesion": None,
        "spacing_mm": (3.0, 0.5, 2.0),
        "affine": np.eye(4),
    }
    return Scan(**{**fields, **changes})


def patient(subject: str, *sessions: str) -> Patient:
    def visit(session: str) -> Visit:
        return Visit(subject, session, lambda: make_scan(subject=subject, session=session))

    return Patient(subject, tuple(map(visit, sessions)))


def test_what_a_scan_knows_of_itself() -> None:
    scan = make_scan()
    assert (scan.name, scan.shape, scan.channels) == ("P1_T2", (4, 5, 6), (2, 3))
    assert scan.voxel_volume_ml == 0.003


def test_other_intensities_keep_everything_else() -> None:
    scan = make_scan(lesion=np.zeros((4, 5, 6), bool))
    ones, twos = np.ones((4, 5, 6, 1), np.float32), np.full((4, 5, 6, 7), 2, np.float32)
    changed = scan.with_sequences(ones, twos)
    assert changed.sequences[0] is ones
    assert changed.channels == (1, 7)
    assert changed.lesion is scan.lesion
    assert scan.channels == (2, 3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=5))
def test_the_organ_box_is_that_of_scipy(voxels: list[tuple[int, int, int]]) -> None:
    organ = np.zeros((4, 5, 6), bool)
    organ[tuple(np.transpose(voxels))] = True
    assert make_scan(organ=organ).organ_box == ndimage.find_objects(organ.astype(int))[0]
    for plane in organ[organ.any(axis=(1, 2))]:
        assert bounding_box(plane) == ndimage.find_objects(plane.astype(int))[0]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("organ", np.ones((4, 5, 7), bool), r"organ mask \(4, 5, 7\)"),
        ("lesion", np.ones((4, 4, 6), bool), r"lesion mask \(4, 4, 6\)"),
        (
            "sequences",
            (np.zeros((4, 5, 6, 1), np.float32), np.zeros((3, 5, 6, 1), np.float32)),
            r"sequence 1 \(3, 5, 6\)",
        ),
    ],
)
def test_shapes_that_differ_are_refused(field: str, value: Any, named: str) -> None:
    with pytest.raises(InputError, match=rf"P1_T2: found .*{named}.*expected one shape"):
        make_scan(**{field: value})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    second = np.zeros((4, 5, 6, 1), np.float32)
    second[1, 2, 3] = second[0, 0, 0] = bad
    with pytest.raises(InputError, match="found 2 values in sequence 1 that are NaN or infinite"):
        make_scan(sequences=(np.zeros((4, 5, 6, 1), np.float32), second))


def test_an_empty_organ_is_refused_and_an_empty_lesion_mask_is_not() -> None:
    with pytest.raises(InputError, match="an empty organ mask"):
        make_scan(organ=np.zeros((4, 5, 6), bool))
    assert make_scan(lesion=np.zeros((4, 5, 6), bool)).lesion is not None


def test_baseline_and_follow_up_are_the_first_two_visits() -> None:
    three = patient("P1", "T1", "T2", "T3")
    assert (three.baseline.session, three.follow_up.session) == ("T1", "T2")
    with pytest.raises(
        InputError, match=r"patient P2: found 1 visit \(T4\); expected a baseline and a follow"
    ):
        _ = patient("P2", "T4").follow_up


def make_cohort(training: tuple[Patient, ...], test: tuple[Patient, ...]) -> Cohort:
    return Cohort("brain", Provenance.PHANTOM, FLAIR_T1, training, test)


def test_a_test_patient_must_not_reach_base_training() -> None:
    with pytest.raises(InputError, match=r"patient P3 more than once .* must not reach base training"):
        make_cohort((patient("P1", "T1"), patient("P3", "T1")), (patient("P3", "T1", "T2"),))


@pytest.mark.parametrize("role", ["training", "test"])
def test_nobody_is_listed_twice(role: str) -> None:
    twice = (patient("P1", "T1", "T2"), patient("P1", "T1", "T2"))
    with pytest.raises(InputError, match="patient P1 more than once"):
        make_cohort(**{"training": (), "test": (), role: twice})


def test_a_test_patient_needs_a_follow_up() -> None:
    with pytest.raises(InputError, match="patient P2: found 1 visit"):
        make_cohort((patient("P1", "T1"),), (patient("P2", "T1"),))


def test_map_transforms_every_visit_when_it_is_loaded() -> None:
    loaded: list[str] = []

    def transform(scan: Scan) -> Scan:
        loaded.append(scan.name)
        return replace(scan, session=f"{scan.session}!")

    cohort = make_cohort((patient("P1", "T1"),), (patient("P2", "T1", "T2"),)).map(transform).map(transform)
    assert cohort.channels == (1, 1)
    assert loaded == []
    assert cohort.test[0].follow_up.load().session == "T2!!"
    assert cohort.training[0].baseline.load().session == "T1!!"
    assert loaded == ["P2_T2", "P2_T2!", "P1_T1", "P1_T1!"]
