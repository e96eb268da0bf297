"""Drafts for visits that nobody has annotated, and fine-tuning on a draft that was corrected."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from experiments import finetune, segment
from experiments.config import FinetuneRun
from experiments.datasets import load_cohort
from experiments.segment import SegmentRun
from psft_jax.data.bids_derivative import checksum, read_json
from psft_jax.data.nifti import read_volume, write_volume
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import read_results
from psft_jax.inference.postprocess import postprocess
from tests.integration.commands import composed, tiny_training

Trained = tuple[str, Path, Path]
PATIENT = ("baseline", "follow_up")

pytestmark = pytest.mark.parametrize("trained", ["phantom_brain"], indirect=True)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def scans(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of one test patient: two visits, of which nobody has annotated any."""
    dataset, out, _ = trained
    folder = tmp_path_factory.mktemp("raw scans é")
    patient = load_cohort(tiny_training(dataset, out).dataset).test[0]
    rows = [["subject", "session", "role", "FLAIR", "T1", "organ", "lesion"]]
    for role, visit in zip(PATIENT, patient.visits, strict=True):
        scan = visit.load()
        for name, volume in (("flair", scan.sequences[0][..., 0]), ("t1", scan.sequences[1][..., 0])):
            write_volume(folder / f"{role}_{name}.nii.gz", volume, scan)
        write_volume(folder / f"{role}_brain.nii.gz", scan.organ, scan)
        assert scan.lesion is not None
        write_volume(folder / f"{role}_truth.nii.gz", scan.lesion, scan)
        files = [f"{role}_{name}.nii.gz" for name in ("flair", "t1", "brain")]
        rows.append([patient.subject, role, role, *files, ""])
    with (folder / "scans.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows(rows)
    return folder / "scans.csv"


def config_of(scans: Path, base: Path, out: Path, *more: str) -> SegmentRun:
    words = ("dataset=table", f"dataset.path='{scans}'", f"base={base}", f"out='{out}'")
    return composed(SegmentRun, *words, "dataset.provenance=phantom", *more)


@pytest.fixture(scope="module")
def drafted(trained: Trained, scans: Path) -> Path:
    return segment.run(config_of(scans, trained[2], scans.parent / "runs", "monte_carlo_samples=2"))


def test_every_visit_without_a_mask_has_a_draft_on_its_own_grid(drafted: Path, scans: Path) -> None:
    (subject,) = {row["subject"] for row in rows_of(scans)}
    for role in PATIENT:
        home = drafted / "visits" / f"{subject}_{role}"
        mask, probability = (
            read_volume(home / f"{home.name}_{what}.nii.gz") for what in ("mask", "probability")
        )
        brain, flair = (read_volume(scans.parent / f"{role}_{what}.nii.gz") for what in ("brain", "flair"))
        np.testing.assert_array_equal(mask.affine, flair.affine)
        expected = postprocess(probability.data, brain.data > 0, threshold=0.5)
        np.testing.assert_array_equal(mask.data > 0, expected)
        assert 0 < expected.sum() < brain.data.sum()
        told = read_json(home / f"{home.name}_mask.json")
        flair_file = scans.parent / f"{role}_flair.nii.gz"
        assert told["SourcesSHA256"][flair_file.resolve().as_uri()] == checksum(flair_file)
        assert {path.name.removesuffix(".nii.gz") for path in home.glob("*.nii.gz")} == {
            path.stem for path in home.glob("*.json")
        }
        assert {"overlay.png", "sd.png", f"{home.name}_sd.nii.gz"} <= {path.name for path in home.iterdir()}
    results = read_results(drafted / "results.csv")
    assert set(results["session"]) == set(PATIENT)
    assert "volume_ml" in set(results["metric"])


def test_the_table_names_the_baselines_draft_alone(drafted: Path) -> None:
    rows = {row["role"]: row for row in rows_of(drafted / "scans.csv")}
    assert (drafted / rows["baseline"]["lesion"]).is_file()
    assert rows["follow_up"]["lesion"] == ""
    assert Path(rows["baseline"]["FLAIR"]).is_file()


def test_a_corrected_draft_is_tuned_on(drafted: Path, trained: Trained, scans: Path) -> None:
    (row,) = (r for r in rows_of(drafted / "scans.csv") if r["lesion"])
    (drafted / row["lesion"]).write_bytes((scans.parent / "baseline_truth.nii.gz").read_bytes())
    words = ["dataset=table", f"dataset.path='{drafted / 'scans.csv'}'", f"base={trained[2]}", "tracking=off"]
    words += [f"out='{scans.parent / 'runs'}'", "finetune=demo_segmentation", "monte_carlo_samples=0"]
    words += ["finetune.settings.iterations=2", "finetune.settings.patches.size=32"]
    run = finetune.run(composed(FinetuneRun, *words, "dataset.provenance=phantom"))
    assert set(read_results(run / "results.csv")["session"]) == {"follow_up"}


def test_what_is_there_is_not_made_again(drafted: Path, trained: Trained, scans: Path) -> None:
    """A correction stays as it is."""
    before = {path: path.stat().st_mtime_ns for path in (drafted / "visits").rglob("*.nii.gz")}
    again = segment.run(config_of(scans, trained[2], scans.parent / "runs", "monte_carlo_samples=2"))
    assert again == drafted
    assert {path: path.stat().st_mtime_ns for path in (drafted / "visits").rglob("*.nii.gz")} == before


def test_a_broken_visit_stops_no_other(trained: Trained, scans: Path, tmp_path: Path) -> None:
    lines = scans.read_text(encoding="utf-8").replace("follow_up_t1.nii.gz", "broken.nii.gz")
    table = scans.with_name("broken.csv")
    table.write_text(lines, encoding="utf-8")
    (scans.parent / "broken.nii.gz").write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"visits that failed: .*follow_up"):
        segment.run(config_of(table, trained[2], tmp_path))
    (run,) = (path for path in (tmp_path / "segment").iterdir() if path.is_dir())
    (home,) = (run / "visits").iterdir()
    assert home.name.endswith("baseline")
    assert not (run / "done.json").exists()


def test_nothing_to_draft(trained: Trained, scans: Path, tmp_path: Path) -> None:
    rows = [{**row, "lesion": f"{row['role']}_truth.nii.gz"} for row in rows_of(scans)]
    table = scans.with_name("annotated.csv")
    with table.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError, match="a lesion mask for every visit"):
        segment.run(config_of(table, trained[2], tmp_path))


def test_generated_scans_are_refused(trained: Trained, tmp_path: Path) -> None:
    words = ("dataset=phantom_brain", f"base={trained[2]}", f"out={tmp_path}")
    with pytest.raises(InputError, match="phantom_brain, which is generated"):
        segment.run(composed(SegmentRun, *words))
