"""The layout of the 3D MR image database of multiple sclerosis patients."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import open_ms, table
from psft_jax.data.checks import is_change_mask
from psft_jax.errors import InputError
from tests.data.layouts import brain, lesion, save


@pytest.fixture
def root(write_nifti: Callable[..., Path], stripped: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two patients in the published layout."""
    lesion = np.zeros((3, 4, 5), dtype=np.uint8)
    lesion[0, 0, 0] = 1
    for number in ("19", "07"):
        folder = f"cross_sectional/MNI/patient{number}"
        write_nifti(f"{folder}/{open_ms.FLAIR}", stripped((3, 4, 5), int(number)))
        write_nifti(f"{folder}/{open_ms.T1}", np.ones((3, 4, 5), dtype=np.float32))
        write_nifti(f"{folder}/{open_ms.LESION}", lesion)
    return tmp_path


def test_patients_have_one_session(root: Path) -> None:
    found = open_ms.find(root).patients()
    assert [p.subject for p in found] == ["open_ms-patient07", "open_ms-patient19"]
    assert [[v.session for v in p.visits] for p in found] == [["MNI"], ["MNI"]]
    scan = found[1].baseline.load()
    assert scan.name == "open_ms-patient19_MNI"
    assert (scan.sequences[0][scan.organ] == 19).all()
    assert (scan.sequences[1] == 1).all()
    assert scan.lesion is not None
    assert np.argwhere(scan.lesion).tolist() == [[0, 0, 2]]  # the files are LAS


def test_missing_files_are_named(root: Path) -> None:
    (root / "cross_sectional/MNI/patient07" / open_ms.LESION).unlink()
    (root / "cross_sectional/MNI/patient19" / open_ms.T1).unlink()
    with pytest.raises(InputError, match=r"2 missing files: .*patient07/GOLD.*patient19/T1"):
        open_ms.find(root).patients()


def test_another_folder_is_described(root: Path) -> None:
    with pytest.raises(
        InputError, match="a folder with MNI; expected files in the layout cross_sectional/MNI"
    ):
        open_ms.find(root / "cross_sectional")


def test_a_file_that_is_there_twice_is_refused(root: Path) -> None:
    path = root / "cross_sectional/MNI/patient19" / open_ms.LESION
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    listing = open_ms.find(root)
    assert [problem.where for problem in listing.problems] == [str(path)]
    assert listing.incomplete == {"open_ms-patient19"}
    path.unlink()
    assert open_ms.find(root).cohort().training[1].baseline.load().lesion is not None


@pytest.fixture
def longitudinal(tmp_path: Path) -> Path:
    """Two visits of one patient, coregistered, with the names of the database and of its copies."""
    for number, names in (("01", "study{}_{}.nii.gz"), ("02", "patient2_study{}_{}reg.nii.gz")):
        folder = tmp_path / "longitudinal" / "coregistered" / f"patient{number}"
        for study in (1, 2):
            for sequence in ("FLAIR", "T1W", "T2W"):
                save(folder / names.format(study, sequence), brain(study) + 1)
        save(folder / "brainmask.nii.gz", (brain() > 0).astype(np.uint8))
        save(folder / "gt.nii.gz", lesion())
    return tmp_path


def test_longitudinal_visits_have_no_lesion_mask(longitudinal: Path) -> None:
    listing = open_ms.find_longitudinal(longitudinal, open_ms.Space.COREGISTERED)
    assert not listing.problems
    assert "It is no lesion mask and is not read" in listing.notes[0]
    cohort = listing.cohort()
    assert [p.subject for p in cohort.test] == ["open_ms-patient01", "open_ms-patient02"]
    for patient in cohort.test:
        assert [v.session for v in patient.visits] == ["study1", "study2"]
        for number, visit in enumerate(patient.visits, 1):
            scan = visit.load()
            assert scan.lesion is None
            assert scan.organ.sum() == (brain() > 0).sum()
            np.testing.assert_array_equal(scan.sequences[0][..., 0], brain(number)[::-1].transpose() + 1)


def test_a_patient_without_one_of_the_images_is_told(longitudinal: Path) -> None:
    folder = longitudinal / "longitudinal/coregistered"
    (folder / "patient01/study2_T1W.nii.gz").unlink()
    listing = open_ms.find_longitudinal(longitudinal, open_ms.Space.COREGISTERED)
    (problem,) = listing.problems
    assert problem.where == str(folder / "patient01")
    assert problem.found == "study1_FLAIR.nii.gz, study1_T1W.nii.gz, study2_FLAIR.nii.gz"
    with pytest.raises(InputError, match="in the layout longitudinal/raw/patient"):
        open_ms.find_longitudinal(longitudinal, open_ms.Space.RAW)


@pytest.mark.parametrize(
    ("original", "other", "what"),
    [
        ("study1_FLAIR.nii.gz", "study1_FLAIR.nii", "FLAIR of study1"),
        ("study2_T1W.nii.gz", "patient1_study2_T1Wreg.nii.gz", "T1W of study2"),
        ("brainmask.nii.gz", "patient1_brainmask.nii.gz", "brain mask"),
    ],
)
def test_two_files_for_one_image_are_told(original: str, other: str, what: str, longitudinal: Path) -> None:
    folder = longitudinal / "longitudinal/coregistered/patient01"
    save(folder / other, brain(3))
    listing = open_ms.find_longitudinal(longitudinal, open_ms.Space.COREGISTERED)
    (problem,) = listing.problems
    names = sorted((original, other))
    assert problem.where == str(folder / names[0])
    assert problem.found == f"more than one file that can be the {what}: also {names[1]}"
    assert {visit.subject for visit in listing.visits} == {"open_ms-patient02"}


def test_a_change_mask_is_refused_as_a_lesion_mask(longitudinal: Path) -> None:
    folder = longitudinal / "longitudinal/coregistered/patient01"
    table_path = folder / "scans.csv"
    table_path.write_text(
        "subject,session,role,FLAIR,T1,organ,lesion\n"
        "P,1,training,study1_FLAIR.nii.gz,study1_T1W.nii.gz,brainmask.nii.gz,gt.nii.gz\n"
    )
    with pytest.raises(
        InputError, match=r"gt\.nii\.gz: found a mask of the lesions that changed between two"
    ):
        table.find(table_path).cohort()
    (folder / "gt.nii.gz").rename(folder.parent / "gt.nii.gz")  # apart from them it is a mask like others
    assert not is_change_mask(folder.parent / "gt.nii.gz")
