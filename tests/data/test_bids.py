"""BIDS folders: which files are a visit's, in which order visits come, and all that is wrong at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import bids
from psft_jax.data.bids import Selection
from psft_jax.data.listing import Listing
from psft_jax.errors import InputError
from psft_jax.scan import Provenance
from tests.data.layouts import bids_visit, brain, lesion, save


def roles(listing: Listing) -> list[tuple[str, str, str]]:
    return [(visit.subject, visit.session, visit.role.value) for visit in listing.visits]


def said(problems: Iterable[InputError]) -> str:
    return "\n".join(map(str, problems))


def test_one_session_trains_and_of_several_the_earliest_is_the_baseline(tmp_path: Path) -> None:
    root = tmp_path / "étude 1"
    for subject, sessions in (("a", "1"), ("b", "10 2 1"), ("c", "")):
        for session in sessions.split() or [""]:
            bids_visit(root, subject, session)
    (root / "sub-d").mkdir()
    (root / "code").mkdir()
    listing = bids.find(root)
    assert roles(listing) == [
        ("sub-a", "ses-1", "training"),
        ("sub-b", "ses-1", "baseline"),
        ("sub-b", "ses-2", "follow_up"),
        ("sub-b", "ses-10", "follow_up"),
        ("sub-c", "single", "training"),
    ]
    assert not listing.problems
    assert listing.notes == (
        "No sessions.tsv says when the sessions of sub-b were acquired: their labels tell the order.",
    )
    cohort = listing.cohort()
    assert (cohort.name, cohort.provenance) == ("étude 1", Provenance.REAL)
    assert [p.subject for p in cohort.training] == ["sub-a", "sub-c"]
    assert [v.session for v in cohort.test[0].visits] == ["ses-1", "ses-2", "ses-10"]
    scan = cohort.test[0].baseline.load()
    assert scan.name == "sub-b_ses-1"
    assert scan.lesion is not None
    # The lesion's voxels i = 5, 6 of 12 in a LAS file are x = 6, 5.
    assert np.argwhere(scan.lesion).tolist() == [[5, 7, 5], [5, 7, 6]]
    np.testing.assert_array_equal(scan.sequences[1][..., 0], brain(2)[::-1].transpose())


def times(root: Path, subject: str, **at: str) -> None:
    rows = [f"ses-{session}\t{time}" for session, time in at.items()]
    text = "\n".join(["session_id\tacq_time", *rows])
    (root / f"sub-{subject}" / f"sub-{subject}_sessions.tsv").write_text(text)


def test_the_time_of_acquisition_comes_before_the_label(tmp_path: Path) -> None:
    for session in ("post", "pre"):
        bids_visit(tmp_path, "a", session)
    assert roles(bids.find(tmp_path))[0][1:] == ("ses-post", "baseline")  # by label
    times(tmp_path, "a", post="2021-05-01T10:00:00", pre="2019-05-01T10:00:00Z")
    listing = bids.find(tmp_path)
    assert roles(listing) == [("sub-a", "ses-pre", "baseline"), ("sub-a", "ses-post", "follow_up")]
    assert not listing.notes
    times(tmp_path, "a", post="2021-05-01T10:00:00", pre="n/a")
    with pytest.raises(InputError, match=r"sub-a_sessions\.tsv: found no acq_time .* for ses-pre"):
        bids.find(tmp_path).cohort()


def test_a_table_tells_roles_and_which_sessions_are_used(tmp_path: Path) -> None:
    for session in ("1", "2", "3"):
        bids_visit(tmp_path / "bids", "a", session)
        bids_visit(tmp_path / "bids", "b", session)
    table = tmp_path / "roles.tsv"
    table.write_text(
        "subject\tsession\trole\nsub-a\tses-3\tbaseline\na\t1\tfollow-up\nb\t2\ttraining\nb\t9\ttraining\n"
    )
    listing = bids.find(tmp_path / "bids", roles=table)
    assert roles(listing) == [
        ("sub-a", "ses-3", "baseline"),
        ("sub-a", "ses-1", "follow_up"),
        ("sub-b", "ses-2", "training"),
    ]
    assert said(listing.problems).startswith(
        f"{table}, line 5: found b, 9, training; expected a session with"
    )


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    for session in ("1", "2"):
        bids_visit(tmp_path, "a", session)
        bids_visit(tmp_path, "b", session)
    bids_visit(tmp_path, "c", "1", mask=False)
    (tmp_path / "sub-a/ses-2/anat/sub-a_ses-2_T1w.nii.gz").unlink()
    for run in ("1", "02"):
        save(tmp_path / f"sub-b/ses-1/anat/sub-b_ses-1_run-{run}_FLAIR.nii.gz", brain())
    (tmp_path / "sub-b/ses-1/anat/sub-b_ses-1_FLAIR.nii.gz").unlink()
    with pytest.raises(InputError) as raised:
        bids.find(tmp_path).cohort()
    text = str(raised.value)
    assert "found 3 problems" in text
    assert "sub-a/ses-2/anat: found no T1w image that fits" in text
    assert (
        "sub-b_ses-1_run-02_FLAIR.nii.gz: found more than one file that can be the flair: also sub-b_ses"
        in text
    )
    assert "sub-c: found no lesion mask for visit ses-1 (training)" in text
    chosen = bids.find(tmp_path, select=Selection(flair={"run": (2, None)}))
    assert len(chosen.problems) == 2  # without that of the runs
    (flair,) = next(visit for visit in chosen.visits if visit.subject == "sub-b").sequences[0]
    assert flair.name == "sub-b_ses-1_run-02_FLAIR.nii.gz"


def test_a_follow_up_needs_no_mask_but_a_baseline_does(tmp_path: Path) -> None:
    bids_visit(tmp_path, "a", "1")
    bids_visit(tmp_path, "a", "2", mask=False)
    assert bids.find(tmp_path).cohort().test[0].follow_up.load().lesion is None
    bids_visit(tmp_path, "b", "1", mask=False)
    bids_visit(tmp_path, "b", "2")
    with pytest.raises(InputError, match=r"sub-b: found no lesion mask for visit ses-1 \(baseline\)"):
        bids.find(tmp_path).cohort()


@pytest.mark.parametrize("name", ["label-brain_mask", "desc-brain_mask"])
def test_a_brain_mask_is_used(name: str, tmp_path: Path) -> None:
    bids_visit(tmp_path, "a", "1")
    box = np.zeros(lesion().shape, dtype=np.uint8)
    box[2:9, 3:11, 1:8] = 1
    save(tmp_path / f"derivatives/sub-a/ses-1/anat/sub-a_ses-1_{name}.nii", box)
    (visit,) = bids.find(tmp_path).visits
    assert visit.organ is not None
    assert visit.organ.suffix == ".nii"  # not gzipped
    scan = bids.find(tmp_path).cohort().training[0].visits[0].load()
    assert scan.organ.sum() == box.sum()


def test_lesion_masks_of_several_descriptions_and_places(tmp_path: Path) -> None:
    bids_visit(tmp_path, "a", "1")
    other = tmp_path / "masks" / "sub-a" / "anat"  # without a folder of the session
    save(other / "sub-a_ses-1_label-lesion_desc-auto_mask.nii.gz", lesion(3))
    save(other / "sub-a_ses-2_label-lesion_desc-auto_mask.nii.gz", lesion(1))
    beside = tmp_path / "sub-a" / "ses-1" / "anat"
    save(beside / "sub-a_ses-1_label-WM_mask.nii.gz", lesion(1))
    assert bids.find(tmp_path).visits[0].lesion.name == "sub-a_ses-1_label-L_desc-manual_mask.nii.gz"
    found = bids.find(tmp_path, derivatives="masks")
    assert found.visits[0].lesion == other / "sub-a_ses-1_label-lesion_desc-auto_mask.nii.gz"
    save(beside / "sub-a_ses-1_label-L_desc-first_mask.nii.gz", lesion(1))
    both = bids.find(tmp_path, derivatives="masks")
    assert "more than one file that can be the lesion" in said(both.problems)
    one = bids.find(tmp_path, derivatives="masks", select=Selection(lesion={"desc": "first"}))
    assert one.visits[0].lesion == beside / "sub-a_ses-1_label-L_desc-first_mask.nii.gz"
    named = bids.find(tmp_path, derivatives="masks", lesion_labels=("WM",))
    assert named.visits[0].lesion == beside / "sub-a_ses-1_label-WM_mask.nii.gz"


def test_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing in it; expected files in the layout sub-<label>"):
        bids.find(tmp_path)
    bids_visit(tmp_path, "a", "1")
    with pytest.raises(InputError, match=r"maskz: found no such folder; expected the folder of the masks"):
        bids.find(tmp_path, derivatives="maskz")
