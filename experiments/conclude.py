"""The end of a fine-tuning run: all patients in one table, one report, and in W&B."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.config import FinetuneRun, TuneConfig, TunedOn
from experiments.heads import Start
from experiments.launch import start_tracking
from experiments.patient import BASE, LOSSES, MASK, PREVIEW, SD, TUNED, Job
from psft_jax.evaluation.rows import RESULTS, TABLES, read_results, read_table, write_table
from psft_jax.evaluation.uncertainty import LARGEST_SD
from psft_jax.reporting.figures import paired_figure, save_figure
from psft_jax.reporting.html import write_report
from psft_jax.reporting.tables import HEADLINE, Comparison, comparison_table, headline, print_table
from psft_jax.scan import Cohort, Provenance, Task
from psft_jax.tracking import Tracker
from psft_jax.training.saved import BaseRecord
from psft_jax.training.weighting import Weighting

STAGE = "finetune"
REPORT = "report.html"
PICTURES = {
    "overlay.png": "overlay",
    "objects.png": "objects",
    "sd.png": "uncertainty (SD)",
    "weights.png": "weights of the baseline's pixels",
}
"""A patient's pictures, and what they are called."""
LABELS = {0: "background", 1: "lesion"}
FEW_PATIENTS = 10


def conclude(job: Job, start: Start, subjects: Sequence[str]) -> None:
    """All patients of a run in one file a table, one report, and in W&B.

    Args:
        job: the run.
        start: base CNN and cohort.
        subjects: the patients that are done.
    """
    config, folder, cohort = job.config, job.folder, start.cohort
    homes = {subject: job.home(subject) for subject in subjects}
    for table in TABLES:
        parts = [read_table(home / table.file, table) for home in homes.values()]
        write_table(folder / table.file, pd.concat(parts, ignore_index=True), overwrite=True)
    results = read_results(folder / RESULTS.file)

    comparison = compare(results, config, cohort)
    title = heading(cohort)
    paired = folder / "figures" / "paired.png"
    measures = shown_measures(results, start.task.kind)
    figure = paired_figure(
        _plain_names(results), measures, start.task.kind, BASE, TUNED,
        title=title, provenance=cohort.provenance,
    )  # fmt: skip
    save_figure(figure, paired, overwrite=True)
    pictures = {
        f"{what}/{subject}": home / file  # W&B makes a section of each prefix
        for subject, home in homes.items()
        for file, what in PICTURES.items()
        if (home / file).exists()
    }
    write_report(
        folder / REPORT,
        heading=title,
        facts=facts(config, start.record),
        table=comparison,
        figures=[("Each line is one patient's follow-up", paired), *pictures.items()],
        notes=cautions(cohort.provenance, len(subjects)),
        overwrite=True,
    )
    with start_tracking(config, folder, cohort, STAGE) as tracker:
        step = _track_losses(homes, tracker)
        tracker.images({"paired": paired, **pictures}, step=step)
        for subject, home in homes.items():
            _track_patient(subject, home, tracker, step)
        tracker.table("results", results, step=step)
        tracker.summary(_final(comparison))


def _final(comparison: Comparison) -> dict[str, float]:
    """The numbers that W&B's table of runs sorts by."""
    final: dict[str, float] = {}
    for line in comparison.lines:
        (contrast,) = line.contrasts
        values = {BASE: line.base, TUNED: contrast.value, "difference": contrast.difference}
        for name, value in values.items():
            key = f"{name}/{line.measure.name}"
            final |= {key: value.centre, f"{key}_n_valid": value.n_valid}
    return final


def heading(cohort: Cohort) -> str:
    """What tables and figures of the run are called."""
    return f"{cohort.name}: base CNN and fine-tuned on the baseline"


def show(folder: Path, config: FinetuneRun, cohort: Cohort) -> None:
    """Print the main measures of a run that is done."""
    table = compare(read_results(folder / RESULTS.file), config, cohort)
    print_table(headline(table), heading=heading(cohort))


def compare(results: pd.DataFrame, config: FinetuneRun, cohort: Cohort) -> Comparison:
    """The table of all measures of one run."""
    return comparison_table(_plain_names(results), config.task.kind, provenance=cohort.provenance, base=BASE)


def _plain_names(results: pd.DataFrame) -> pd.DataFrame:
    """One run has one setting: its name stands in the report, and need not stand in every heading."""
    return results.assign(variant=results["variant"].where(results["variant"] == BASE, TUNED))


def shown_measures(results: pd.DataFrame, task: Task) -> list[str]:
    """The first measures of the task's table that the results hold; volumes where there is no reference."""
    held = set(results["metric"])
    tested = [name for name in HEADLINE[task][:4] if name in held]
    return tested or [name for name in ("volume_ml", "n_objects") if name in held]


def facts(config: FinetuneRun, record: BaseRecord) -> dict[str, str]:
    """What the run was, for the reader of its report."""
    return {
        "Base CNN": f"{config.base}: {record.model_name}, {record.network.parameter_count:,} parameters, "
        f"receptive field {record.model.receptive_field} pixels, trained on "
        f"{len(record.training_subjects)} patients of {record.dataset} ({record.provenance.value})",
        "Setting": config.finetune.label,
        "Fine-tuning": _fine_tuning(config.finetune),
        "Uncertainty": f"{config.monte_carlo_samples} Monte Carlo dropout samples, "
        f"{config.monte_carlo_masks} masks",
        "Precision": config.precision.value,
        "Seed": str(config.seed),
    }


def _fine_tuning(tune: TuneConfig) -> str:
    """The numbers of a setting, where it tunes at all."""
    if tune.tuned_on is TunedOn.NOBODY:
        return "none"
    settings = tune.settings
    background, lesion = settings.class_weights
    weights = f"class weights {background:g} (background) and {lesion:g} (lesion)"
    if settings.weighting is not Weighting.NONE:
        weights = f"pixels weighted for {settings.weighting}"
    return (
        f"{settings.iterations} iterations, scope {settings.scope}, learning rate "
        f"{settings.learning_rate:g}, {weights}"
    )


def cautions(provenance: Provenance, patients: int) -> list[str]:
    """What the reader of a report should keep in mind."""
    notes = ["Research software: not for diagnosis or treatment."]
    if provenance is not Provenance.REAL:
        notes.append(
            f"The images are {provenance.value} data: the numbers show that the software works, not "
            "how well the method does on patients."
        )
    if patients < FEW_PATIENTS:
        notes.append(f"Few patients ({patients}): differences and p-values are weak evidence.")
    return notes


def _track_patient(subject: str, home: Path, tracker: Tracker, step: int) -> None:
    """A patient's preview with its masks, and the tuned network, where the run has them."""
    if (home / PREVIEW).exists():
        with np.load(home / PREVIEW) as preview:
            masks = {name.removeprefix(MASK): preview[name] for name in preview if name.startswith(MASK)}
            shown = {"image": preview["image"]}
            sds = [name for name in preview if name.startswith(SD)]
            shown |= {f"SD of {name.removeprefix(SD)}": preview[name] / LARGEST_SD for name in sds}
        for name, grey in shown.items():
            tracker.overlay(f"{name} with masks/{subject}", grey, masks, LABELS, step=step)
    if (home / "network").exists():
        tracker.artifact(f"{home.parents[1].name}-{subject}", "model", home / "network")


def _track_losses(homes: dict[str, Path], tracker: Tracker) -> int:
    """Every patient's loss against the iteration; returns the last step."""
    losses = {subject: json.loads((home / LOSSES).read_text()) for subject, home in homes.items()}
    tracker.rewind(0)  # a run that goes on after a failed patient has told of the others before
    longest = max(map(len, losses.values()))
    for step in range(longest):
        here = {f"loss/{subject}": values[step] for subject, values in losses.items()}
        tracker.log(step + 1, {"loss": float(np.mean(list(here.values()))), **here})
    return longest + 1
