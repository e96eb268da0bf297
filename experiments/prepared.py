"""What a run of ``preprocess`` leaves beside the subjects' folders."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from collections.abc import Sequence as Listed
from pathlib import Path

from experiments.launch import CONFIG, DONE, IDENTITY
from experiments.next_command import SCANS, sequence_names
from psft_jax.data.bids_derivative import DESCRIPTION, Sources, write_dataset_description
from psft_jax.data.listing import Listing
from psft_jax.data.table_writing import write_scans
from psft_jax.errors import InputError
from psft_jax.files import write_text
from psft_jax.preprocess.subjects import RECORD, Record, Subject, check_nothing_else, not_ours
from psft_jax.reporting.inspection import problems_frame, write_frame

PROBLEMS, LOGS = "problems.csv", "log"
PARTS = ".sub-*"
"""Folders of subjects that are not whole."""
RUN_FILES = (SCANS, PROBLEMS, LOGS, "*.log", CONFIG, IDENTITY, DONE, f"*{RECORD}")
NOT_BIDS = (*RUN_FILES, "*_xfm.*", "*_DCE.*", "*_DWI.*")
"""What a validator of BIDS is to pass over: BIDS has no names for transforms and for scans of the liver."""
README = """# {name}, preprocessed

Scans of {name} ({provenance} data), made ready for lesion quantification with psft_jax. `scans.csv` names the
visits that are ready. Each file has a JSON file beside it: what it was made from, with SHA-256, and how.

Research software: not for diagnosis or treatment.
"""

logger = logging.getLogger(__name__)


def sources_of(listings: Listed[Listing]) -> Sources:
    """The folders of the originals, by what sidecars call them."""
    return Sources({f"raw{n if n > 1 else ''}": found.folder for n, found in enumerate(listings, 1)})


def describe(folder: Path, listings: Listed[Listing]) -> None:
    """Make the run's folder a BIDS derivative, where it is none yet."""
    if (folder / DESCRIPTION).exists():
        return
    first = listings[0]
    readme = README.format(name=first.name, provenance=first.provenance)
    for name, text in ((".bidsignore", "\n".join((*NOT_BIDS, ""))), ("README.md", readme)):
        write_text(folder / name, text, overwrite=True)
    write_dataset_description(
        folder,
        name=f"{first.name}, preprocessed",
        description="Raw scans, made ready for lesion quantification",
        sources=sources_of(listings),
    )


def check_nothing_is_lost(folder: Path) -> None:
    """Make sure that a run's folder, before it is replaced, holds nothing that somebody put there.

    Raises:
        InputError: it does.
    """
    for home in sorted(folder.glob("sub-*")):
        check_nothing_else(folder, home.name)
    ours = (*RUN_FILES, PARTS, ".bidsignore", "README.md", DESCRIPTION, "sub-*")
    others = [file for file in sorted(folder.iterdir()) if not any(map(file.match, ours))]
    if others:
        raise not_ours(others)


def tell(folder: Path, problems: Listed[InputError], listings: Listed[Listing]) -> None:
    """Log the notes of the data set and all problems; write a table of the problems."""
    write_frame(folder / PROBLEMS, problems_frame(problems))
    for note in (note for listing in listings for note in listing.notes):
        logger.info("note: %s", note)
    for number, problem in enumerate(problems, 1):
        logger.error("problem %d: %s", number, problem)


def write_ready(
    folder: Path, subjects: Listed[Subject], ready: Mapping[str, Record], listings: Listed[Listing]
) -> None:
    """Write the table of the visits that are ready.

    Args:
        folder: of the run.
        subjects: in the order of the table.
        ready: the records of those that are, by name.
        listings: the data set.
    """
    records = (ready[subject.name] for subject in subjects if subject.name in ready)
    visits = [visit for record in records for visit in record.visits]
    write_scans(folder / SCANS, visits, sequence_names(listings))
