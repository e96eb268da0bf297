"""The layout of MSLesSeg: which patients, in which order, and what is missing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import mslesseg
from psft_jax.errors import InputError
from psft_jax.scan import Patient, Provenance, Sequence, Visit


@pytest.fixture
def publish(
    write_nifti: Callable[..., Path], stripped: Callable[..., np.ndarray], tmp_path: Path
) -> Callable[..., Path]:
    """Write patients (P1="T1 T2", ...) in the published layout; plane i of a mask is the visit's number."""

    def write(folder: str = "train", **patients: str) -> Path:
        for patient, sessions in patients.items():
            for session in sessions.split():
                stem = f"{folder}/{patient}/{session}/{patient}_{session}"
                mask = np.zeros((12, 4, 5), dtype=np.float32)
                mask[int(session[1:])] = 1
                write_nifti(f"{stem}_FLAIR.nii.gz", stripped((12, 4, 5), 7))
                write_nifti(f"{stem}_T1.nii.gz", np.full((12, 4, 5), 9, dtype=np.float32))
                write_nifti(f"{stem}_MASK.nii.gz", mask)
        return tmp_path

    return write


def test_patients_and_visits_are_ordered_by_number(publish: Callable[..., Path]) -> None:
    root = publish(P10="T1", P2="T3 T10 T2", P1="T4")
    found = mslesseg.find(root).patients()
    assert [p.subject for p in found] == ["mslesseg-P1", "mslesseg-P2", "mslesseg-P10"]
    assert [v.session for v in found[1].visits] == ["T2", "T3", "T10"]
    for patient in found:
        for visit in patient.visits:
            scan = visit.load()
            assert (scan.subject, scan.session) == (patient.subject, visit.session)
            assert scan.lesion is not None
            # The file is LAS: index i of the file is 11 - x.
            assert np.flatnonzero(scan.lesion[0, 0]).tolist() == [11 - int(visit.session[1:])]
            assert (scan.sequences[0][scan.organ] == 7).all()
            assert (scan.sequences[1] == 9).all()


def test_the_subfolder_itself_may_be_given(publish: Callable[..., Path]) -> None:
    root = publish(P1="T1", P2="T1 T2")
    assert [p.subject for p in mslesseg.find(root / "train").patients()] == ["mslesseg-P1", "mslesseg-P2"]


def test_other_files_and_folders_are_passed_over(publish: Callable[..., Path]) -> None:
    root = publish(P1="T1")
    (root / "train" / "P7").mkdir()
    (root / "train" / "P1" / "notes").mkdir()
    (root / "train" / "P3").write_text("no folder")
    (root / "train" / "phantom").mkdir()
    assert [p.subject for p in mslesseg.find(root).patients()] == ["mslesseg-P1"]


def test_single_visits_train_and_others_test(publish: Callable[..., Path]) -> None:
    root = publish(P1="T1", P2="T1 T2", P3="T2")
    extra = Patient("open_ms-patient07", (Visit("open_ms-patient07", "MNI", lambda: None),))  # type: ignore[arg-type, return-value]
    cohort = mslesseg.find(root).cohort(also_training=(extra,))
    assert (cohort.name, cohort.provenance) == ("mslesseg", Provenance.REAL)
    assert cohort.sequences == (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))
    assert [p.subject for p in cohort.training] == ["mslesseg-P1", "mslesseg-P3", "open_ms-patient07"]
    assert [p.subject for p in cohort.test] == ["mslesseg-P2"]


def test_a_test_patient_cannot_be_added_to_training(publish: Callable[..., Path]) -> None:
    root = publish(P1="T1", P2="T1 T2")
    with pytest.raises(InputError, match=r"mslesseg-P2 more than once.*must not reach base training"):
        mslesseg.find(root).cohort(also_training=mslesseg.find(root).patients()[1:])


def test_a_follow_up_without_a_mask_is_not_annotated(
    publish: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = publish(P2="T1 T2 T3")
    (root / "train/P2/T2/P2_T2_MASK.nii.gz").unlink()
    caplog.set_level("INFO")
    first, second, third = (v.load() for v in mslesseg.find(root).patients()[0].visits)
    assert "no P2_T2_MASK.nii.gz, so this visit is quantified without a reference" in caplog.text
    assert first.lesion is not None
    assert second.lesion is None
    assert third.lesion is not None


def test_all_missing_files_are_named_at_once(publish: Callable[..., Path]) -> None:
    root = publish(P1="T1", P2="T1 T2", P3="T1")
    for missing in ("P1/T1/P1_T1_MASK", "P2/T1/P2_T1_MASK", "P2/T2/P2_T2_FLAIR", "P3/T1/P3_T1_T1"):
        (root / "train" / f"{missing}.nii.gz").unlink()
    with pytest.raises(InputError) as raised:
        mslesseg.find(root).patients()
    assert raised.value.found == (
        "4 missing files: P1/T1/P1_T1_MASK.nii.gz, P2/T1/P2_T1_MASK.nii.gz, "
        "P2/T2/P2_T2_FLAIR.nii.gz, P3/T1/P3_T1_T1.nii.gz"
    )


def test_a_mask_that_is_not_gzipped_is_read_and_one_stored_twice_is_refused(
    publish: Callable[..., Path],
) -> None:
    """A follow-up's mask saved anew as ``.nii`` is neither passed over nor hidden by the older one."""
    root = publish(P1="T1", P2="T1 T2")
    mask = root / "train/P2/T2/P2_T2_MASK.nii.gz"
    plain = mask.with_suffix("")
    plain.write_bytes(gzip.decompress(mask.read_bytes()))
    listing = mslesseg.find(root)
    (problem,) = listing.problems
    assert problem.where == str(mask)
    assert problem.found == "more than one file that can be the image: also P2_T2_MASK.nii"
    assert listing.incomplete == {"mslesseg-P2"}
    mask.unlink()
    follow_up = mslesseg.find(root).patients()[1].follow_up
    assert follow_up.files[-1] == plain
    assert follow_up.load().lesion is not None


def test_a_folder_without_the_layout_is_described(tmp_path: Path) -> None:
    (tmp_path / "mslesseg").mkdir()
    (tmp_path / "README.md").touch()
    with pytest.raises(InputError, match=r"a folder with README\.md, mslesseg; expected files in the layout"):
        mslesseg.find(tmp_path)
    with pytest.raises(InputError, match="nothing in it"):
        mslesseg.find(tmp_path / "mslesseg")
    with pytest.raises(InputError, match="no such folder"):
        mslesseg.find(tmp_path / "absent")
