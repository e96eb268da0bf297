"""Which subjects of a data set can be prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from psft_jax.data import bids, open_ms, table
from psft_jax.data.table_writing import write_scans
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.preprocess.finding import find_subjects
from tests.data.layouts import bids_visit, brain, save

HEADER = "subject,session,role,FLAIR,T1,organ,lesion"


def table_of(folder: Path, *rows: str) -> Path:
    path = folder / "raw.csv"
    path.write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    for name in {cell for row in rows for cell in row.split(",")[3:5]}:
        save(folder / name, brain())
    return path


def test_lesion_masks_may_be_missing_and_the_baseline_comes_first(tmp_path: Path) -> None:
    path = table_of(tmp_path, "a,late,follow_up,1.nii,2.nii,,", "a,early,baseline,3.nii,4.nii,,")
    found = find_subjects([table.find(path)])
    assert found.problems == ()
    (subject,) = found.subjects
    assert [visit.session for visit in subject.visits] == ["early", "late"]


def test_a_subject_with_one_bad_visit_is_left_out_whole(tmp_path: Path) -> None:
    for subject in "ab":
        for session in "12":
            bids_visit(tmp_path, subject, session)
    (tmp_path / "sub-b/ses-2/anat/sub-b_ses-2_T1w.nii.gz").unlink()
    found = find_subjects([bids.find(tmp_path)])
    assert [subject.name for subject in found.subjects] == ["sub-a"]
    assert found.broken == {"sub-b"}
    (problem,) = found.problems
    assert "found no T1w image" in str(problem)


def test_missing_files_are_all_told(tmp_path: Path) -> None:
    path = table_of(tmp_path, "a,1,training,1.nii,2.nii,,", "b,1,training,3.nii,4.nii,,")
    (tmp_path / "3.nii").unlink()
    (tmp_path / "4.nii").unlink()
    found = find_subjects([table.find(path)])
    assert [subject.name for subject in found.subjects] == ["a"]
    assert [Path(problem.where).name for problem in found.problems] == ["3.nii", "4.nii"]


def test_an_image_that_stands_for_two_subjects_is_told(tmp_path: Path) -> None:
    path = table_of(tmp_path, "a,1,training,1.nii,2.nii,,", "b,1,training,1.nii,3.nii,,")
    (problem,) = find_subjects([table.find(path)]).problems
    assert problem.found == "the same image 2 times"


def test_names_that_make_one_label_are_refused(tmp_path: Path) -> None:
    rows = ("P-1,x,training,1.nii,2.nii,,", "P1,x,training,3.nii,4.nii,,")
    with pytest.raises(InputError, match=r"P-1, P1: found names that become one BIDS label \(P1\)"):
        find_subjects([table.find(table_of(tmp_path, *rows))])


def test_sessions_that_make_one_label_are_a_problem_of_their_subject(tmp_path: Path) -> None:
    rows = (
        *("a,1-1,baseline,1.nii,2.nii,,", "a,11,follow_up,3.nii,4.nii,,"),
        "b,11,training,5.nii,6.nii,,",
    )
    found = find_subjects([table.find(table_of(tmp_path, *rows))])
    assert [subject.name for subject in found.subjects] == ["b"]
    assert ["1-1" in problem.where for problem in found.problems] == [True]


def test_raw_scans_of_the_ljubljana_database_need_no_common_grid(tmp_path: Path) -> None:
    folder = tmp_path / "longitudinal" / "raw" / "patient01"
    for study in "12":
        save(folder / f"study{study}_FLAIR.nii.gz", brain())
        save(folder / f"study{study}_T1W.nii.gz", brain(shape=(9, 8, 7)))
    (subject,) = find_subjects([open_ms.find_longitudinal(tmp_path, open_ms.Space.RAW)]).subjects
    assert [visit.role for visit in subject.visits] == [Role.BASELINE, Role.FOLLOW_UP]


def test_the_table_of_prepared_scans_is_read_again(tmp_path: Path) -> None:
    first = (Path("x/1.nii"), Path("x/2.nii"))
    masks = (Path("5.nii"), Path("6.nii"))
    visits = [
        VisitFiles("a, née b", "1", Role.BASELINE, (first, (Path("3.nii"),)), *masks),
        VisitFiles("a, née b", "2", Role.FOLLOW_UP, ((Path("7.nii"),), (Path("8.nii"),)), None, None),
    ]
    write_scans(tmp_path / "scans.csv", visits, ("DCE", "DWI"))
    again = table.find(tmp_path / "scans.csv", ("DCE", "DWI")).visits
    assert [visit.session for visit in again] == ["1", "2"]
    assert again[0].subject == "a, née b"
    assert again[0].files == tuple(tmp_path / file for file in visits[0].files)
    assert again[1].files == (tmp_path / "7.nii", tmp_path / "8.nii")
