"""Reports from run folders: what they show, and the folders that they refuse."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments import report, runs
from experiments.config import FinetuneRun
from experiments.results import collect
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import LESIONS, RESULTS, read_results, read_table, write_table
from tests.integration.commands import composed, tiny

Trained = tuple[str, Path, Path]
Studied = tuple[str, list[Path]]

SETTINGS = (
    ("finetune.settings.iterations=0",),
    ("finetune.settings.iterations=2",),
    ("monte_carlo_samples=2", "outputs=full"),
    ("finetune.settings.weighting=${task.kind}",),
    ("finetune.settings.slices.count=1",),
    ("finetune=control/threshold",),
    ("finetune=control/other_patient", "finetune.settings.iterations=3"),
)


@pytest.fixture(scope="module")
def studied(trained: Trained) -> Studied:
    """Two test patients, seven settings, two seeds."""
    dataset, out, base = trained
    common = [*tiny(dataset, out), f"base={base}", "finetune.settings.patches.size=32"]
    quick = ["finetune.settings.iterations=3", "monte_carlo_samples=0", "outputs=results"]
    configs = [
        composed(
            FinetuneRun,
            *common,
            *quick,
            *words,
            f"seed={seed}",
        )
        for seed in (0, 1)
        for words in SETTINGS
    ]
    return dataset, runs.run_all(configs)


@pytest.fixture
def copied(studied: Studied, tmp_path: Path) -> list[Path]:
    """The runs of seed 0, to be broken."""
    places = [tmp_path / "finetune" / folder.name for folder in studied[1][: len(SETTINGS)]]
    for place, folder in zip(places, studied[1], strict=False):
        shutil.copytree(folder, place)
    return places


def test_the_page_holds_everything(studied: Studied, tmp_path: Path) -> None:
    dataset, folders = studied
    page = report.write(folders, tmp_path).read_text()
    told = [
        "PHANTOM data",
        "Few patients (2)",
        "Did fine-tuning hurt?",
        "base CNN, threshold tuned on the baseline",
        "head tuned on another patient",
        "test-000 (seed 0): ",
        "-test-001_baseline",
        "All settings",
        "Seeds",
        "gained most in",
    ]
    told += {
        "phantom_brain": ["Table 4 of the paper", "Table 5 of the paper", "0.82 (0.05)"],
        "phantom_liver": ["Table 2 of the paper", "Table 3 of the paper", "0.67 [0.32 to 1.00]"],
    }[dataset]
    for words in told:
        assert words in page
    assert not re.search(r"(src|href)=.http", page)  # self-contained
    tables = {path.name for path in (tmp_path / "tables").iterdir()}
    weights = {"phantom_brain": "table_5", "phantom_liver": "table_3"}[dataset]
    for name in (weights, "controls", "settings", "seeds", "hurt"):
        assert {f"{name}.{suffix}" for suffix in ("md", "csv", "tex")} <= tables
    figures = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert figures == {"paired", "iterations", "bland_altman", "reliability", "sd_error", "sd_by_size"}


def test_numbers_in_the_tables_are_those_of_the_results(studied: Studied, tmp_path: Path) -> None:
    _, folders = studied
    report.write(folders, tmp_path)
    results = read_results(tmp_path / "results.csv")
    table = pd.read_csv(tmp_path / "tables" / "settings.csv").set_index("Setting")
    column = next(name for name in table if name in ("DSC ↑", "TPR ↑"))
    metric = column.split()[0].lower()
    of_base = results[(results["variant"] == "base") & (results["metric"] == metric)]
    by_patient = of_base.groupby("patient")["value"].mean()
    centre = by_patient.mean() if metric == "dsc" else by_patient.median()
    assert table.loc["base CNN", column].startswith(f"{centre:.2f}")


def test_every_case_is_there_once(studied: Studied) -> None:
    _, folders = studied
    collected = collect(folders)
    key = ["variant", "patient", "seed", "metric"]
    assert not collected.results.duplicated(key).any()
    assert set(collected.results["seed"]) == {0, 1}
    assert collected.results["variant"].nunique() == 1 + len(SETTINGS)
    lesions = collected.table(LESIONS)
    assert not lesions.duplicated(["variant", "patient", "seed", "kind", "lesion"]).any()
    base = lesions[(lesions["variant"] == "base") & (lesions["kind"] == "reference")]
    assert base["mean_sd"].notna().all()  # from the run with samples


def test_unfinished_runs_are_named_and_left_out(copied: list[Path], tmp_path: Path) -> None:
    (copied[1] / "done.json").unlink()
    page = report.write([tmp_path / "finetune"], tmp_path / "report").read_text()
    assert f"Not finished, and left out: {copied[1].name}: 2 patients done" in page


def test_runs_of_other_precisions_do_not_mix(copied: list[Path], tmp_path: Path) -> None:
    config = copied[0] / "config.yaml"
    config.write_text(config.read_text().replace("precision: float32", "precision: bfloat16"))
    with pytest.raises(InputError, match=r"other precision.*expected runs of one .* and precision"):
        collect([tmp_path / "finetune"])


def test_runs_of_other_cohorts_or_bases_do_not_mix(
    copied: list[Path], tmp_path: Path, trained: Trained
) -> None:
    config = (copied[0] / "config.yaml").read_text()
    (copied[0] / "config.yaml").write_text(config.replace("kind: detection", "kind: segmentation"))
    if config == (copied[0] / "config.yaml").read_text():
        (copied[0] / "config.yaml").write_text(config.replace("kind: segmentation", "kind: detection"))
    with pytest.raises(InputError, match="runs that cannot stand in one table"):
        collect([tmp_path / "finetune"])
    (copied[0] / "config.yaml").write_text(config)
    identity = (copied[0] / "identity.json").read_text()
    (copied[0] / "identity.json").write_text(identity.replace('"base CNN": "', '"base CNN": "f00'))
    with pytest.raises(InputError, match="base CNN f00"):
        collect([tmp_path / "finetune"])


def test_a_table_that_was_cut_off_is_refused(copied: list[Path]) -> None:
    file = copied[2] / "results.csv"
    file.write_text(file.read_text()[:-40])
    with pytest.raises(InputError, match=r"results\.csv: found a file that was cut off"):
        collect(copied)


def test_a_configuration_that_was_cut_off_is_named(copied: list[Path], tmp_path: Path) -> None:
    """Also where what is left reads as that of another command."""
    file = copied[2] / "config.yaml"
    whole = file.read_text()
    for end in (whole.index("seed:"), whole.index("\nfinetune:") + 1):
        file.write_text(whole[:end])
        with pytest.raises(InputError, match=r"config\.yaml: found a file that is not whole"):
            collect([tmp_path / "finetune"])


def test_runs_that_contradict_each_other_are_refused(copied: list[Path]) -> None:
    file = copied[0] / RESULTS.file
    rows = read_results(file)
    place = rows.index[(rows["variant"] == "base") & (rows["metric"] == "volume_ml")][0]
    rows.loc[place, "value"] += 9.0
    write_table(file, rows, overwrite=True)
    with pytest.raises(InputError, match=r"volume_ml of .*, base, seed 0: .* in .* and .* in"):
        collect(copied)


def test_a_patient_in_one_run_only_is_refused(copied: list[Path], tmp_path: Path) -> None:
    for table in (RESULTS, LESIONS):
        rows = read_table(copied[1] / table.file, table)
        write_table(copied[1] / table.file, rows[rows["patient"] != rows["patient"].iloc[0]], overwrite=True)
    with pytest.raises(InputError, match=r"2 iterations.* lacks patient"):
        report.write(copied, tmp_path / "report")


def test_results_without_the_base_are_refused(copied: list[Path], tmp_path: Path) -> None:
    for place in copied:
        rows = read_results(place / RESULTS.file)
        write_table(place / RESULTS.file, rows[rows["variant"] != "base"], overwrite=True)
    with pytest.raises(InputError, match="no variant base"):
        report.write(copied, tmp_path / "report")


def test_folders_without_runs_are_refused(tmp_path: Path, trained: Trained, copied: list[Path]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found a folder without runs of finetune"):
        collect([tmp_path / "empty"])
    with pytest.raises(InputError, match="found no such folder"):
        collect([tmp_path / "absent"])
    with pytest.raises(InputError, match="found a folder without runs of finetune"):
        collect([trained[2]])  # of train_base
    for place in copied:
        (place / "done.json").unlink()
    with pytest.raises(InputError, match="7 runs, none of them finished"):
        collect(copied)
