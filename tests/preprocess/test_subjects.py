"""One subject: whole or not at all, sidecars, what is known of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from psft_jax.data.bids_derivative import Sources, checksum
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.preprocess.outputs import Prepared
from psft_jax.preprocess.subjects import Subject, find_record, prepare
from tests.data.layouts import brain, lesion, save
from tests.preprocess.pipelines import STEPS, copying, failing

ANAT = "sub-P1/ses-1/anat/sub-P1_ses-1"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "Rohdaten ä 1"


def subject_in(raw: Path, name: str = "P-1") -> Subject:
    """Two visits, the first with masks."""
    for session in "12":
        save(raw / f"{name} {session} flair.nii.gz", brain(int(session)))
        save(raw / f"{name} {session} t1.nii.gz", brain(10 + int(session)))
    organ = save(raw / "brain.nii.gz", (brain() > 0).astype("u1"))
    mask = save(raw / "lesion.nii.gz", lesion())
    roles = {"1": Role.BASELINE, "2": Role.FOLLOW_UP}
    visits = [
        VisitFiles(
            name,
            session,
            role,
            ((raw / f"{name} {session} flair.nii.gz",), (raw / f"{name} {session} t1.nii.gz",)),
            *((organ, mask) if session == "1" else (None, None)),
        )
        for session, role in roles.items()
    ]
    return Subject(name, tuple(visits))


def test_a_subject_is_prepared_and_told_of(raw: Path, tmp_path: Path) -> None:
    subject = subject_in(raw)
    before = {file: (checksum(file), file.stat().st_mtime_ns) for file in subject.files}
    record = prepare(subject, copying, tmp_path, Sources({"raw": raw}))
    assert {file: (checksum(file), file.stat().st_mtime_ns) for file in subject.files} == before
    assert sorted(path.name for path in raw.iterdir()) == sorted(file.name for file in before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [raw.name, "sub-P1"]
    baseline, follow_up = record.visits
    assert baseline.sequences[0] == (Path(f"{ANAT}_desc-preproc0_FLAIR.nii.gz"),)
    assert baseline.lesion == Path(f"{ANAT}_label-lesion_mask.nii.gz")
    assert (follow_up.organ, follow_up.lesion, follow_up.role) == (None, None, Role.FOLLOW_UP)
    images = [tmp_path / file for visit in record.visits for file in visit.files]
    assert len(images) == 6
    assert {tmp_path / file for file in record.files} == {
        path for image in images for path in (image, image.with_name(image.name[: -len("nii.gz")] + "json"))
    }
    assert find_record(tmp_path, "sub-P1") == record


def test_a_sidecar_names_sources_versions_and_steps(raw: Path, tmp_path: Path) -> None:
    subject = subject_in(raw)
    prepare(subject, copying, tmp_path, Sources({"raw": raw}))
    told = json.loads((tmp_path / f"{ANAT}_label-lesion_mask.json").read_text())
    files = ("P-1%201%20flair", "P-1%201%20t1", "brain", "lesion")
    assert told["Sources"] == [f"bids:raw:{name}.nii.gz" for name in files]
    assert told["SourcesSHA256"][told["Sources"][0]] == checksum(subject.visits[0].files[0])
    assert told["Steps"] == STEPS
    versions = {each["Name"]: each["Version"] for each in told["GeneratedBy"]}
    assert versions.keys() >= {"psft_jax", "numpy", "nibabel"}


def test_a_sidecar_says_what_its_file_is(raw: Path, tmp_path: Path) -> None:
    subject = subject_in(raw)
    bright = brain(2) + 1  # also outside of the brain
    save(subject.visits[0].sequences[1][0], bright)
    prepare(subject, copying, tmp_path, Sources({"raw": raw}))

    def told(ending: str) -> dict[str, object]:
        return json.loads((tmp_path / f"{ANAT}_{ending}.json").read_text())

    assert told("label-lesion_mask")["Type"] == "Lesion"
    assert told("label-brain_mask")["Type"] == "Brain"
    assert told("desc-preproc0_FLAIR")["SkullStripped"] is True
    assert told("desc-preproc0_T1w")["SkullStripped"] is False
    assert "Type" not in told("desc-preproc0_FLAIR")


def test_what_is_neither_image_nor_mask_is_of_all_visits(raw: Path, tmp_path: Path) -> None:
    def moving(visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
        prepared = copying(visits, folder)
        (folder / f"{ANAT}_from-2_xfm.txt").write_text("1 0 0 0")
        return prepared

    prepare(subject_in(raw), moving, tmp_path, Sources({"raw": raw}))
    told = json.loads((tmp_path / f"{ANAT}_from-2_xfm.json").read_text())
    assert len(told["Sources"]) == 6
    assert told["Steps"] == {}


@pytest.mark.parametrize("name", ["refused", "error"])
def test_a_failure_leaves_nothing(raw: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises((InputError, RuntimeError), match=r"apple|too few samples"):
        prepare(subject_in(raw, name), failing, tmp_path, Sources())
    assert list(tmp_path.iterdir()) == [raw]
    assert find_record(tmp_path, f"sub-{name}") is None


def test_a_file_that_cannot_be_read_is_named_whatever_the_pipeline_says(raw: Path, tmp_path: Path) -> None:
    def vague(visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
        raise RuntimeError("ITK ERROR")

    subject = subject_in(raw)
    cut = subject.visits[1].sequences[1][0]
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"2 t1\.nii\.gz: found a file that cannot be read"):
        prepare(subject, vague, tmp_path, Sources())


def test_what_has_changed_since_is_known(raw: Path, tmp_path: Path) -> None:
    record = prepare(subject_in(raw), copying, tmp_path, Sources())
    assert record.differences(subject_in(raw)) == []
    first, second = subject_in(raw).visits
    assert record.differences(Subject("P-1", (replace(first, lesion=None), second))) == ["1 lesion mask"]
    trains = tuple(replace(visit, role=Role.TRAINING) for visit in (first, second))
    assert record.differences(Subject("P-1", trains)) == ["1 role", "2 role"]
    save(second.sequences[0][0], brain(7))
    assert record.differences(Subject("P-1", (first, second))) == ["2 sequence 1 file 1"]


def test_files_that_have_only_moved_have_not_changed(raw: Path, tmp_path: Path) -> None:
    record = prepare(subject_in(raw), copying, tmp_path, Sources())
    assert record.differences(subject_in(tmp_path / "elsewhere")) == []


def test_a_subject_is_missing_where_one_of_its_files_is(raw: Path, tmp_path: Path) -> None:
    prepare(subject_in(raw), copying, tmp_path, Sources())
    (tmp_path / f"{ANAT}_label-lesion_mask.nii.gz").unlink()
    assert find_record(tmp_path, "sub-P1") is None


def test_a_subject_takes_the_place_of_an_earlier_one_when_it_is_whole(raw: Path, tmp_path: Path) -> None:
    earlier = prepare(subject_in(raw), copying, tmp_path, Sources())
    subject = subject_in(raw)
    changed = save(subject.files[0], brain(5))
    first, second = subject.visits
    without_masks = Subject(subject.name, (replace(first, organ=None, lesion=None), second))
    later = prepare(without_masks, copying, tmp_path, Sources())
    assert checksum(tmp_path / f"{ANAT}_desc-preproc0_FLAIR.nii.gz") == checksum(changed)
    gone = set(earlier.files) - set(later.files)
    assert Path(f"{ANAT}_label-lesion_mask.nii.gz") in gone
    assert not any((tmp_path / file).exists() for file in gone)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_somebody_put_beside_the_files_is_not_deleted(raw: Path, tmp_path: Path) -> None:
    prepare(subject_in(raw), copying, tmp_path, Sources())
    drawn = save(tmp_path / f"{ANAT}_drawn.nii.gz", lesion())
    (tmp_path / f"{ANAT}_label-lesion_mask.nii.gz").unlink()
    with pytest.raises(InputError, match=r"ses-1_drawn\.nii\.gz: found files that this command did not make"):
        prepare(subject_in(raw), copying, tmp_path, Sources())
    assert drawn.is_file()
    drawn.rename(tmp_path / "drawn.nii.gz")
    prepare(subject_in(raw), copying, tmp_path, Sources())
    assert find_record(tmp_path, "sub-P1") is not None
