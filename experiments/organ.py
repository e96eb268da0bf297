"""Make organ masks for the visits that lack one, and a table in which every visit has one.

python -m experiments.organ base=RUN dataset=table_liver dataset.path=scans.csv
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import hydra
import pandas as pd

from experiments.config import BasedRun, OrganTaskConfig
from experiments.datasets import FilesDataset
from experiments.launch import BASE_CNN, as_typed, command, finish, open_run, register_resolvers
from experiments.next_command import SCANS, lesion_task, next_words
from experiments.organ_scans import OrganVisit, organ_visits
from experiments.organ_visit import Maker, made_before, make, mask_place
from experiments.patient import BASE
from experiments.visit_by_visit import Failures, check_all_done, each
from psft_jax.data.table_writing import write_scans
from psft_jax.data.visit_files import VisitFiles
from psft_jax.evaluation.rows import COLUMNS, RESULTS, to_rows, write_table
from psft_jax.reporting.grid import print_grid
from psft_jax.reporting.organ_masks import OrganMask, agreement_grid
from psft_jax.scan import Cohort
from psft_jax.training.saved import BaseRecord, load_base

STAGE = "organ"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OrganRun(BasedRun):
    """``python -m experiments.organ``; ``base`` is a run of ``train_base task=organ``."""

    task: OrganTaskConfig


def run(config: OrganRun) -> Path:
    """Make the masks that are missing, and compare where a test patient's visit has one, which is kept.

    Returns:
        The run's folder.

    Raises:
        InputError: the network does not fit, or some visits have no mask now; the others are kept.
    """
    record, base = load_base(config.base_folder)
    dataset = config.dataset
    listings = dataset.listings() if isinstance(dataset, FilesDataset) else ()
    cohort, visits = organ_visits(dataset, listings)
    record.check_fits(cohort, config.task.kind)
    maker = Maker(record, base, config.task.threshold, cohort.provenance)
    # Each mask knows the files that it was made from, so a finished run is looked through again.
    with open_run(config, STAGE, {BASE_CNN: record.sha256}) as opened:
        folder = opened.folder
        todo = [visit for visit in visits if visit.test or not visit.has_mask]
        work = partial(_mask, maker=maker, folder=folder)
        made, failures = each(todo, work, doing="organ masks")
        write_table(folder / RESULTS.file, _results(made, cohort, record), overwrite=True)
        _write_scans(folder, cohort, visits, failures)
        if not failures:
            finish(folder)
    _show(made, visits, cohort, record)
    if isinstance(dataset, FilesDataset) and (folder / SCANS).exists():
        words = next_words(folder, dataset, listings, lesion_task(dataset))
        logger.info("all visits with masks: %s", as_typed("inspect", *words))
    check_all_done(
        folder,
        failures,
        expected="an organ mask for every visit",
        remedy="These patients are not in the table. Mend the scans or draw the masks by hand.",
    )
    return folder


def _mask(visit: OrganVisit, maker: Maker, folder: Path) -> OrganMask:
    return made_before(visit, folder) or make(visit, maker, folder)


def _results(made: Sequence[OrganMask], cohort: Cohort, record: BaseRecord) -> pd.DataFrame:
    rows = [
        row
        for one in made
        for row in to_rows(
            one.measures,
            dataset=cohort.name,
            task=record.task,
            patient=one.patient,
            session=one.session,
            model=record.model_name,
            variant=BASE,
            seed=record.seed,
        )
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _write_scans(folder: Path, cohort: Cohort, visits: Sequence[OrganVisit], failures: Failures) -> None:
    """The table for the command that comes next; generated scans have no files that it could name.

    A patient with a visit that failed is left out: readers take an empty cell for skull-stripped images.
    """
    (folder / SCANS).unlink(missing_ok=True)
    failed = {visit.visit.subject for visit in visits if visit.name in failures}
    rows = [
        _row(visit, visit.files, folder)
        for visit in visits
        if visit.files is not None and visit.visit.subject not in failed
    ]
    if rows:
        first, second = cohort.sequences
        write_scans(folder / SCANS, rows, (first.name, second.name))


def _row(visit: OrganVisit, files: VisitFiles, folder: Path) -> VisitFiles:
    """The files of a visit as the table names them: a mask that was made by its place beside it."""
    named = files.absolute()
    return named if files.organ else replace(named, organ=mask_place(visit, folder).relative_to(folder))


def _show(
    made: Sequence[OrganMask], visits: Sequence[OrganVisit], cohort: Cohort, record: BaseRecord
) -> None:
    given = sum(visit.has_mask for visit in visits)
    notes = (
        f"{given} of {len(visits)} visits have a mask that was given: it is used and not replaced.",
        f"Network: {record.model_name}, seed {record.seed}, trained on {len(record.training_subjects)} "
        f"patients of {record.dataset} ({record.provenance}).",
    )
    heading = f"{cohort.name}: organ masks"
    if made:
        print_grid(agreement_grid(made, heading=heading, provenance=cohort.provenance, notes=notes))
    else:
        logger.info("%s", notes[0])


@hydra.main(version_base="1.3", config_path="../conf", config_name="organ")
@command(OrganRun)
def main(config: OrganRun) -> None:
    """Make the masks, and say where they lie."""
    logger.info("organ masks: %s", run(config))


if __name__ == "__main__":
    register_resolvers(OrganRun, STAGE)
    main()
