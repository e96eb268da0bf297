"""The liver phantom as a cohort: its scans, their reproducibility, and what persists within a patient."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.errors import InputError
from psft_jax.phantoms.liver import LiverPhantomSettings, liver_cohort
from psft_jax.phantoms.liver_acquisition import AcquisitionSettings
from psft_jax.phantoms.liver_contrast import ContrastSettings, Spread
from psft_jax.phantoms.liver_geometry import frame_of
from psft_jax.phantoms.liver_layers import Layer, paint
from psft_jax.scan import Provenance, Scan

SMALL = LiverPhantomSettings(n_training=2, n_test=5, shape=(24, 72, 72))
TEST_SUBJECTS = range(SMALL.n_test)


@lru_cache
def scan(patient: int, visit: int) -> Scan:
    return liver_cohort(SMALL).test[patient].visits[visit].load()


def test_cohort_has_the_papers_patients() -> None:
    cohort = liver_cohort(LiverPhantomSettings())
    assert cohort.provenance is Provenance.PHANTOM
    assert (len(cohort.training), len(cohort.test), cohort.channels) == (31, 16, (16, 3))
    assert {len(patient.visits) for patient in cohort.training} == {1}
    assert [visit.session for visit in cohort.test[0].visits] == ["baseline", "follow_up"]
    assert (cohort.training[0].subject, cohort.test[15].subject) == ("liver-train-000", "liver-test-015")


@pytest.mark.parametrize("patient", TEST_SUBJECTS)
@pytest.mark.parametrize("visit", [0, 1])
def test_scans_are_whole(patient: int, visit: int) -> None:
    made = scan(patient, visit)
    assert made.shape == SMALL.shape
    assert made.channels == (16, 3)
    assert all(sequence.dtype == np.float32 and sequence.min() >= 0 for sequence in made.sequences)
    assert made.lesion is not None
    assert made.lesion.any()
    assert not (made.lesion & ~made.organ).any()
    volume_ml = made.organ.sum() * made.voxel_volume_ml
    assert 700 < volume_ml < 3000


def test_liver_lies_on_the_patients_right_and_the_spine_behind() -> None:
    made = scan(0, 0)
    x = (made.affine @ [*np.argwhere(made.organ).mean(axis=0)[::-1], 1])[0]
    assert x > 30  # RAS+: right is positive
    assert np.linalg.det(made.affine[:3, :3]) > 0
    # the aorta, the brightest in the arterial phase, lies behind the middle
    arterial = made.sequences[0][12, :, :, 3]
    assert np.unravel_index(arterial.argmax(), arterial.shape)[0] < 36


def test_affine_puts_the_middle_of_the_grid_at_the_origin() -> None:
    made = scan(0, 0)
    middle = [(n - 1) / 2 for n in made.shape[::-1]]
    np.testing.assert_allclose(made.affine @ [*middle, 1.0], [0, 0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(np.diag(made.affine)[:3], made.spacing_mm[::-1])


def test_a_visit_depends_on_no_other() -> None:
    alone = liver_cohort(LiverPhantomSettings(n_training=0, n_test=2, shape=SMALL.shape)).test[1].follow_up
    again, known = alone.load(), scan(1, 1)
    for a, b in zip(again.sequences, known.sequences, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.organ, known.organ)
    other = liver_cohort(LiverPhantomSettings(n_training=0, n_test=2, seed=1, shape=SMALL.shape)).test[1]
    assert not np.array_equal(other.follow_up.load().organ, known.organ)


def test_metastases_stand_out_at_high_b_value() -> None:
    brighter = []
    for patient in TEST_SUBJECTS:
        made = scan(patient, 0)
        assert made.lesion is not None
        b1000 = made.sequences[1][..., 2]
        brighter.append(np.median(b1000[made.lesion]) / np.median(b1000[made.organ & ~made.lesion]))
    assert np.median(brighter) > 1.1


def _appearance(made: Scan, mask: np.ndarray) -> np.ndarray:
    """Median log signal in ``mask`` in each of the 19 channels, against the liver's own first channel."""
    features = []
    for sequence in made.sequences:
        liver = np.median(sequence[made.organ & ~made.lesion], axis=0)
        features.append(np.log(np.median(sequence[mask], axis=0) / liver[0]))
    return np.concatenate(features)


@pytest.mark.parametrize("tissue", ["liver", "metastases"])
def test_visits_of_a_patient_are_more_alike_than_patients(tissue: str) -> None:
    def look(patient: int, visit: int) -> np.ndarray:
        made = scan(patient, visit)
        assert made.lesion is not None
        return _appearance(made, made.lesion if tissue == "metastases" else made.organ & ~made.lesion)

    baseline, follow_up = (np.stack([look(p, visit) for p in TEST_SUBJECTS]) for visit in (0, 1))
    distance = np.linalg.norm(baseline[:, None] - follow_up, axis=-1)
    same = np.eye(len(distance), dtype=bool)
    assert distance[same].mean() < distance[~same].mean()


def test_without_differences_between_visits_the_liver_is_the_same() -> None:
    still = LiverPhantomSettings(
        n_training=0,
        n_test=1,
        shape=SMALL.shape,
        contrast=ContrastSettings(visit=Spread(0.0, 0.0, 0.0, 0.0), arrival_sd_s=0.0, breath_sd_s=0.0),
        acquisition=AcquisitionSettings(
            shift_sd_mm=0.0, breath_sd_mm=0.0, stretch_sd=0.0, bias_strength=0.0, gain_sd=0.0, dwi_slip_mm=0.0
        ),
    )
    before, after = (visit.load() for visit in liver_cohort(still).test[0].visits)
    np.testing.assert_array_equal(before.organ, after.organ)
    assert before.lesion is not None
    assert after.lesion is not None
    liver = before.organ & ~before.lesion & ~after.lesion
    for a, b in zip(before.sequences, after.sequences, strict=True):
        np.testing.assert_allclose(np.median(a[liver], axis=0), np.median(b[liver], axis=0), rtol=0.02)


def test_paint_blends_what_lies_above_over_what_lies_below() -> None:
    half = np.full((1, 1, 2), 0.5, np.float32)
    layers = [
        Layer("a", (slice(0, 2), slice(0, 1), slice(0, 2)), np.ones((2, 1, 2), np.float32)),
        Layer("b", (slice(1, 2), slice(0, 1), slice(0, 2)), half),
    ]
    image = paint((2, 1, 3), layers, {"a": np.array([1.0, 4.0]), "b": np.array([3.0, 0.0])})
    np.testing.assert_allclose(image[0, 0], [[1, 4], [1, 4], [0, 0]])
    np.testing.assert_allclose(image[1, 0], [[2, 2], [2, 2], [0, 0]])


@settings(deadline=None, max_examples=10)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(16, 40))
def test_any_grid_shows_the_same_field_of_view(z: int, y: int, x: int) -> None:
    frame = frame_of((z, y, x))
    size = [
        n * float(axis[1] - axis[0]) for n, axis in zip((z, y, x), (frame.z, frame.y, frame.x), strict=True)
    ]
    assert size == pytest.approx([200, 395.008, 395.008], rel=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        partial(LiverPhantomSettings, n_training=0, n_test=0),
        partial(LiverPhantomSettings, n_test=-1),
        partial(LiverPhantomSettings, seed=-1),
        partial(LiverPhantomSettings, shape=(8, 96, 96)),
        partial(AcquisitionSettings, dce_snr=0.0),
        partial(ContrastSettings, most_fat=0.9),
        partial(Spread, 0.1, -0.1, 0.1, 0.1),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: partial[object]) -> None:
    with pytest.raises(InputError, match="liver phantom"):
        wrong()
