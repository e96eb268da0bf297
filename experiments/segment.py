"""Lesion masks by a base CNN for the visits that nobody has annotated: drafts to correct, or a first look.

python -m experiments.segment base=RUN dataset=table dataset.path=scans.csv
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import pandas as pd

from experiments.config import BasedRun, TaskConfig
from experiments.datasets import read_from_files
from experiments.derivative import NETWORKS, PLAIN, SAMPLED
from experiments.heads import Start
from experiments.launch import BASE_CNN, as_typed, command, finish, open_run, register_resolvers
from experiments.made_by import made_by
from experiments.next_command import SCANS, next_words
from experiments.patient import BASE, outcome, write_figures, write_volumes
from experiments.visit_by_visit import Failures, check_all_done, each
from psft_jax.data.bids_derivative import write_sidecar
from psft_jax.data.normalise import normalise
from psft_jax.data.table_writing import write_scans
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError, check_fields
from psft_jax.evaluation.rows import RESULTS, write_table
from psft_jax.files import sha256_of
from psft_jax.inference.volume import predict
from psft_jax.model.dropout import Masks
from psft_jax.scan import Cohort, Visit
from psft_jax.training.saved import load_base

STAGE = "segment"
VISITS = "visits"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SegmentRun(BasedRun):
    """``python -m experiments.segment``.

    Args:
        task: segmentation or detection.
        monte_carlo_samples: dropout samples of the uncertainty; 0 for none.
        monte_carlo_masks: what a dropout mask is drawn for.
    """

    task: TaskConfig
    monte_carlo_samples: int = 0
    monte_carlo_masks: Masks = Masks.ELEMENTWISE

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = {"monte_carlo_samples": (self.monte_carlo_samples >= 0, "0 (no uncertainty) or more")}
        check_fields(self, valid, remedy="The paper draws 25.")


def run(config: SegmentRun) -> Path:
    """Segment every visit without a lesion mask, and write a table in which those to tune on have one.

    Returns:
        The run's folder.

    Raises:
        InputError: the base CNN does not fit, no visit lacks a mask, or some visits could not be done; the
            others are kept.
    """
    dataset = read_from_files(config.dataset)
    # Nobody needs a lesion mask here.
    listings = [replace(listing, annotated=False) for listing in dataset.listings()]
    record, base = load_base(config.base_folder)
    cohort = dataset.cohort_of(listings).map(normalise)
    record.check_fits(cohort, config.task.kind)
    start = Start(record, base, cohort, config.task, config.precision, config.hardware)
    files = [files for listing in listings for files in listing.visits]
    missing = _without_mask(cohort, files)
    inputs = {f"files of {visit.name}": sha256_of(visit.files) for visit in missing}
    with open_run(config, STAGE, {BASE_CNN: record.sha256, **inputs}) as opened:
        folder = opened.folder
        work = partial(_segmented, start=start, config=config, folder=folder)
        tables, failures = each(missing, work, doing="segmenting")
        if tables:
            write_table(folder / RESULTS.file, pd.concat(tables, ignore_index=True), overwrite=True)
        first, second = (sequence.name for sequence in cohort.sequences)
        write_scans(folder / SCANS, [_row(one, folder, failures) for one in files], (first, second))
        if not failures:
            finish(folder)
    words = next_words(folder, dataset, listings, config.task.kind)
    logger.info("drafts: %s", folder / VISITS)
    logger.info("correct the baselines' masks, then: %s", as_typed("finetune", *words, "base=..."))
    check_all_done(folder, failures, expected="a mask for every visit", remedy="Mend them.")
    return folder


def _without_mask(cohort: Cohort, files: Sequence[VisitFiles]) -> list[Visit]:
    annotated = {(one.subject, one.session) for one in files if one.lesion is not None}
    everyone = (*cohort.training, *cohort.test)
    visits = [visit for patient in everyone for visit in patient.visits]
    missing = [visit for visit in visits if (visit.subject, visit.session) not in annotated]
    if not missing:
        raise InputError(
            cohort.name,
            found="a lesion mask for every visit",
            expected="visits that nobody has annotated",
            remedy="There is nothing to draft: go on with experiments.finetune.",
        )
    return missing


def _segmented(visit: Visit, start: Start, config: SegmentRun, folder: Path) -> pd.DataFrame:
    """The results of a visit, which is segmented if it is not done yet: a folder with a table is complete."""
    home = folder / VISITS / visit.name
    table = home / RESULTS.file
    if not table.exists():
        shutil.rmtree(home, ignore_errors=True)  # half of an interrupted run
        _segment(visit, start, config, home)
    return pd.read_csv(table)


def _segment(visit: Visit, start: Start, config: SegmentRun, home: Path) -> None:
    scan = visit.load()
    (prediction,) = predict(
        start.network,
        [start.base],
        scan,
        samples=config.monte_carlo_samples,
        masks=config.monte_carlo_masks,
        seed=config.seed,
    )
    found = outcome(prediction, scan, start, BASE, config.seed)
    home.mkdir(parents=True)
    write_volumes(home, prediction, found.mask, scan)
    for kind in (*PLAIN, *(SAMPLED if config.monte_carlo_samples else ())):
        told: dict[str, Any] = {"Description": kind.description.format(network=NETWORKS[BASE])}
        told |= made_by(start.record, visit.files, config.task.threshold)
        write_sidecar(home / f"{scan.name}_{kind.file}.nii.gz", told)
    write_figures(home, scan, {BASE: found}, start)
    write_table(home / RESULTS.file, found.tables[RESULTS.file])


def _row(files: VisitFiles, folder: Path, failures: Failures) -> VisitFiles:
    """A visit as the table names it; only what a network learns from needs a mask."""
    named = files.absolute()
    if files.lesion is not None or files.role is Role.FOLLOW_UP or files.name in failures:
        return named
    return replace(named, lesion=Path(VISITS, files.name, f"{files.name}_mask.nii.gz"))


@hydra.main(version_base="1.3", config_path="../conf", config_name="segment")
@command(SegmentRun)
def main(config: SegmentRun) -> None:
    """Segment, and say where the results lie."""
    folder = run(config)
    logger.info("volumes: %s", folder / RESULTS.file)


if __name__ == "__main__":
    register_resolvers(SegmentRun, STAGE)
    main()
