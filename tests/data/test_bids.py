"""BIDS folders: which files are a visit's, in which order visits come, and all that is wrong at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from experiments.inspect import InspectRun
from psft_jax.data import bids
from psft_jax.data.bids import Selection
from psft_jax.data.listing import Listing
from psft_jax.errors import InputError
from psft_jax.scan import Provenance
from tests.data.layouts import bids_visit, brain, lesion, save
from tests.integration.commands import composed


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


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("2021", "05/05/2019", "no acq_time that can be read for ses-2 (05/05/2019)"),
        ("n/a", "05/05/2019", "no acq_time that can be read for ses-1 (nothing), ses-2 (05/05/2019)"),
        ("1 May 2021", "soon", "no acq_time that can be read for ses-1 (1 May 2021), ses-2 (soon)"),
        ("2021-13", "2022", "no acq_time that can be read for ses-1 (2021-13)"),
        ("2021", "2021-05", "times that do not tell which was first, ses-1 (2021) and ses-2 (2021-05)"),
        ("2021-05-01T10:00:00", "2021-05", "times that do not tell which was first, ses-2 (2021-05) and"),
        (
            "2021-05-01",
            "2021-05-01T10:00:00",
            "times that do not tell which was first, ses-1 (2021-05-01) and",
        ),
        ("2021-05-01T10:00:00", "2021-05-01T10:00:00", "times that do not tell which was first, ses-1"),
    ],
)
def test_times_that_tell_no_order_are_a_problem(first: str, second: str, found: str, tmp_path: Path) -> None:
    for session in ("1", "2"):
        bids_visit(tmp_path, "a", session)
    times(tmp_path, "a", **{"1": first, "2": second})
    listing = bids.find(tmp_path)
    (problem,) = listing.problems
    assert problem.where == str(tmp_path / "sub-a/sub-a_sessions.tsv")
    assert problem.found.startswith(found)
    assert listing.incomplete == {"sub-a"}  # what is baseline is a guess: nothing is made of it
    assert not listing.notes  # not the labels tell the order


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2021", "2020"),
        ("2021-06", "2021-05"),
        ("2021-05-01", "2021-04"),
        ("2021-05-02", "2021-05-01T23:59:59"),
        ("2021-05-01T10:00:00.002", "2021-05-01T10:00:00.001"),
        ("2021", "1899-12-31T00:00:00Z"),
    ],
)
def test_times_as_exact_as_the_order_asks(first: str, second: str, tmp_path: Path) -> None:
    for session in ("1", "2"):
        bids_visit(tmp_path, "a", session)
    times(tmp_path, "a", **{"1": first, "2": second})
    listing = bids.find(tmp_path)
    assert not listing.problems
    assert [session for _, session, _ in roles(listing)] == ["ses-2", "ses-1"]


def test_sessions_without_any_time_are_in_the_order_of_labels(tmp_path: Path) -> None:
    for session in ("1", "2"):
        bids_visit(tmp_path, "a", session)
    times(tmp_path, "a", **{"1": "n/a", "2": "n/a"})
    note = bids.find(tmp_path).notes
    assert note == (
        "No sessions.tsv says when the sessions of sub-a were acquired: their labels tell the order.",
    )
    (tmp_path / "sub-a/sub-a_sessions.tsv").write_text("session_id\tage\nses-1\t40\nses-2\t41\n")
    listing = bids.find(tmp_path)
    assert listing.notes == note
    assert not listing.problems


def test_the_prefix_of_sessions_may_be_left_out_but_none_twice(tmp_path: Path) -> None:
    for session in ("1", "2"):
        bids_visit(tmp_path, "a", session)
    path = tmp_path / "sub-a/sub-a_sessions.tsv"
    path.write_text("session_id\tacq_time\n1\t2021-05-01\nses-2\t2020-05-01\n")
    assert roles(bids.find(tmp_path))[0] == ("sub-a", "ses-2", "baseline")
    path.write_text("session_id\tacq_time\n1\t2021-05-01\nses-1\t2019-05-01\n2\t2020-05-01\n")
    assert "found more than one line for a session: ses-1, ses-1, ses-2" in said(bids.find(tmp_path).problems)
    path.write_text("session\tacq_time\nses-1\t2021-05-01\nses-2\t2020-05-01\n")
    assert "expected the columns session_id, acq_time" in said(bids.find(tmp_path).problems)


def test_images_beside_the_sessions_are_a_problem_unless_a_table_leaves_them_out(tmp_path: Path) -> None:
    bids_visit(tmp_path, "a", "1")
    bids_visit(tmp_path, "a", "2")
    bids_visit(tmp_path, "b", "")
    save(tmp_path / "sub-a/anat/sub-a_FLAIR.nii.gz", brain(7))
    listing = bids.find(tmp_path)
    (problem,) = listing.problems
    assert problem.where == str(tmp_path / "sub-a/anat")
    assert problem.found == "images beside the folders of sessions: sub-a_FLAIR.nii.gz"
    assert listing.incomplete == {"sub-a"}
    table = tmp_path / "roles.csv"
    table.write_text("subject,session,role\na,1,baseline\na,2,follow_up\n")
    assert not bids.find(tmp_path, roles=table).problems
    (tmp_path / "sub-b/ses-1/func").mkdir(parents=True)  # now the images of b are beside a session, too
    assert [Path(p.where).parent.name for p in bids.find(tmp_path).problems] == ["sub-a", "sub-b"]


def test_a_folder_of_images_beside_sessions_alone_is_described(tmp_path: Path) -> None:
    bids_visit(tmp_path, "a", "")
    (tmp_path / "sub-a/ses-1/func").mkdir(parents=True)
    with pytest.raises(InputError, match="images beside the folders of sessions: sub-a_FLAIR"):
        bids.find(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("run-1_FLAIR", "run-2_FLAIR"), ["+dataset.select.flair.run=1"]),
        (("FLAIR", "run-2_FLAIR"), ["+dataset.select.flair.run=null"]),
        (
            ("acq-SPACE_run-01_FLAIR", "acq-SPACE_run-02_FLAIR", "acq-TSE_run-01_FLAIR"),
            ["+dataset.select.flair.acq=SPACE", "+dataset.select.flair.run=1"],
        ),
    ],
)
def test_the_words_that_choose_one_of_several_can_be_typed(
    names: tuple[str, ...], words: list[str], tmp_path: Path
) -> None:
    bids_visit(tmp_path, "a", "1")
    (tmp_path / "sub-a/ses-1/anat/sub-a_ses-1_FLAIR.nii.gz").unlink()
    files = [save(tmp_path / f"sub-a/ses-1/anat/sub-a_ses-1_{name}.nii.gz", brain()) for name in names]
    (problem,) = bids.find(tmp_path).problems
    assert [word for word in problem.remedy.split() if word.startswith("+")] == words
    config = composed(InspectRun, "dataset=bids", f"dataset.root={tmp_path}", *words)
    (listing,) = config.dataset.listings()
    assert not listing.problems
    assert listing.visits[0].sequences[0] == (files[0],)


@pytest.mark.parametrize("other", ["sub-a_ses-1_FLAIR.nii", "sub-a_ses-1_run-1_FLAIR.nii"])
def test_no_words_choose_between_names_of_the_same_entities(other: str, tmp_path: Path) -> None:
    bids_visit(tmp_path, "a", "1")
    folder = tmp_path / "sub-a/ses-1/anat"
    if "run-1" in other:  # the same run, as numbers
        (folder / "sub-a_ses-1_FLAIR.nii.gz").rename(folder / "sub-a_ses-1_run-01_FLAIR.nii.gz")
    save(folder / other, brain())
    (problem,) = bids.find(tmp_path).problems
    assert problem.remedy == "Move away those that are not."


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
