"""Look at a data set before anything long: what is there, what is wrong with it, and pictures of all of it.

python -m experiments.inspect dataset=bids dataset.root=FOLDER
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import hydra
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments.config import RunConfig
from experiments.datasets import Dataset, FilesDataset
from experiments.launch import command, register_resolvers
from experiments.parsing import run_folder
from psft_jax.data.checks import copies_among
from psft_jax.data.diagnosis import diagnose
from psft_jax.data.inspection import InspectedVisit, check_usable, inspect_scan
from psft_jax.data.visit_files import Role, roles_in_order
from psft_jax.errors import InputError, check_fields
from psft_jax.reporting.contact_sheet import Strip, contact_sheet, strip_of
from psft_jax.reporting.figures import save_figure
from psft_jax.reporting.grid import print_grid
from psft_jax.reporting.inspection import problems_frame, visits_frame, visits_grid, write_frame
from psft_jax.scan import Cohort, Provenance, Scan, Sequence, Visit

STAGE = "inspect"
VISITS, PROBLEMS, SHEETS = "inspect.csv", "problems.csv", "contact_sheets"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InspectRun(RunConfig):
    """``python -m experiments.inspect``.

    Args:
        per_sheet: visits on one contact sheet; 0 for no sheets.
    """

    per_sheet: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(
            self, {"per_sheet": (self.per_sheet >= 0, "0 (no sheets) or more")}, remedy="Correct it."
        )


@dataclass(frozen=True)
class Listed:
    """A visit to look at: its role, its sequences, and, where it has files, what is wrong with them."""

    visit: Visit
    role: Role
    sequences: tuple[Sequence, Sequence]
    diagnose: Callable[[], list[InputError]] = list


@dataclass(frozen=True)
class Found:
    """A data set before any scan is read."""

    name: str
    provenance: Provenance
    visits: tuple[Listed, ...]
    problems: tuple[InputError, ...]
    notes: tuple[str, ...]


def run(config: InspectRun) -> Path:
    """Look at every visit, one in memory at a time; write a table of visits, one of problems, contact sheets.

    Returns:
        The run's folder.

    Raises:
        InputError: there are problems; they have been written and logged by then.
    """
    folder = run_folder(config, STAGE)
    found = _found(config.dataset)
    shutil.rmtree(folder / SHEETS, ignore_errors=True)
    sheets = _Sheets(folder / SHEETS, found, config.per_sheet)
    with logging_redirect_tqdm():
        bar = tqdm(found.visits, desc="looking at visits", unit="visit", leave=False)
        visits = [_look(listed, sheets) for listed in bar]
    sheets.flush()
    problems = _all_problems(found, visits) or _of_the_whole(config.dataset)
    write_frame(folder / VISITS, visits_frame(visits))
    write_frame(folder / PROBLEMS, problems_frame(problems))
    print_grid(visits_grid(visits, heading=f"{found.name}: what was found", provenance=found.provenance))
    _tell(found, visits, problems)
    logger.info("table and contact sheets: %s", folder)
    if problems:
        raise InputError(
            found.name,
            found=f"problems ({len(problems)}), listed above and in {folder / PROBLEMS}",
            expected="none",
            remedy="Mend them, or leave these visits out, and inspect again.",
        )
    return folder


def _tell(found: Found, visits: list[InspectedVisit], problems: list[InputError]) -> None:
    for note in found.notes:
        logger.info("note: %s", note)
    for visit in visits:
        for remark in visit.scan.remarks if visit.scan else ():
            logger.warning("look at %s: %s", visit.name, remark)
    for copies in copies_among(file for listed in found.visits for file in listed.visit.files):
        logger.warning("look at these files, whose bytes are the same: %s", ", ".join(map(str, copies)))
    for number, problem in enumerate(problems, 1):
        logger.error("problem %d: %s", number, problem)


def _found(dataset: Dataset) -> Found:
    if not isinstance(dataset, FilesDataset):
        cohort = dataset.raw_cohort()
        return Found(cohort.name, cohort.provenance, tuple(_generated(cohort)), (), ())
    listings = dataset.listings()
    return Found(
        name=listings[0].name,
        provenance=dataset.provenance,
        visits=tuple(
            Listed(
                listing.visit(files),
                files.role,
                listing.sequences,
                partial(diagnose, files, listing.sequences, listing.rules),
            )
            for listing in listings
            for files in listing.visits
        ),
        problems=tuple(problem for listing in listings for problem in listing.problems),
        notes=tuple(note for listing in listings for note in listing.notes),
    )


def _generated(cohort: Cohort) -> Iterator[Listed]:
    for patient in (*cohort.training, *cohort.test):
        trains = patient in cohort.training
        roles = [Role.TRAINING] * len(patient.visits) if trains else roles_in_order(len(patient.visits))
        for visit, role in zip(patient.visits, roles, strict=True):
            yield Listed(visit, role, cohort.sequences)


def _look(listed: Listed, sheets: _Sheets) -> InspectedVisit:
    """Read one visit; it is let go when this returns."""
    visit = InspectedVisit(listed.visit.subject, listed.visit.session, listed.role, None)
    try:
        scan = listed.visit.load()
    except InputError as error:
        return replace(visit, problems=tuple(listed.diagnose() or [error]))
    visit = replace(visit, scan=inspect_scan(scan, listed.sequences))
    sheets.add(scan, listed)
    try:
        check_usable(scan, listed.role)
    except InputError as error:
        return replace(visit, problems=(error,))
    return visit


def _all_problems(found: Found, visits: list[InspectedVisit]) -> list[InputError]:
    """Those of the listing first; a file of which the headers told already is not told of again."""
    told = {problem.where for problem in found.problems}
    of_visits = (problem for visit in visits for problem in visit.problems)
    return [*found.problems, *(problem for problem in of_visits if problem.where not in told)]


def _of_the_whole(dataset: Dataset) -> list[InputError]:
    """What is wrong with the cohort although nothing is with its visits, such as the number of phases."""
    try:
        dataset.raw_cohort()
    except InputError as error:
        return [error]
    return []


class _Sheets:
    """Contact sheets, written as soon as one is full."""

    def __init__(self, folder: Path, found: Found, per_sheet: int) -> None:
        self._folder, self._found, self._per_sheet = folder, found, per_sheet
        self._strips: list[Strip] = []
        self._written = 0

    def add(self, scan: Scan, listed: Listed) -> None:
        """A visit's pictures."""
        if not self._per_sheet:
            return
        name = f"{scan.subject}\n{scan.session} ({listed.role})"
        self._strips.append(strip_of(scan, listed.sequences, name))
        if len(self._strips) == self._per_sheet:
            self.flush()

    def flush(self) -> None:
        """Write what has been added since the last sheet."""
        if not self._strips:
            return
        self._written += 1
        title = f"{self._found.name}, sheet {self._written}"
        sheet = contact_sheet(self._strips, title=title, provenance=self._found.provenance)
        save_figure(sheet, self._folder / f"sheet_{self._written:03d}.png", overwrite=True)
        self._strips = []


@hydra.main(version_base="1.3", config_path="../conf", config_name="inspect")
@command(InspectRun)
def main(config: InspectRun) -> None:
    """Look, and end with an error where there is a problem."""
    run(config)


if __name__ == "__main__":
    register_resolvers(InspectRun, STAGE)
    main()
