"""Fine-tuning runs, one or many at once: the same networks, numbers and folders either way."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments.conclude import STAGE, conclude, show
from experiments.config import FinetuneRun, HardwareConfig, TunedOn
from experiments.datasets import load_cohort
from experiments.heads import Heads, Start, other_visit
from experiments.launch import BASE_CNN, finish, open_run
from experiments.patient import Job, quantify
from psft_jax.devices import available, most_that_divide
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import RESULTS
from psft_jax.files import sha256_of
from psft_jax.scan import Cohort, Patient
from psft_jax.training.saved import load_base

logger = logging.getLogger(__name__)

Failures = dict[tuple[Path, str], InputError]
"""Why a run could not do a patient."""


def run_all(configs: Sequence[FinetuneRun]) -> list[Path]:
    """Do the runs that are not done yet, sharing what they have in common.

    Args:
        configs: runs that differ in their setting, seed, samples and outputs alone.

    Returns:
        Their folders, in the same order.

    Raises:
        InputError: the base CNN does not fit, or some patients could not be done; the others are kept.
    """
    first = configs[0]
    start, patients = inputs_of(first)  # all that can be wrong with them shows before anything is written
    record, cohort = start.record, start.cohort
    files = fingerprints(cohort)
    with ExitStack() as stack, logging_redirect_tqdm():
        folders, jobs = [], []
        for config in configs:
            inputs = {BASE_CNN: record.sha256, **files_of(config, patients, cohort, files)}
            opened = stack.enter_context(open_run(config, STAGE, inputs))
            folders.append(opened.folder)
            if not opened.finished:
                jobs.append(Job(config, opened.folder))
        failures = _quantify_all(jobs, patients, start)
        for job in jobs:
            failed = {subject for folder, subject in failures if folder == job.folder}
            done = [patient.subject for patient in patients if patient.subject not in failed]
            if done:
                conclude(job, start, done)
            if not failed:
                finish(job.folder)
    if len(folders) == 1 and (folders[0] / RESULTS.file).exists():
        show(folders[0], first, cohort)
    if failures:
        raise _summary(failures)
    return folders


def inputs_of(config: FinetuneRun) -> tuple[Start, tuple[Patient, ...]]:
    """What a run starts from, and its test patients.

    Raises:
        InputError: there is no such base CNN or patient, the base CNN does not fit the cohort, or there are
            fewer devices than are asked for.
    """
    _check_devices(config.hardware)
    record, base = load_base(config.base_folder)
    cohort = load_cohort(config.dataset)
    record.check_fits(cohort, config.task.kind)
    start = Start(record, base, cohort, config.task, config.precision, config.hardware)
    return start, chosen_patients(cohort, config.patients)


def _check_devices(hardware: HardwareConfig) -> None:
    wanted, together = available(hardware.devices), hardware.patients_at_once
    used = most_that_divide(together, wanted)
    if hardware.devices is not None and used < wanted:
        words = "hardware.patients_at_once=%d cannot be shared by %d devices: fine-tuning uses %d"
        logger.warning(words, together, wanted, used)


def _quantify_all(jobs: Sequence[Job], patients: Sequence[Patient], start: Start) -> Failures:
    """Every patient in every run; what fails, fails alone."""
    heads = Heads(start)
    failures: Failures = {}
    seeds = list(dict.fromkeys(job.config.seed for job in jobs))
    size = start.hardware.patients_at_once
    groups = [patients[first : first + size] for first in range(0, len(patients), size)]
    total = len(patients) * len(seeds)
    with tqdm(total=total, desc="patients", unit="patient", disable=total < 2) as bar:
        for group, seed in [(group, seed) for group in groups for seed in seeds]:
            todo = [(patient, _todo(jobs, patient, seed)) for patient in group]
            _train_together(todo, seed, heads)
            for patient, missing in todo:
                logger.info("%s, seed %d: %d runs to do", patient.subject, seed, len(missing))
                failures |= _quantify(missing, patient, start, heads)
                bar.update()
    return failures


def _todo(jobs: Sequence[Job], patient: Patient, seed: int) -> list[Job]:
    """The runs of a seed in which a patient is missing."""
    done = {job.folder for job in jobs if (job.home(patient.subject) / RESULTS.file).exists()}
    return [job for job in jobs if job.config.seed == seed and job.folder not in done]


def _train_together(todo: Sequence[tuple[Patient, Sequence[Job]]], seed: int, heads: Heads) -> None:
    """The heads of several patients in one pass; who cannot be tuned to shows later, one by one."""
    waiting = [patient for patient, jobs in todo if jobs]
    tunes = [job.config.finetune for _, jobs in todo for job in jobs]
    if len(waiting) < 2:
        return
    try:
        heads.train_together(waiting, tunes, seed)
    except InputError as error:
        logger.warning("%d patients cannot be tuned to together, so one by one: %s", len(waiting), error)


def _quantify(jobs: Sequence[Job], patient: Patient, start: Start, heads: Heads) -> Failures:
    """One patient in runs of one seed: all at once, or, where that fails, each alone."""
    for job in jobs:
        shutil.rmtree(job.home(patient.subject), ignore_errors=True)  # half of an interrupted run
    if not jobs:
        return {}
    try:
        quantify(jobs, patient, start, heads)
    except InputError as error:
        if len(jobs) == 1:
            logger.error("%s failed: %s", patient.subject, error)
            return {(jobs[0].folder, patient.subject): error}
        failures: Failures = {}
        for job in jobs:
            failures |= _quantify([job], patient, start, heads)
        return failures
    return {}


def _summary(failures: Failures) -> InputError:
    """One error for all that failed."""
    by_run: dict[Path, list[str]] = defaultdict(list)
    for folder, subject in failures:
        by_run[folder].append(subject)
    listed = "; ".join(f"{folder.name}: {', '.join(subjects)}" for folder, subjects in by_run.items())
    return InputError(
        next(iter(by_run)).parent,
        found=f"patients that failed: {listed}",
        expected="every patient fine-tuned and quantified",
        remedy="The reasons are above. Mend them and repeat the command: what is done is kept.",
    )


def fingerprints(cohort: Cohort) -> dict[str, str]:
    """SHA-256 of the files of every patient that has any; a generated one is known by the settings."""
    everyone = (*cohort.training, *cohort.test)
    files = {patient.subject: [f for visit in patient.visits for f in visit.files] for patient in everyone}
    return {subject: sha256_of(paths) for subject, paths in files.items() if paths}


def files_of(
    config: FinetuneRun, patients: Sequence[Patient], cohort: Cohort, files: Mapping[str, str]
) -> dict[str, str]:
    """The files that a run's results depend on: of its patients, and of those that a control is tuned on."""
    used = list(patients)
    if config.finetune.tuned_on is TunedOn.TRAINING:
        used += cohort.training
    if config.finetune.tuned_on is TunedOn.OTHER:
        lenders = {other_visit(cohort, patient.subject, config.seed).subject for patient in patients}
        used += [patient for patient in (*cohort.test, *cohort.training) if patient.subject in lenders]
    return {f"files of {p.subject}": files[p.subject] for p in used if p.subject in files}


def chosen_patients(cohort: Cohort, subjects: Sequence[str]) -> tuple[Patient, ...]:
    """The test patients with the given identifiers, or all without one.

    Raises:
        InputError: the cohort has no test patient, or none of that name.
    """
    known = [patient.subject for patient in cohort.test]
    # mslesseg-P14 answers to P14 too.
    full = {subject.partition("-")[2]: subject for subject in known} | {subject: subject for subject in known}
    unknown = [subject for subject in subjects if subject not in full]
    if unknown or not known:
        raise InputError(
            "patients",
            found=f"{', '.join(unknown)}, not among the test patients" if unknown else "no test patient",
            expected=f"test patients of {cohort.name}: {', '.join(known) or 'at least one with two visits'}",
            remedy="Correct patients=[...], or give patients with a baseline and a follow-up.",
        )
    chosen = {full[subject] for subject in subjects} or set(known)
    return tuple(patient for patient in cohort.test if patient.subject in chosen)
