"""A finished fine-tuning run, its follow-ups, and the files that they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.config import FinetuneRun, Outputs, TunedOn
from experiments.datasets import Dataset, FilesDataset
from experiments.derivative import FollowUp, Run
from experiments.heads import other_visit
from experiments.launch import DONE, IDENTITY
from experiments.results import Collected, FoundRun, collect
from experiments.runs import chosen_patients, files_of, fingerprints
from psft_jax.data.bids_derivative import Sources, read_json
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.scan import Cohort, Patient


def finished_run(folder: Path) -> tuple[Run, list[FollowUp]]:
    """Read a run's folder.

    Args:
        folder: of a finished run of ``finetune`` with ``outputs=full``.

    Raises:
        InputError: the run is not finished or has no volumes, or its data set is not there or not the same
            any more.
    """
    collected = collect([folder])
    found = _only(collected)
    cohort = found.config.dataset.raw_cohort()
    patients = chosen_patients(cohort, found.config.patients)
    _check_same(found, patients, cohort)
    roots, files = on_disk(found.config.dataset)
    versions = read_json(found.folder / DONE)
    run = Run(found.folder, found.config, found.base_sha256, versions, Sources(roots), collected.results)
    return run, [_follow_up(found.config, cohort, patient, files) for patient in patients]


def _only(collected: Collected) -> FoundRun:
    """The one run that was read, which must have volumes."""
    run, *others = collected.runs
    if others:
        raise InputError(
            run.folder.parent,
            found=f"{1 + len(others)} runs",
            expected="one run: a derivative holds one result of each patient",
            remedy="Name one of their folders.",
        )
    if run.config.outputs is not Outputs.FULL:
        raise InputError(
            run.folder,
            found=f"a run with outputs={run.config.outputs}, which has no volumes",
            expected="one with masks and probabilities",
            remedy="Repeat it with outputs=full and another name.",
        )
    return run


def _check_same(run: FoundRun, patients: Sequence[Patient], cohort: Cohort) -> None:
    """Make sure that the files are those that the run was made from.

    Raises:
        InputError: a patient's are not.
    """
    controls = run.config.finetune.tuned_on in (TunedOn.OTHER, TunedOn.TRAINING)
    # Hashing takes time: of the training patients, only where the run used them.
    used = cohort if controls else replace(cohort, training=(), test=tuple(patients))
    now = files_of(run.config, patients, cohort, fingerprints(used))
    known = read_json(run.folder / IDENTITY)
    changed = [what for what, sha256 in now.items() if known.get(what) != sha256]
    if changed:
        raise InputError(
            ", ".join(changed),
            found="other bytes than those that the run was made from",
            expected="the same files, because each result names its sources with their SHA-256",
            remedy="Restore them, or fine-tune again.",
        )


def on_disk(dataset: Dataset) -> tuple[dict[str, Path], dict[tuple[str, str], VisitFiles]]:
    """The folders of a data set by the names that URIs call them, and the files of its visits.

    Of a table, the folder that it lies in. A generated data set has neither.
    """
    if not isinstance(dataset, FilesDataset):
        return {}, {}
    listings = dataset.listings()
    roots = {f"source{n if n > 1 else ''}": found.folder for n, found in enumerate(listings, 1)}
    visits = (visit for found in listings for visit in found.visits)
    return roots, {(visit.subject, visit.session): visit for visit in visits}


def _follow_up(
    config: FinetuneRun,
    cohort: Cohort,
    patient: Patient,
    files: Mapping[tuple[str, str], VisitFiles],
) -> FollowUp:
    """What was quantified, and the files that the head (or its threshold) was tuned on."""
    scans = {
        TunedOn.OWN: lambda: [patient.baseline],
        TunedOn.OTHER: lambda: [other_visit(cohort, patient.subject, config.seed)],
        TunedOn.TRAINING: lambda: [visit for trained in cohort.training for visit in trained.visits],
        TunedOn.NOBODY: list,
    }[config.finetune.tuned_on]()
    if config.finetune.tune_threshold:
        scans.append(patient.baseline)
    tuned_on = dict.fromkeys(file for visit in scans for file in visit.files)
    visit = patient.follow_up
    return FollowUp(visit.subject, visit.session, files.get((visit.subject, visit.session)), tuple(tuned_on))
