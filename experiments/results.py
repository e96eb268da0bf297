"""Run folders become one table of results: all of one cohort, one task and one base CNN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from experiments.config import FinetuneRun
from experiments.launch import BASE_CNN, CONFIG, DONE, IDENTITY
from experiments.parsing import parse, plain
from experiments.patient import PATIENTS
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import CASE, DETAILS, RESULTS, Table, read_table
from psft_jax.scan import Provenance, Task

RUNS = "runs.json"
"""In a study's folder: the folders of its runs, from there."""
AGREE_WITHIN = 0.001
"""Runs that say something of the same network may differ by so much: in another company, sums are taken in
another order."""


@dataclass(frozen=True, eq=False)
class FoundRun:
    """A finished fine-tuning run.

    Args:
        folder: where it lies.
        config: what it was.
        base_sha256: which base CNN it started from.
    """

    folder: Path
    config: FinetuneRun
    base_sha256: str

    @property
    def common(self) -> dict[str, Any]:
        """What runs have in common that may stand in one table."""
        config = self.config
        return {
            "task": plain(config.task),
            "dataset": plain(config.dataset),
            "patients": sorted(config.patients),
            "base CNN": self.base_sha256[:8],
            "precision": config.precision.value,
        }


@dataclass(frozen=True, eq=False)
class Collected:
    """The results of runs that may be compared.

    Args:
        runs: those that are finished.
        unfinished: folder of each run that is not, and what is there.
        tables: all rows by the kind of table, each case once.
    """

    runs: tuple[FoundRun, ...]
    unfinished: Mapping[Path, str]
    tables: Mapping[str, pd.DataFrame]

    @property
    def task(self) -> Task:
        """Of all runs."""
        return self.runs[0].config.task.kind

    @property
    def provenance(self) -> Provenance:
        """Where the images come from."""
        return self.runs[0].config.dataset.provenance

    @property
    def results(self) -> pd.DataFrame:
        """The rows of ``results.csv``."""
        return self.tables[RESULTS.file]

    def table(self, kind: Table) -> pd.DataFrame:
        """The rows of another kind."""
        return self.tables[kind.file]


def collect(paths: Sequence[Path]) -> Collected:
    """Read run folders.

    Args:
        paths: folders of runs, folders that hold such, or folders of studies.

    Raises:
        InputError: a folder holds no run, no run is finished, the runs are of different cohorts, tasks or
            base CNNs, a table is damaged, or two runs contradict each other.
    """
    folders = list(dict.fromkeys(folder for path in paths for folder in _run_folders(path)))
    unfinished = {folder: _state(folder) for folder in folders if not (folder / DONE).exists()}
    runs = [_read_run(folder) for folder in folders if folder not in unfinished]
    if not runs:
        raise InputError(
            ", ".join(map(str, paths)),
            found=f"{len(unfinished)} runs, none of them finished",
            expected="at least one finished run",
            remedy="Repeat the command that made them: it goes on where it stopped.",
        )
    _check_one_kind(runs)
    # Where runs say the same of a case, those with samples say more of it.
    runs.sort(key=lambda run: -run.config.monte_carlo_samples)
    tables = {kind.file: _details(runs, kind) for kind in DETAILS}
    return Collected(tuple(runs), unfinished, {**tables, RESULTS.file: _results(runs)})


def _run_folders(path: Path) -> list[Path]:
    if (path / RUNS).is_file():
        listed = _json(path / RUNS)
        return [(path / folder).resolve() for folder in listed]
    if _is_finetuning(path):
        return [path.resolve()]
    within = sorted(path.iterdir()) if path.is_dir() else []
    folders = [folder.resolve() for folder in within if _is_finetuning(folder)]
    if not folders:
        raise InputError(
            path,
            found="a folder without runs of finetune" if path.is_dir() else "no such folder",
            expected="the folder of a run (it holds config.yaml), of a study, or one that holds runs",
            remedy="Give for instance runs/finetune/NAME, or runs/study/NAME.",
        )
    return folders


def _is_finetuning(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and "finetune" in _config(folder)


def _config(folder: Path) -> DictConfig:
    """A run's configuration; one that says neither how to train nor how to fine-tune may be cut off."""
    problem = "a file that is not whole, or that of another command"
    try:
        loaded = OmegaConf.load(folder / CONFIG)
        if isinstance(loaded, DictConfig) and {"train", "finetune"} & set(loaded):
            return loaded
    except YAMLError as error:
        problem = f"no YAML ({str(error).splitlines()[0]})"
    raise InputError(
        folder / CONFIG,
        found=problem,
        expected="the configuration of a run of finetune",
        remedy="Give a run of finetune. If this is one, restore the file or repeat the command that made it.",
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            path,
            found="no such file" if isinstance(error, OSError) else f"no JSON ({error})",
            expected="what a run or study writes there",
            remedy="Restore it, or repeat the command that made the run.",
        ) from error


def _state(folder: Path) -> str:
    done = sorted(path.parent.name for path in folder.glob(f"{PATIENTS}/*/{RESULTS.file}"))
    return f"{len(done)} patients done ({', '.join(done)})" if done else "no patient done"


def _read_run(folder: Path) -> FoundRun:
    identity = _json(folder / IDENTITY)
    try:
        return FoundRun(folder, parse(_config(folder), FinetuneRun), identity[BASE_CNN])
    except InputError as error:
        raise InputError(
            f"{folder / CONFIG}, {error.where}",
            found=error.found,
            expected=error.expected,
            remedy="The run may be of another version: run it again.",
        ) from error


def _check_one_kind(runs: Sequence[FoundRun]) -> None:
    kinds: dict[str, list[FoundRun]] = {}
    for run in runs:
        kinds.setdefault(json.dumps(run.common, sort_keys=True), []).append(run)
    if len(kinds) > 1:
        first = next(iter(kinds.values()))[0].common
        told = (
            f"{len(same)} such as {same[0].folder.name} ({_apart(same[0].common, first)})"
            for same in kinds.values()
        )
        raise InputError(
            runs[0].folder.parent,
            found=f"runs that cannot stand in one table: {'; '.join(told)}",
            expected="runs of one cohort, task, base CNN and precision",
            remedy="Make a report of each: name their folders, or the folder of their study.",
        )


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The task, source and base CNN of some runs, and what else tells them from others."""
    known = f"{one['dataset']['source']}, {one['task']['kind']}, base CNN {one['base CNN']}"
    more = [name for name in ("task", "dataset", "patients", "precision") if one[name] != other[name]]
    return f"{known}; other {' and '.join(more)}" if more else known


def _read(run: FoundRun, kind: Table) -> pd.DataFrame:
    """A run's table, with the run's place in a column of its own."""
    return read_table(run.folder / kind.file, kind).assign(run=run.folder.name)


def _details(runs: Sequence[FoundRun], kind: Table) -> pd.DataFrame:
    """The rows of every case from the first run that has any."""
    case = list(CASE)
    rows = pd.concat([_read(run, kind) for run in runs], ignore_index=True)
    first = rows.groupby(case, sort=False)["run"].transform("first")
    return rows[rows["run"] == first].drop(columns="run").reset_index(drop=True)


def _results(runs: Sequence[FoundRun]) -> pd.DataFrame:
    """Every measure of every case once; the base CNN's are in each run."""
    rows = pd.concat([_read(run, RESULTS) for run in runs], ignore_index=True)
    key = [*CASE, "metric"]
    first = rows.groupby(key, sort=False)[["value", "run"]].transform("first")
    apart = (rows["value"] - first["value"]).abs()
    # NaN in one run and a number in the other is a contradiction too.
    differs = (apart > AGREE_WITHIN * first["value"].abs().clip(lower=1.0)) | (
        rows["value"].isna() != first["value"].isna()
    )
    if differs.any():
        place = rows.index[differs][0]
        row, other = rows.loc[place], first.loc[place]
        raise InputError(
            "results",
            found=f"{row['metric']} of {row['patient']}, {row['variant']}, seed {row['seed']}: "
            f"{other['value']:g} in {other['run']} and {row['value']:g} in {row['run']}",
            expected="one value for the same network and patient",
            remedy="Make a report of runs with the same monte_carlo_samples and monte_carlo_masks; where "
            "both are the same, run one of the two again with overwrite=true.",
        )
    return rows.drop_duplicates(key).drop(columns="run").reset_index(drop=True)
