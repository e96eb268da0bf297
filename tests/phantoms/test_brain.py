"""The brain cohort: reproducible, anatomically plausible, and what differs and persists measured."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from psft_jax.errors import InputError
from psft_jax.phantoms.brain import AcquisitionParameters, BrainPhantomSettings, brain_cohort
from psft_jax.phantoms.brain_anatomy import AnatomyParameters, draw_anatomy, position, tissue
from psft_jax.phantoms.brain_contrast import ContrastParameters, confounding, draw_contrast, signal
from psft_jax.phantoms.brain_lesions import LesionParameters, draw_lesions
from psft_jax.phantoms.brain_painting import paint
from psft_jax.scan import Provenance, Scan

SMALL = (24, 120, 120)
Pair = tuple[Scan, Scan]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Baseline and follow-up of five test patients at the small size."""
    cohort = brain_cohort(BrainPhantomSettings(n_training=0, n_test=5, shape=SMALL))
    return [(p.baseline.load(), p.follow_up.load()) for p in cohort.test]


def test_a_cohort_lists_its_patients_without_generating_them():
    cohort = brain_cohort(BrainPhantomSettings())
    assert cohort.provenance is Provenance.PHANTOM
    assert cohort.channels == (1, 1)
    assert [s.name for s in cohort.sequences] == ["FLAIR", "T1"]
    assert [p.subject for p in cohort.training] == [f"brain-train-{i:03d}" for i in range(20)]
    assert [p.subject for p in cohort.test] == [f"brain-test-{i:03d}" for i in range(10)]
    assert {tuple(v.session for v in p.visits) for p in cohort.training} == {("baseline",)}
    assert {tuple(v.session for v in p.visits) for p in cohort.test} == {("baseline", "follow_up")}


def test_scans_are_brains_in_ras_with_lesions_inside(pairs: list[Pair]):
    for scan in (s for pair in pairs for s in pair):
        assert scan.shape == SMALL
        assert scan.spacing_mm == pytest.approx((6.0, 1.916, 1.916))
        assert aff2axcodes(scan.affine) == ("R", "A", "S")
        assert 1000 < scan.organ.sum() * scan.voxel_volume_ml < 2000
        assert scan.lesion is not None
        assert scan.lesion.any()
        assert not (scan.lesion & ~scan.organ).any()
        for sequence in scan.sequences:
            assert sequence.dtype == np.float32
            assert (sequence[~scan.organ] == 0).all()
        widths = [s.stop - s.start for s in scan.organ_box]
        assert widths[1] > widths[2]  # a head is longer than wide
        temporal_lobes, vertex = scan.organ[4:8].sum(), scan.organ[-5:-1].sum()
        assert temporal_lobes > vertex  # z goes up


def test_a_visit_does_not_depend_on_the_other_patients_or_visits(pairs: list[Pair]):
    few = brain_cohort(BrainPhantomSettings(n_training=1, n_test=1, shape=SMALL))
    again, before = few.test[0].follow_up.load(), pairs[0][1]
    np.testing.assert_array_equal(again.lesion, before.lesion)
    for one, other in zip(again.sequences, before.sequences, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_another_patient(pairs: list[Pair]):
    other = brain_cohort(BrainPhantomSettings(n_training=0, n_test=1, seed=1, shape=SMALL))
    assert (other.test[0].baseline.load().organ != pairs[0][0].organ).mean() > 0.005


def test_tissues_are_ordered_as_on_flair_and_t1():
    rng = np.random.default_rng(0)
    anatomy, grid = draw_anatomy(rng, AnatomyParameters()), position(SMALL, np.zeros(3), np.zeros(3))
    content = tissue(anatomy, grid)
    painted = paint(draw_lesions(rng, LesionParameters(), anatomy), grid, content.wm, 0.3)
    flair, t1 = signal(content, painted, draw_contrast(rng, ContrastParameters()), grid)
    lesion, far = painted.fraction > 0.9, (painted.fraction == 0) & (content.ventricle_mm > 15)
    where = {"wm": far & (content.wm > 0.95), "gm": far & (content.gm > 0.9), "lesion": lesion}
    where["csf"] = (content.csf > 0.95) & (content.ventricle_mm < -2)
    bright = {name: np.median(flair[mask]) for name, mask in where.items()}
    assert bright["csf"] < bright["wm"] < bright["gm"] < bright["lesion"]
    dark = {name: np.median(t1[mask]) for name, mask in where.items()}
    assert dark["csf"] < dark["gm"] < dark["wm"]
    assert dark["lesion"] < dark["wm"]
    assert bright["wm"] == pytest.approx(1, abs=0.05)


def test_confounders_are_bright_at_the_ventricles_and_no_lesion():
    rng = np.random.default_rng(0)
    anatomy, grid = draw_anatomy(rng, AnatomyParameters()), position(SMALL, np.zeros(3), np.zeros(3))
    content = tissue(anatomy, grid)
    contrast = draw_contrast(
        rng, ContrastParameters(septum=(0.9, 0.9), choroid_plexus=(0.9, 0.9), flow=(0.0, 0.0))
    )
    bright = confounding(content, contrast, grid)
    assert bright.max() > 0.2
    assert (content.ventricle_mm[bright > 0.1] < 6).all()
    assert content.wm[bright > 0.1].max() < 0.9


def normalised(scan: Scan) -> list[np.ndarray]:
    """Each sequence over its median in the brain: without gain."""
    return [s[..., 0] / np.median(s[..., 0][scan.organ]) for s in scan.sequences]


def appearance(scan: Scan) -> np.ndarray:
    """What a scan looks like, told by its images and its annotation alone: no parameter of the phantom."""
    assert scan.lesion is not None
    features = []
    for image in normalised(scan):
        features += [image[scan.lesion].mean(), *np.percentile(image[scan.organ], [1, 5, 25, 75, 95])]
    features += [np.log(scan.lesion.sum() * scan.voxel_volume_ml)]
    return np.array(features)


def test_a_patients_visits_look_more_alike_than_two_patients(pairs: list[Pair]):
    features = np.array([[appearance(scan) for scan in pair] for pair in pairs])
    features = (features - features.mean(axis=(0, 1))) / features.std(axis=(0, 1))
    distance = np.linalg.norm(features[:, None, 0] - features[None, :, 1], axis=-1)  # baseline x follow-up
    own = np.diag(distance)
    others = distance[~np.eye(len(pairs), dtype=bool)]
    assert own.mean() < 0.5 * others.mean()
    assert (distance.argmin(axis=1) == np.arange(len(pairs))).sum() >= len(pairs) - 1


def test_visits_of_a_patient_differ_in_position_gain_and_noise(pairs: list[Pair]):
    for before, after in pairs:
        assert (before.organ != after.organ).any()
        for a, b in zip(before.sequences, after.sequences, strict=True):
            assert np.median(a[before.organ]) != pytest.approx(np.median(b[after.organ]), rel=0.01)


def test_lesions_grow_in_most_patients(pairs: list[Pair]):
    growth = [np.log(after.lesion.sum() / before.lesion.sum()) for before, after in pairs]
    assert np.mean(growth) > 0
    assert max(growth) < np.log(2.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (partial(BrainPhantomSettings, n_training=-1), "negative"),
        (partial(BrainPhantomSettings, n_training=0, n_test=0), "at least one patient"),
        (partial(BrainPhantomSettings, shape=(4, 20, 20)), "grid of"),
        (partial(BrainPhantomSettings, contrast=ContrastParameters(flair_gm=(1.3, 1.1))), "flair_gm"),
        (partial(BrainPhantomSettings, anatomy=AnatomyParameters(size=(0.0, 1.0))), "above 0"),
        (partial(BrainPhantomSettings, lesions=LesionParameters(count=(30, 20, 40))), "count"),
        (partial(BrainPhantomSettings, lesions=LesionParameters(appearing=-0.1)), "not below 0"),
        (partial(BrainPhantomSettings, acquisition=AcquisitionParameters(bias=float("nan"))), "finite"),
    ],
)
def test_nonsense_is_refused_with_its_name(settings: partial[BrainPhantomSettings], message: str):
    with pytest.raises(InputError, match=message):
        settings()
