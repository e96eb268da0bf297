"""The table that ``psft_jax.data.table`` reads, of visits that have been prepared."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from psft_jax.data.table import BETWEEN_FILES, LESION, ORGAN, ROLE, SESSION, SUBJECT
from psft_jax.data.visit_files import VisitFiles
from psft_jax.files import atomic_path


def write_scans(path: Path, visits: Iterable[VisitFiles], sequences: tuple[str, str]) -> None:
    """Write a row for each visit, over an earlier table.

    Args:
        path: the table.
        visits: their files relative to the table's folder.
        sequences: names of the columns of the two sequences.
    """
    with (
        atomic_path(path, overwrite=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as opened,
    ):
        table = csv.writer(opened, lineterminator="\n")
        table.writerow([SUBJECT, SESSION, ROLE, *sequences, ORGAN, LESION])
        for visit in visits:
            images = (BETWEEN_FILES.join(map(Path.as_posix, files)) for files in visit.sequences)
            masks = ("" if mask is None else mask.as_posix() for mask in (visit.organ, visit.lesion))
            table.writerow([visit.subject, visit.session, visit.role.value, *images, *masks])
