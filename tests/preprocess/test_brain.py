"""The brain's pipeline on raw scans of a generated head, from files to files."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from psft_jax.data.assemble import MaskRules
from psft_jax.data.brain import SEQUENCES
from psft_jax.data.listing import load_scan
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.files import sha256_of
from psft_jax.preprocess.brain import BrainSettings, brain_pipeline
from psft_jax.preprocess.outputs import Prepared
from psft_jax.scan import Scan
from tests.preprocess.brains import QUICK, distance_mm, head, motion, points_of, raw_visit, save

OBLIQUE = motion((12.0, -5.0, 8.0), (10.0, -20.0, 5.0))
T1_MOVED = motion((2.0, -1.0, 3.0), (3.0, -2.0, 4.0))
BETWEEN = motion((-4.0, 3.0, 6.0), (-8.0, 5.0, 7.0))


def read(prepared: Prepared) -> Scan:
    return load_scan(prepared.files, SEQUENCES, MaskRules())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[VisitFiles], list[Prepared], Path]:
    """A baseline and, the head elsewhere and the T1 moved, a follow-up: raw, prepared, and their folder."""
    raw, made = tmp_path_factory.mktemp("raw é"), tmp_path_factory.mktemp("made ü")
    visits = [
        raw_visit(raw, "first", Role.BASELINE, axes="LPS"),
        raw_visit(raw, "second", Role.FOLLOW_UP, axes="SRA", placed=BETWEEN, t1_moved=T1_MOVED),
    ]
    before = [sha256_of(visit.files) for visit in visits]
    prepared = brain_pipeline(QUICK)(visits, made)
    assert [sha256_of(visit.files) for visit in visits] == before
    return visits, prepared, made


def test_the_files_are_named_as_a_bids_derivatives_and_read_as_scans(
    pair: tuple[list[VisitFiles], list[Prepared], Path],
) -> None:
    _, prepared, made = pair
    names = sorted(str(file.relative_to(made)) for file in made.rglob("*") if file.is_file())
    stem = "sub-P1/ses-second/anat/sub-P1_ses-second"
    assert [name for name in names if name.startswith(stem)] == [
        f"{stem}_desc-brain_mask.nii.gz",
        f"{stem}_desc-preproc_FLAIR.nii.gz",
        f"{stem}_desc-preproc_T1w.nii.gz",
        f"{stem}_from-T1w_to-FLAIR_mode-image_xfm.txt",
        f"{stem}_from-first_to-second_mode-image_xfm.txt",
        f"{stem}_label-lesion_mask.nii.gz",
    ]
    assert len(names) == 6 + 5
    assert {file for visit in prepared for file in visit.steps} == {made / name for name in names}
    json.dumps([{str(file): steps for file, steps in visit.steps.items()} for visit in prepared])
    assert [p.files.role for p in prepared] == [Role.BASELINE, Role.FOLLOW_UP]
    assert [p.files.session for p in prepared] == ["first", "second"]


def test_each_visit_stays_on_the_grid_of_its_flair(
    pair: tuple[list[VisitFiles], list[Prepared], Path],
) -> None:
    visits, prepared, _ = pair
    for raw, made in zip(visits, prepared, strict=True):
        original = nib.load(raw.sequences[0][0])
        for file in made.files.files:
            written = nib.load(file)
            assert written.shape == original.shape
            np.testing.assert_allclose(written.affine, original.affine, atol=1e-4)
        scan = read(made)
        np.testing.assert_array_equal(scan.lesion, head().lesion)
        assert np.mean(scan.organ == head().organ) > 0.999
        assert not scan.sequences[0][~scan.organ].any()
        assert not scan.sequences[1][~scan.organ].any()


def test_the_t1_lies_on_the_flair(pair: tuple[list[VisitFiles], list[Prepared], Path]) -> None:
    _, prepared, _ = pair
    # In this head FLAIR and T1 were made on one grid: without the motion the T1 is where the phantom has it.
    there = head().sequences[1][..., 0]
    scan = read(prepared[1])
    inside = scan.organ & head().organ
    correlation = np.corrcoef(scan.sequences[1][..., 0][inside], there[inside])[0, 1]
    moved = np.roll(scan.sequences[1][..., 0], 2, axis=2)  # by 4 mm
    assert correlation > 0.95
    assert correlation > np.corrcoef(moved[inside], there[inside])[0, 1] + 0.05


def test_the_transform_leads_from_the_baseline_to_the_follow_up(
    pair: tuple[list[VisitFiles], list[Prepared], Path],
) -> None:
    _, prepared, made = pair
    (file,) = made.rglob("*_from-first_to-second_mode-image_xfm.txt")
    steps = prepared[1].steps[file]
    assert distance_mm(np.array(steps["matrix_of_points_ras_mm"]), BETWEEN, points_of(head())) < 0.3
    # The file itself, used as SimpleITK uses it, brings the baseline onto the follow-up.
    first, second = (sitk.ReadImage(str(p.files.sequences[0][0])) for p in prepared)
    moved = sitk.GetArrayFromImage(sitk.Resample(first, second, sitk.ReadTransform(str(file))))
    there = sitk.GetArrayFromImage(second)
    assert np.corrcoef(moved[there > 0], there[there > 0])[0, 1] > 0.97


def test_a_mask_of_the_users_on_the_t1_moves_with_it(tmp_path: Path) -> None:
    visit = raw_visit(tmp_path, t1_moved=T1_MOVED)
    brain = save(tmp_path / "brain.nii.gz", head().organ, T1_MOVED @ head().affine, "LPS")
    lesion = head().lesion
    assert lesion is not None
    drawn = save(tmp_path / "drawn.nii.gz", lesion, T1_MOVED @ head().affine)
    visit = replace(visit, organ=brain, lesion=drawn)
    with pytest.raises(InputError, match=r"drawn\.nii\.gz: found an affine.*brain\.resample_masks=true"):
        brain_pipeline(QUICK)([visit], tmp_path / "made")
    settings = replace(QUICK, resample_masks=True, skull_strip=False)
    (made,) = brain_pipeline(settings)([visit], tmp_path / "made")
    scan = read(made)
    assert scan.lesion is not None
    assert overlap(scan.organ, head().organ) > 0.98
    assert overlap(scan.lesion, lesion) > 0.8
    assert made.steps[made.files.organ]["source"] == "given with the visit"


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Dice's coefficient."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_on_the_grid_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    visit = raw_visit(tmp_path / "raw", placed=OBLIQUE, axes="LPS")
    settings = replace(QUICK, resample=True, shape=(48, 80, 90), spacing_mm=(3.0, 2.5, 2.4))
    (made,) = brain_pipeline(settings)([visit], tmp_path)
    scan = read(made)
    assert scan.shape == (48, 80, 90)
    np.testing.assert_allclose(scan.spacing_mm, (3.0, 2.5, 2.4), rtol=1e-6)
    np.testing.assert_allclose(
        scan.affine[:3, :3] / scan.spacing_mm[::-1], OBLIQUE[:3, :3], atol=1e-6
    )  # along the FLAIR's own axes
    lesion = head().lesion
    assert scan.lesion is not None
    assert lesion is not None
    voxels = np.argwhere(scan.organ)  # in these, what is nearest in the original, counted out by hand
    places = np.linalg.inv(OBLIQUE @ head().affine) @ scan.affine
    there = np.rint(nib.affines.apply_affine(places, voxels[:, ::-1])).astype(int)[:, ::-1]
    assert lesion[tuple(there.T)].sum() > 150
    np.testing.assert_array_equal(scan.lesion[tuple(voxels.T)], lesion[tuple(there.T)])
    intensities = (volume.sequences[0][..., 0] for volume in (scan, head()))
    now, before = (volume[tuple(at.T)] for volume, at in zip(intensities, (voxels, there), strict=True))
    assert np.corrcoef(now, before)[0, 1] > 0.85


def test_a_brain_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    settings = replace(QUICK, resample=True, shape=(20, 80, 90), spacing_mm=(4.0, 2.5, 2.4))
    with pytest.raises(InputError, match=r"^P 1_one: found a brain of \d+ x \d+ x \d+ mm"):
        brain_pipeline(settings)([raw_visit(tmp_path)], tmp_path / "made")


def test_a_label_that_is_ignored_leaves_the_brain_mask(tmp_path: Path) -> None:
    visit = raw_visit(tmp_path)
    lesion = head().lesion
    assert lesion is not None
    labels = lesion.astype(np.uint8)
    labels[:, 58:62, 58:62] = 2
    labels[~head().organ] = 0
    visit = replace(visit, lesion=save(tmp_path / "labels.nii.gz", labels, head().affine))
    (made,) = brain_pipeline(replace(QUICK, ignored_label=2))([visit], tmp_path / "made")
    scan = read(made)
    np.testing.assert_array_equal(scan.lesion, labels == 1)
    assert not scan.organ[labels == 2].any()
    assert scan.sequences[0][labels == 2].all()  # the image keeps what is there


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    visit = raw_visit(tmp_path)
    pipeline = brain_pipeline(QUICK)
    folders = tmp_path / "made", tmp_path / "again"
    contents = []
    for folder in folders:
        pipeline([visit], folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        contents.append({file.name: file.read_bytes() for file in files})
    assert len(contents[0]) == 5
    assert contents[0] == contents[1]


@pytest.mark.parametrize("what", ["one slice", "no T1", "two FLAIR", "no file"])
def test_a_visit_that_cannot_be_used_is_refused(what: str, tmp_path: Path) -> None:
    visit = raw_visit(tmp_path)
    (flair,), (t1,) = visit.sequences
    slice_ = save(tmp_path / "slice.nii", head().sequences[0][:1, ..., 0], np.eye(4))
    sequences, error = {
        "one slice": (((slice_,), (t1,)), r"slice\.nii: found a single slice"),
        "no T1": (((flair,), ()), "P 1_one: found 1 FLAIR and 0 T1 images"),
        "two FLAIR": (((flair, flair), (t1,)), "P 1_one: found 2 FLAIR and 1 T1 images"),
        "no file": (((flair,), (tmp_path / "t1é.nii",)), r"t1é\.nii: found no such file"),
    }[what]
    made = tmp_path / "made"
    with pytest.raises(InputError, match=error):
        brain_pipeline(QUICK)([replace(visit, sequences=sequences)], made)
    assert not made.exists()


def test_without_simpleitk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"found no SimpleITK.*pip install 'psft_jax\[preprocess\]'"):
        brain_pipeline(BrainSettings())


def test_the_pipeline_goes_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(brain_pipeline(QUICK))).args == (QUICK,)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"shape": (1, 240, 240)}, {"spacing_mm": (3.0, 0.0, 1.0)}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        BrainSettings(**wrong)  # type: ignore[arg-type]
