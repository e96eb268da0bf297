"""The notebooks run from their first cell to their last on small results, and show what they should."""

from __future__ import annotations

import ast
import base64
import io
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient
from nbformat import NotebookNode

from experiments import train_base
from experiments.config import PRETRAINED
from experiments.runs import run_all
from psft_jax.data.nifti import read_volume, write_volume
from psft_jax.phantoms.brain import BrainPhantomSettings, brain_cohort
from tests.integration.commands import tiny_finetuning, tiny_training

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PLACES = ("PSFT_STUDY", "PSFT_BASE", "PSFT_SCANS", "PSFT_OUT")

# What differs from the setting in the middle, which comes first.
SWEEP = (
    ("outputs=full", "monte_carlo_samples=3"),
    ("seed=1",),
    ("finetune.settings.iterations=0",),
    ("finetune.settings.iterations=2",),
    ("finetune.settings.slices.count=1", "finetune.settings.slices.candidates=organ"),
    ("finetune.settings.weighting=segmentation",),
    ("finetune.tune_threshold=true", "finetune.settings.iterations=0"),
    ("finetune.tuned_on=other",),
)


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_of(notebook: NotebookNode) -> dict[str, str]:
    """The code cells by their id, without magics."""
    return {
        cell.id: "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def point_to(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables that say where things are, and no others."""
    for place in PLACES:
        monkeypatch.delenv(place, raising=False)
    for place, path in places.items():
        monkeypatch.setenv(place, str(path))


def executed(name: str, monkeypatch: pytest.MonkeyPatch, **places: Path) -> dict[str, list[NotebookNode]]:
    """The outputs of each cell; an error in any of them fails the test."""
    point_to(places, monkeypatch)
    notebook = read(name)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def in_this_process(
    name: str, monkeypatch: pytest.MonkeyPatch, *, until: str | None = None, **places: Path
) -> dict[str, Any]:
    """What the names of a notebook stand for after its last cell, or another: sooner than in a kernel."""
    point_to(places, monkeypatch)
    monkeypatch.chdir(FOLDER)
    names: dict[str, Any] = {}
    for cell, code in code_of(read(name)).items():
        exec(code, names)
        if cell == until:
            break
    return names


def shown(outputs: list[NotebookNode], kind: str) -> list[str]:
    """What a cell shows of one kind, such as image/png."""
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def text_of(outputs: list[NotebookNode]) -> str:
    """All that a cell says in words."""
    printed = [output.text for output in outputs if output.output_type == "stream"]
    return "\n".join([*printed, *shown(outputs, "text/markdown"), *shown(outputs, "text/html")])


def figures(outputs: dict[str, list[NotebookNode]]) -> dict[str, int]:
    """How many pictures each cell shows; none of them is blank."""
    found = {cell: shown(output, "image/png") for cell, output in outputs.items()}
    for pictures in found.values():
        for picture in pictures:
            assert np.ptp(imread(io.BytesIO(base64.b64decode(picture)))[..., :3]) > 0.5
    return {cell: len(pictures) for cell, pictures in found.items() if pictures}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base CNN for brains."""
    return train_base.run(tiny_training("phantom_brain", tmp_path_factory.mktemp("brain")))


@pytest.fixture(scope="session")
def study(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a small study of brains."""
    out = tmp_path_factory.mktemp("study")
    words = ["monte_carlo_samples=0", "outputs=results"]
    run_all([tiny_finetuning("phantom_brain", out, base, *words, *more) for more in SWEEP])
    return out / "finetune"


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of the other task, as the demo leaves it; on brains, for which JAX has compiled everything."""
    out = tmp_path_factory.mktemp("detection")
    base = train_base.run(tiny_training("phantom_brain", out, "task=detection"))
    (run,) = run_all([tiny_finetuning("phantom_brain", out, base, "task=detection")])
    return run


def test_the_three_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["ablations", "one_patient", "uncertainty"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_holds_nothing_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert set(notebook.metadata.get("language_info", {})) <= {"name"}
    for cell in notebook.cells:
        assert not cell.metadata
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)
    # A slash that no word, dot, star or brace leads up to is that of an absolute path.
    text = "\n".join(cell.source for cell in notebook.cells)
    assert re.findall(r"(?<![\w.*}/)])/\w+|\b[A-Z]:\\|~/", text) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_and_defines_nothing(path: Path) -> None:
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell, source in code_of(nbformat.read(path, as_version=4)).items():
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, defined)], cell


@pytest.mark.parametrize("name", ["ablations", "uncertainty"])
def test_where_there_are_no_results_it_says_what_makes_some(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to({"PSFT_STUDY": tmp_path / "none"}, monkeypatch)
    with pytest.raises(FileNotFoundError, match=r"no results in .*none\. `make demo`.*experiments\.study"):
        exec(code_of(read(name))["where"], {})


def test_where_there_is_no_base_it_says_what_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to({}, monkeypatch)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    with pytest.raises(FileNotFoundError, match=r"no base CNN .*`make demo`.*experiments\.train_base"):
        exec(code_of(read("one_patient"))["where"], {})
    # Of several, the newest.
    for number, name in enumerate(("phantom_brain-b", "phantom_brain-a", "phantom_liver-c")):
        record = tmp_path / "runs" / "train_base" / name / "base.json"
        record.parent.mkdir(parents=True)
        record.touch()
        os.utime(record, (number, number))
    names: dict[str, Path] = {}
    exec(code_of(read("one_patient"))["where"], names)
    assert names["base_folder"].name == "phantom_brain-a"


def test_ablations(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = executed("ablations", monkeypatch, PSFT_STUDY=study)
    assert figures(outputs) == {"iterations": 1, "weighting": 1, "paired": 2}
    said = {cell: text_of(output) for cell, output in outputs.items()}
    for cell in ("all", "iterations", "slices", "weighting", "others", "controls", "seeds", "hurt"):
        assert "PHANTOM data" in said[cell], cell
        assert "2 patients" in said[cell], cell
    for label in ("threshold tuned", "on another patient", "2 iterations", "1 slice of the organ"):
        assert label in said["all"], label
    assert "head tuned on another patient" in said["controls"]
    assert "| Seed 0 | Seed 1 |" in said["seeds"]
    assert "Table 4" in said["slices"]
    assert "Uncertainty of segmentation" in said["others"]
    (weighted,) = (row for row in said["weighting"].splitlines() if row.startswith("| Weighted"))
    assert "not run" not in weighted


def test_ablations_of_a_single_run(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not run says so, and nothing fails."""
    names = in_this_process("ablations", monkeypatch, PSFT_STUDY=single)
    assert names["task"] == "detection"
    assert [table.name for table in names["paper"]][:3] == ["table_1", "table_2", "table_3"]
    assert names["family"].controls == {"base": "base CNN"}


def test_uncertainty(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = executed("uncertainty", monkeypatch, PSFT_STUDY=study)
    alone = {"paired": 1, "error": 1, "size": 1, "calibration": 1}
    assert figures(outputs) == {**alone, "maps": 2, "one-patient": 3}
    assert text_of(outputs["runs"]).count("3 samples") == 1
    assert "Maximum SD" in text_of(outputs["comparison"])
    for cell in ("comparison", "objects", "patients"):
        assert "PHANTOM data" in text_of(outputs[cell]), cell


def test_uncertainty_of_detection(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = in_this_process("uncertainty", monkeypatch, PSFT_STUDY=single)
    assert "mean_sd_detected" in names["chosen"]
    assert set(names["each"].columns.get_level_values("variant")) == {"base", "fine-tuned"}


def test_uncertainty_needs_samples() -> None:
    run = SimpleNamespace(config=SimpleNamespace(monte_carlo_samples=0))
    names = {"folder": Path("runs/finetune"), "collect": lambda _: SimpleNamespace(runs=[run])}
    with pytest.raises(ValueError, match="no run in runs/finetune drew Monte Carlo samples"):
        exec(code_of(read("uncertainty"))["runs"], names)


def test_one_patient(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = executed("one_patient", monkeypatch, PSFT_BASE=base, PSFT_OUT=tmp_path)
    assert figures(outputs) == {"tune": 1, "predict": 1, "sd": 1}
    assert "PHANTOM data" in text_of(outputs["measures"])
    assert "dsc" in text_of(outputs["measures"])
    written = read_volume(tmp_path / "brain-test-000_follow_up_mask.nii.gz")
    assert written.data.shape == (24, 120, 120)
    assert set(np.unique(written.data)) <= {0, 1}


def test_one_patient_takes_fewer_than_twenty_lines() -> None:
    code = code_of(read("one_patient"))
    lines = [line for cell in set(code) - {"where", "imports"} for line in code[cell].splitlines()]
    assert len([line for line in lines if line and not line.startswith("#")]) < 20


def test_one_patient_of_ones_own(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans in MSLesSeg's layout, the follow-up without a mask."""
    (patient,) = brain_cohort(BrainPhantomSettings(n_test=1, shape=(12, 60, 60))).test
    for session, visit in (("T1", patient.baseline), ("T2", patient.follow_up)):
        scan = visit.load()
        volumes = {"FLAIR": scan.sequences[0][..., 0], "T1": scan.sequences[1][..., 0]}
        if session == "T1":
            volumes["MASK"] = scan.lesion
        for name, volume in volumes.items():
            path = tmp_path / "scans" / "P1" / session / f"P1_{session}_{name}.nii.gz"
            write_volume(path, volume, scan)
    names = in_this_process(
        "one_patient", monkeypatch, until="patient", PSFT_BASE=base, PSFT_SCANS=tmp_path / "scans"
    )
    assert names["baseline"].subject == "mslesseg-P1"
    assert names["cohort"].provenance == "real"
    assert names["baseline"].lesion.any()
    assert names["follow_up"].session == "T2"
    assert names["follow_up"].lesion is None
    # Without a base CNN of one's own, that of the project.
    own = in_this_process("one_patient", monkeypatch, until="where", PSFT_SCANS=tmp_path / "scans")
    assert own["base_folder"].resolve() == PRETRAINED / "segmentation"
