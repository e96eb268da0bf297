"""Fine-tune to each test patient and quantify the follow-up.

python -m experiments.finetune base=RUN dataset=...
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import hydra
import numpy as np
import pandas as pd

from experiments.config import FinetuneRun
from experiments.datasets import load_cohort
from experiments.launch import command, open_run, register_resolvers, start_tracking
from experiments.patient import BASE, LOSSES, RESULTS, TUNED, quantify
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import read_results, write_results
from psft_jax.model.network import Variables
from psft_jax.reporting.figures import paired_figure, save_figure
from psft_jax.reporting.html import write_report
from psft_jax.reporting.tables import HEADLINE, Comparison, comparison_table, headline, print_table
from psft_jax.scan import Cohort, Patient, Provenance, Task
from psft_jax.tracking import Tracker
from psft_jax.training.saved import BaseRecord, load_base

STAGE = "finetune"
PATIENTS = "patients"
REPORT = "report.html"
FEW_PATIENTS = 10

logger = logging.getLogger(__name__)


def run(config: FinetuneRun) -> Path:
    """Fine-tune to every test patient, or find it done.

    Returns:
        The run's folder.

    Raises:
        InputError: the base CNN does not fit, or some patients could not be done; the others are kept.
    """
    # All that can be wrong with the inputs shows before anything is written.
    record, base = load_base(Path(config.base))
    cohort = load_cohort(config.dataset)
    record.check_fits(cohort, config.task.kind)
    patients = chosen_patients(cohort, config.patients)
    with open_run(config, STAGE, inputs={"base CNN": record.sha256}) as opened:
        if not opened.finished:
            _finetune_cohort(config, opened.folder, record, base, cohort, patients)
        else:
            _compare(read_results(opened.folder / RESULTS), config, cohort)
    return opened.folder


def _finetune_cohort(
    config: FinetuneRun,
    folder: Path,
    record: BaseRecord,
    base: Variables,
    cohort: Cohort,
    patients: Sequence[Patient],
) -> None:
    with start_tracking(config, folder, cohort, STAGE) as tracker:
        failures: dict[str, InputError] = {}
        for number, patient in enumerate(patients, start=1):
            own = folder / PATIENTS / patient.subject
            state = "already done" if (own / RESULTS).exists() else "fine-tuning and quantifying"
            logger.info("patient %d of %d, %s: %s", number, len(patients), patient.subject, state)
            if (own / RESULTS).exists():
                continue
            if own.exists():
                shutil.rmtree(own)  # half of an interrupted run
            try:
                quantify(config, patient, record, base, cohort, own)
            except InputError as error:
                logger.error("%s failed: %s", patient.subject, error)
                failures[patient.subject] = error
        done = [patient.subject for patient in patients if patient.subject not in failures]
        if done:
            _conclude(config, folder, record, cohort, done, tracker)
    if failures:
        raise InputError(
            folder,
            found=f"{len(failures)} of {len(patients)} patients that failed: {', '.join(failures)}",
            expected="every patient fine-tuned and quantified",
            remedy="The reasons are above. Mend them and repeat the command: what is done is kept.",
        )


def chosen_patients(cohort: Cohort, subjects: Sequence[str]) -> tuple[Patient, ...]:
    """The test patients with the given identifiers, or all without one.

    Raises:
        InputError: the cohort has no test patient, or none of that name.
    """
    known = [patient.subject for patient in cohort.test]
    unknown = [subject for subject in subjects if subject not in known]
    if unknown or not known:
        raise InputError(
            "patients",
            found=f"{', '.join(unknown)}, not among the test patients" if unknown else "no test patient",
            expected=f"test patients of {cohort.name}: {', '.join(known) or 'at least one with two visits'}",
            remedy="Correct patients=[...], or give patients with a baseline and a follow-up.",
        )
    return tuple(patient for patient in cohort.test if not subjects or patient.subject in subjects)


def _conclude(
    config: FinetuneRun,
    folder: Path,
    record: BaseRecord,
    cohort: Cohort,
    subjects: Sequence[str],
    tracker: Tracker,
) -> None:
    """All patients' results in one file, one table, one report, and in W&B."""
    task = config.task.kind
    homes = {subject: folder / PATIENTS / subject for subject in subjects}
    results = pd.concat([read_results(home / RESULTS) for home in homes.values()], ignore_index=True)
    write_results(folder / RESULTS, results, overwrite=True)

    table = _compare(results, config, cohort)
    title = heading(cohort)
    paired = folder / "figures" / "paired.png"
    measures = shown_measures(results, task)
    figure = paired_figure(results, measures, task, BASE, TUNED, title=title, provenance=cohort.provenance)
    save_figure(figure, paired, overwrite=True)
    figures = {
        f"{subject}: {what}": home / file
        for subject, home in homes.items()
        for what, file in (("overlay", "overlay.png"), ("uncertainty (SD)", "sd.png"))
        if (home / file).exists()
    }
    write_report(
        folder / REPORT,
        heading=title,
        facts=facts(config, record),
        table=table,
        figures=[("Each line is one patient's follow-up", paired), *figures.items()],
        notes=cautions(cohort, record, len(subjects)),
        overwrite=True,
    )
    step = _track_losses(homes, tracker)
    tracker.images({"paired": paired, **figures}, step=step)
    tracker.table("results", results, step=step)
    for line in table.lines:
        values = {BASE: line.base, **{contrast.variant: contrast.value for contrast in line.contrasts}}
        for variant, value in values.items():
            name = f"{variant}/{line.measure.name}"
            tracker.summary({name: value.centre, f"{name}_n_valid": value.n_valid})


def heading(cohort: Cohort) -> str:
    """What tables and figures of the run are called."""
    return f"{cohort.name}: base CNN and fine-tuned on the baseline"


def _compare(results: pd.DataFrame, config: FinetuneRun, cohort: Cohort) -> Comparison:
    """The table of all measures; its headline is printed."""
    table = comparison_table(results, config.task.kind, provenance=cohort.provenance, base=BASE)
    print_table(headline(table), heading=heading(cohort))
    return table


def shown_measures(results: pd.DataFrame, task: Task) -> list[str]:
    """The first measures of the task's table that the results hold; volumes where there is no reference."""
    held = set(results["metric"])
    tested = [name for name in HEADLINE[task][:4] if name in held]
    return tested or [name for name in ("volume_ml", "n_objects") if name in held]


def facts(config: FinetuneRun, record: BaseRecord) -> dict[str, str]:
    """What the run was, for the reader of its report."""
    settings = config.finetune.settings
    background, lesion = settings.class_weights
    return {
        "Base CNN": f"{config.base}: {record.model_name}, {record.network.parameter_count:,} parameters, "
        f"receptive field {record.model.receptive_field} pixels, trained on "
        f"{len(record.training_subjects)} patients of {record.dataset} ({record.provenance.value})",
        "Fine-tuning": f"{settings.iterations} iterations, scope {settings.scope.value}, learning rate "
        f"{settings.learning_rate:g}, class weights {background:g} (background) and {lesion:g} (lesion)",
        "Uncertainty": f"{config.monte_carlo_samples} Monte Carlo dropout samples",
        "Seed": str(config.seed),
    }


def cautions(cohort: Cohort, record: BaseRecord, patients: int) -> list[str]:
    """What the reader of the report should keep in mind."""
    notes = ["Research software: not for diagnosis or treatment."]
    if cohort.provenance is not Provenance.REAL:
        notes.append(
            f"The images are {cohort.provenance.value} data: the numbers show that the software works, not "
            "how well the method does on patients."
        )
    if record.dataset != cohort.name:
        notes.append(
            f"The base CNN was trained on another data set ({record.dataset}, {record.provenance.value})."
        )
    if patients < FEW_PATIENTS:
        notes.append(f"Few patients ({patients}): differences and p-values are weak evidence.")
    return notes


def _track_losses(homes: dict[str, Path], tracker: Tracker) -> int:
    """Every patient's loss against the iteration; returns the last step."""
    losses = {subject: json.loads((home / LOSSES).read_text()) for subject, home in homes.items()}
    tracker.rewind(0)  # a run that goes on after a failed patient has told of the others before
    longest = max(map(len, losses.values()))
    for step in range(longest):
        here = {f"loss/{subject}": values[step] for subject, values in losses.items()}
        tracker.log(step + 1, {"loss": float(np.mean(list(here.values()))), **here})
    return longest + 1


@hydra.main(version_base="1.3", config_path="../conf", config_name="finetune")
@command(FinetuneRun)
def main(config: FinetuneRun) -> None:
    """Fine-tune, and say where the results lie."""
    folder = run(config)
    logger.info("results: %s", folder / RESULTS)
    logger.info("report: %s", folder / REPORT)


if __name__ == "__main__":
    register_resolvers(FinetuneRun, STAGE)
    main()
