"""From the scanner's files to those that the other commands read, every subject in a process of its own.

python -m experiments.preprocess dataset=open_ms_longitudinal dataset.space=raw
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence as Listed
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import hydra
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments.config import RunConfig, TaskConfig
from experiments.datasets import read_from_files
from experiments.launch import DONE, IDENTITY, as_typed, command, finish, open_run, register_resolvers
from experiments.next_command import SCANS, next_words
from experiments.parsing import config_hash, run_folder
from experiments.prepared import (
    LOGS,
    PARTS,
    PROBLEMS,
    check_nothing_is_lost,
    describe,
    sources_of,
    tell,
    write_ready,
)
from psft_jax.data.assemble import MaskRules
from psft_jax.data.bids_derivative import check_place
from psft_jax.data.checks import combined
from psft_jax.data.listing import Listing
from psft_jax.errors import InputError, check_fields
from psft_jax.preprocess.brain import BrainSettings, brain_pipeline
from psft_jax.preprocess.finding import Found, find_subjects
from psft_jax.preprocess.liver import liver_pipeline
from psft_jax.preprocess.liver_settings import LiverSettings
from psft_jax.preprocess.outputs import Pipeline
from psft_jax.preprocess.parallel import run_all, workers_for
from psft_jax.preprocess.processes import Share
from psft_jax.preprocess.subjects import Record, Subject, find_record, prepare
from psft_jax.scan import Task

STAGE = "preprocess"
MEMORY_GB = {Task.SEGMENTATION: 4.0, Task.DETECTION: 8.0}
"""Room for one subject, in GB: about twice what was measured."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PreprocessRun(RunConfig):
    """``python -m experiments.preprocess``.

    Args:
        task: segmentation for brains, detection for livers.
        brain: what is done to brains.
        liver: what is done to livers.
        workers: subjects that are prepared at once; none for as many as cores and free memory allow.
        memory_gb: what one of them may take, in GB (10^9 bytes); one that asks for more fails. None for
            ``MEMORY_GB``.
        overwrite: prepare again the subjects whose files have changed, or all where the settings have.
    """

    task: TaskConfig
    brain: BrainSettings = field(default_factory=BrainSettings)
    liver: LiverSettings = field(default_factory=LiverSettings)
    workers: int | None = None
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = {
            "workers": (self.workers is None or self.workers >= 1, "at least 1, or null"),
            "memory_gb": (self.memory_gb is None or self.memory_gb > 0, "more than 0, or null"),
        }
        check_fields(self, valid, remedy="Correct it.")

    @property
    def share(self) -> Share:
        """What one subject may take of the machine."""
        settings = self.brain if self.task.kind is Task.SEGMENTATION else self.liver
        return Share(self.memory_gb or MEMORY_GB[self.task.kind], settings.threads)


def pipeline_of(config: PreprocessRun, rules: MaskRules) -> Pipeline:
    """What is done to each subject.

    Args:
        config: the run.
        rules: how the data set's masks are read, which holds beside what the configuration says.

    Raises:
        InputError: the extra ``preprocess`` is not installed.
    """
    if config.task.kind is Task.DETECTION:
        liver = config.liver
        return liver_pipeline(replace(liver, resample_masks=liver.resample_masks or rules.resample))
    brain = config.brain
    ignored = rules.ignored_label if brain.ignored_label is None else brain.ignored_label
    resample = brain.resample_masks or rules.resample
    return brain_pipeline(replace(brain, resample_masks=resample, ignored_label=ignored))


def run(config: PreprocessRun) -> Path:
    """Prepare every subject that is not there yet; a table names the visits of all that are.

    Returns:
        The run's folder.

    Raises:
        InputError: the data set is not read from files, files have changed since they were prepared, or
            there are problems with some subjects; by then the others are ready and the problems written.
    """
    dataset = read_from_files(config.dataset)
    listings = dataset.listings()
    found = find_subjects(listings)
    check_place(run_folder(config, STAGE), [listing.root for listing in listings if listing.root.is_dir()])
    inputs = {f"subject {subject.name}": subject.label for subject in found.subjects}
    another = _is_another(config)
    if another:
        check_nothing_is_lost(run_folder(config, STAGE))
    with open_run(replace(config, overwrite=another), STAGE, inputs) as opened:
        folder = opened.folder
        _remove_parts(folder)
        ready = _ready(config, folder, found.subjects)
        (folder / DONE).unlink(missing_ok=True)
        describe(folder, listings)
        write_ready(folder, found.subjects, ready, listings)
        problems = [*found.problems, *_prepare_missing(config, folder, found, listings, ready)]
        tell(folder, problems, listings)
        if ready:
            words = next_words(folder, dataset, listings, config.task.kind)
            if all(record.annotated for record in ready.values()):
                logger.info("next: %s", as_typed("inspect", *words))
            else:
                drafts = as_typed("segment", *words, "base=...")
                logger.info("next, to draft the lesion masks that are not there yet: %s", drafts)
        if problems:
            raise _failure(folder, found, ready, problems)
        finish(folder)
    return folder


def _failure(
    folder: Path, found: Found, ready: dict[str, Record], problems: Listed[InputError]
) -> InputError:
    every = {subject.name for subject in found.subjects} | found.broken
    failed = f"{len(every - ready.keys())} of {len(every)} subjects that could not be prepared"
    return InputError(
        folder,
        found=f"{failed} (problems: {len(problems)}, listed above and in {folder / PROBLEMS})",
        expected="none",
        remedy="Mend them and repeat the command, which prepares what is missing."
        + (f" {folder / SCANS} names those that are ready." if ready else ""),
    )


def _is_another(config: PreprocessRun) -> bool:
    """Whether ``overwrite`` is to replace the whole run, because it had another configuration."""
    identity = run_folder(config, STAGE) / IDENTITY
    if not config.overwrite or not identity.exists():
        return False
    return json.loads(identity.read_text(encoding="utf-8"))["configuration"] != config_hash(config)


def _remove_parts(folder: Path) -> None:
    """Delete what a process that was ended left of its subject."""
    for part in folder.glob(PARTS):
        shutil.rmtree(part, ignore_errors=True)


def _ready(config: PreprocessRun, folder: Path, subjects: Listed[Subject]) -> dict[str, Record]:
    """The records of the subjects that need not be prepared, by name.

    Raises:
        InputError: files have changed since they were prepared, and ``overwrite`` is False.
    """
    ready: dict[str, Record] = {}
    changed = []
    for subject in tqdm(subjects, desc="looking at what is there", unit="subject", leave=False):
        record = find_record(folder, subject.label)
        if record is None:
            continue
        differences = record.differences(subject)
        if not differences:
            ready[subject.name] = record
        elif not config.overwrite:
            changed.append(
                InputError(
                    folder / subject.label,
                    found=f"what was prepared from other inputs ({', '.join(differences)})",
                    expected=f"the inputs of {subject.name} as they are now",
                    remedy="overwrite=true prepares such subjects again; or choose another name=.",
                )
            )
    if changed:
        raise combined(folder, changed)
    return ready


def _prepare_missing(
    config: PreprocessRun,
    folder: Path,
    found: Found,
    listings: Listed[Listing],
    ready: dict[str, Record],
) -> list[InputError]:
    """Prepare the subjects that are not ready, and add each to those that are; the errors of the others."""
    missing = {subject.label: subject for subject in found.subjects if subject.name not in ready}
    if not missing:
        logger.info("nothing to prepare")
        return []
    pipeline, sources = pipeline_of(config, listings[0].rules), sources_of(listings)
    tasks = {
        label: partial(prepare, subject, pipeline, folder, sources) for label, subject in missing.items()
    }
    share = config.share
    workers = config.workers or workers_for(len(tasks), share)
    logger.info("subjects: %d, at once: %d, with up to %g GB each", len(tasks), workers, share.memory_gb)
    outcomes = run_all(tasks, workers=workers, share=share, logs=folder / LOGS)
    bar = tqdm(total=len(tasks), desc="preparing subjects", unit="subject", leave=False)
    problems = []
    try:
        with logging_redirect_tqdm(), closing(outcomes), bar:
            for label, outcome in outcomes:
                bar.update()
                subject = missing[label]
                if isinstance(outcome, InputError):
                    logger.error("%s: failed", subject.name)
                    problems.append(_naming_files(outcome, subject))
                    continue
                ready[subject.name] = outcome
                write_ready(folder, found.subjects, ready, listings)
                spent = (subject.name, outcome.seconds, outcome.peak_memory_gb)
                logger.info("%s: ready after %.0f s, with at most %.1f GB", *spent)
    finally:
        _remove_parts(folder)
    return problems


def _naming_files(error: InputError, subject: Subject) -> InputError:
    """An error that knows no more than the subject, with the subject's files."""
    if error.where != subject.label:
        return error
    where = f"{subject.name} ({', '.join(map(str, subject.files))})"
    return InputError(where, found=error.found, expected=error.expected, remedy=error.remedy)


@hydra.main(version_base="1.3", config_path="../conf", config_name="preprocess")
@command(PreprocessRun)
def main(config: PreprocessRun) -> None:
    """Prepare, and end with an error where a subject could not be."""
    run(config)


if __name__ == "__main__":
    register_resolvers(PreprocessRun, STAGE)
    main()
