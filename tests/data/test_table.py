"""A table of visits: its dialects, what is wrong with its rows, and series of several volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import table
from psft_jax.data.channels import DCEChannels, select_channels
from psft_jax.data.table import read_rows
from psft_jax.errors import InputError
from psft_jax.preprocess.finding import find_subjects
from psft_jax.scan import Provenance, Sequence
from tests.data.layouts import SHAPE, brain, lesion, save

HEADER = "subject,session,role,FLAIR,T1,organ,lesion"
LIVER = "subject,session,role,DCE,DWI,organ,lesion"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a table beside images flair.nii.gz, t1.nii, ... of visits 1 to 4."""
    for visit in range(1, 5):
        save(tmp_path / f"visit {visit}" / "flair.nii.gz", brain(visit))
        save(tmp_path / f"visit {visit}" / "t1 é.nii", brain(10 + visit))
        save(tmp_path / f"visit {visit}" / "lesion.nii.gz", lesion())

    def write(*rows: str, header: str = HEADER, name: str = "scans.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
        return path

    return write


def row(subject: str, session: str, role: str, visit: int, *, masked: bool = True) -> str:
    mask = f"visit {visit}/lesion.nii.gz" if masked else ""
    return f"{subject},{session},{role},visit {visit}/flair.nii.gz,visit {visit}/t1 é.nii,,{mask}"


def test_a_table_becomes_a_cohort(written: Callable[..., Path]) -> None:
    path = written(
        row("B", "second", "follow-up", 2, masked=False),
        "",
        row("A", "only", "training", 1),
        row("B", "first", "Baseline", 3),
        row("B", "third", "follow_up", 4),
    )
    cohort = table.find(path, provenance=Provenance.SIMULATED).cohort()
    assert (cohort.name, cohort.provenance) == ("scans", Provenance.SIMULATED)
    assert cohort.sequences == (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))
    assert [p.subject for p in cohort.training] == ["A"]
    assert [v.session for v in cohort.test[0].visits] == ["first", "second", "third"]
    follow_up = cohort.test[0].follow_up.load()
    assert follow_up.lesion is None
    np.testing.assert_array_equal(follow_up.sequences[0][..., 0], brain(2)[::-1].transpose())
    np.testing.assert_array_equal(follow_up.sequences[1][..., 0], brain(12)[::-1].transpose())


@pytest.mark.parametrize(
    ("between", "name", "encoding"),
    [
        ("\t", "scans.tsv", "utf-8"),
        ("\t", "scans.TSV", "utf-8"),
        ("\t", "scans.csv", "utf-8"),
        (",", "scans.tsv", "utf-8"),
        (";", "scans.csv", "utf-8-sig"),
        (",", "scans.csv", "utf-8-sig"),
    ],
)
def test_dialects(between: str, name: str, encoding: str, written: Callable[..., Path]) -> None:
    header = ("age", *HEADER.split(","))
    cells = ("n/a", *row("A", "1", "training", 1).split(","))
    path = written(between.join(cells), header=between.join(header), name=name, encoding=encoding)
    assert [v.name for v in table.find(path).visits] == ["A_1"]
    assert not table.find(path).problems


@pytest.mark.parametrize("other", ["age, in years", "a,b,c,d,e,f,g,h", "x\ty"])
def test_another_divider_in_the_first_line_does_not_mislead(other: str, written: Callable[..., Path]) -> None:
    cells = ("40", *row("A", "1", "training", 1).split(","))
    path = written(";".join(cells), header=";".join((other, *HEADER.split(","))))
    assert [v.name for v in table.find(path).visits] == ["A_1"]


@pytest.mark.parametrize("empty", ["", "n/a", "NA", " N/A "])
def test_what_stands_in_empty_cells(empty: str, written: Callable[..., Path]) -> None:
    path = written(
        row("A", "1", "training", 1).replace(",,", f",{empty},"),
        f"B,1,baseline,{empty},visit 2/t1 é.nii,,{empty}",
    )
    listing = table.find(path)
    assert [(visit.name, visit.organ) for visit in listing.visits] == [("A_1", None)]
    assert [problem.found for problem in listing.problems] == ["no FLAIR"]


def test_columns_that_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "sessions.tsv"
    path.write_text("session_id\tage\nses-1\t40\n")
    (only,) = read_rows(path, ("session_id",), optional=("acq_time",))
    assert only.cells == {"session_id": "ses-1", "acq_time": ""}
    path.write_text("acq_time\tsession_id\tacq_time\n1\t2\t3\n")
    with pytest.raises(InputError, match="found the columns acq_time, session_id, acq_time; "):
        read_rows(path, ("session_id",), optional=("acq_time",))


def test_all_that_is_wrong_with_rows_is_told_by_line(written: Callable[..., Path]) -> None:
    path = written(
        row("A", "1", "training", 1),
        row("B", "1", "control", 2),
        "C,1,training,,t1.nii,,",
        row("D", "1", "training", 3, masked=False),
        row("E", "1", "training", 4),
        row("E", "2", "baseline", 4),
        "F,1,baseline,f.nii,t.nii,,l.nii",
    )
    found = [str(problem) for problem in table.find(path).problems]
    for beginning in (
        f"{path}, line 3: found the role 'control'; expected one of training, baseline, follow_up",
        f"{path}, line 4: found no FLAIR; expected a FLAIR in every row",
        f"{path}: D: found no lesion mask for visit 1 (training)",
        f"{path}: E: found visits for training and for testing (1 training, 1 baseline)",
        f"{path}: F: found 1 baseline; expected one baseline and a follow-up",
        f"{path}: {path.parent}/visit 4/flair.nii.gz: found the same image 2 times",
    ):
        assert [text for text in found if text.startswith(beginning)], beginning
    assert len(found) == 7  # the T1 of visit 4 stands there twice too
    with pytest.raises(InputError, match=r"found 8 problems.*3 missing files: f\.nii, t\.nii, l\.nii"):
        table.find(path).cohort()


@pytest.mark.parametrize("subject", ["a/b", "..", "a\\b"])
def test_names_that_no_folder_can_have_are_refused(subject: str, written: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="expected a name that a folder can have"):
        table.find(written(row(subject, "1", "training", 1))).cohort()


def test_visits_of_one_name_are_refused(written: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="A: found more than one visit 1"):
        table.find(written(row("A", "1", "training", 1), row("A", "1", "training", 2))).cohort()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,session,role,FLAIR,T1,organ\n", "expected the columns .*lesion, each once"),
        (HEADER + ",T1\nA,1,training,a,b,,c,d\n", "each once"),
        (HEADER + "\n,,,,,,\n", "found no rows"),
        ("", "found the columns ;"),
        (HEADER + "\nA,1,training,a, b,c,d,e\n", "more cells than columns in line 2"),
        (HEADER.replace(",", "/"), "divided by commas, semicolons or tabs"),
        (HEADER.replace(",", "\t").replace("lesion", "mask"), "found the columns subject, .*, organ, mask;"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "scans.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        table.find(tmp_path / "scans.csv")


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scans.csv").write_bytes("sübject,session".encode("latin-1"))
    with pytest.raises(InputError, match="a table that cannot be read"):
        table.find(tmp_path / "scans.csv")
    with pytest.raises(InputError, match="a table that cannot be read"):
        table.find(tmp_path / "absent.csv")


def series(path: Path, volumes: int) -> str:
    """A 4-D file whose volume v is v + 1 inside the organ."""
    return save(path, np.stack([(v + 1) * np.ones(SHAPE, np.float32) for v in range(volumes)], axis=-1)).name


def liver_row(folder: Path, session: str, role: str, *, phases: int = 16, split: bool = False) -> str:
    dce = series(folder / f"{session}_dce.nii.gz", phases)
    if split:
        single = [
            save(folder / f"{session}_{v}.nii.gz", (v + 1) * np.ones(SHAPE, "f4")) for v in range(phases)
        ]
        dce = "|".join(path.name for path in single)
    dwi = series(folder / f"{session}_dwi.nii.gz", 3)
    organ = save(folder / f"{session}_organ.nii.gz", (brain() > 0).astype(np.uint8)).name
    mask = save(folder / f"{session}_lesion.nii.gz", lesion()).name
    return f"P,{session},{role},{dce},{dwi},{organ},{mask}"


def test_phases_in_one_file_and_in_several_are_the_same(tmp_path: Path, written: Callable[..., Path]) -> None:
    path = written(
        liver_row(tmp_path, "1", "baseline"), liver_row(tmp_path, "2", "follow_up", split=True), header=LIVER
    )
    cohort = table.find(path, ("DCE", "DWI")).cohort()
    assert cohort.channels == (16, 3)
    first, second = (visit.load() for visit in cohort.test[0].visits)
    assert first.sequences[0][3, 3, 3].tolist() == list(range(1, 17))
    for one, other in zip(first.sequences, second.sequences, strict=True):
        np.testing.assert_array_equal(one, other)
    holds = select_channels(cohort, DCEChannels.BREATH_HOLDS).test[0].baseline.load()
    assert holds.sequences[0][3, 3, 3].tolist() == [1.0, 4.0, 8.5, 11.5, 14.0, 16.0]


def test_mismatched_phases_are_named_before_anything_is_read(
    tmp_path: Path, written: Callable[..., Path]
) -> None:
    path = written(
        liver_row(tmp_path, "1", "baseline", phases=15),
        liver_row(tmp_path, "2", "follow_up"),
        liver_row(tmp_path, "3", "follow_up"),
        header=LIVER,
    )
    with pytest.raises(
        InputError, match=r"1_dce\.nii\.gz: found 15 volumes of DCE for visit P_1; expected 16"
    ):
        table.find(path, ("DCE", "DWI")).cohort()


def test_a_patient_with_mismatched_phases_is_told_once_and_not_prepared(
    tmp_path: Path, written: Callable[..., Path]
) -> None:
    rows = [liver_row(tmp_path, str(visit), "training", phases=3 - visit % 2) for visit in (1, 2, 4)]
    path = written(rows[0], *(line.replace("P,", "Q,", 1) for line in rows[1:]), header=LIVER)
    found = find_subjects([table.find(path, ("DCE", "DWI"))])
    assert [subject.name for subject in found.subjects] == ["Q"]
    assert found.broken == {"P"}
    assert [problem.found for problem in found.problems] == ["2 volumes of DCE for visit P_1"]


def test_a_series_where_one_volume_belongs_is_refused_when_it_is_read(
    tmp_path: Path, written: Callable[..., Path]
) -> None:
    path = written(row("A", "1", "training", 1))
    listing = table.find(path)
    series(tmp_path / "visit 1" / "flair.nii.gz", 2)  # after the headers were counted
    with pytest.raises(InputError, match=r"flair\.nii\.gz: found 2 volumes; expected 1 of sequence FLAIR"):
        listing.cohort().training[0].visits[0].load()


def test_a_mask_on_another_grid_is_resampled_only_if_asked(written: Callable[..., Path]) -> None:
    path = written(row("A", "1", "training", 1))
    fine = np.repeat(lesion(), 2, axis=2)
    affine = np.array([[-1.0, 0, 0, 6], [0, 1, 0, -7], [0, 0, 1.5, -15.75], [0, 0, 0, 1]])
    save(path.parent / "visit 1" / "lesion.nii.gz", fine, affine)
    with pytest.raises(InputError, match=r"lesion\.nii\.gz: found shape .* resample_masks do so"):
        table.find(path).cohort().training[0].visits[0].load()
    scan = table.find(path, resample_masks=True).cohort().training[0].visits[0].load()
    np.testing.assert_array_equal(scan.lesion, lesion()[::-1].transpose() == 1)
