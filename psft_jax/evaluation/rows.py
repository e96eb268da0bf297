"""Tidy results: one row a case, model and measure, in a CSV file that any tool reads.

The file ends with an empty line. CSV readers skip it, and a file that was cut off anywhere does not have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.scan import Task


@dataclass(frozen=True)
class Row:
    """One value; the fields are the file's columns, in their order."""

    dataset: str
    task: Task
    patient: str
    session: str
    model: str
    variant: str
    seed: int
    metric: str
    value: float


COLUMNS = tuple(field.name for field in fields(Row))


def to_rows(
    values: Mapping[str, float],
    *,
    dataset: str,
    task: Task,
    patient: str,
    session: str,
    model: str,
    variant: str,
    seed: int,
) -> list[Row]:
    """One case's measures (from ``evaluate``) as rows."""
    return [
        Row(dataset, task, patient, session, model, variant, seed, metric, value)
        for metric, value in values.items()
    ]


def write_results(path: Path, rows: Iterable[Row] | pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write rows to a CSV file, whole or not at all.

    Args:
        path: the file to write.
        rows: new ones, or a table of those that ``read_results`` gave.
        overwrite: replace a file that is already there.

    Raises:
        InputError: the file exists and ``overwrite`` is False.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=list(COLUMNS))
    with atomic_path(path, overwrite=overwrite) as temporary:
        text = frame.to_csv(index=False, na_rep="nan", lineterminator="\n")
        temporary.write_text(text + "\n", encoding="utf-8")


def read_results(path: Path) -> pd.DataFrame:
    """Read what ``write_results`` wrote: strings, but for an integer seed and a float value.

    Raises:
        InputError: there is no such file, it was cut off, a column is missing, or a cell cannot be read.
    """
    remedy = "Run the step that writes these results again, or copy the file again."
    if not path.is_file():
        raise InputError(path, found="no such file", expected="a file of results", remedy=remedy)
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n\n"):
        raise InputError(
            path,
            found="a file that was cut off",
            expected="an empty line at its end, which every complete file of results has",
            remedy=remedy,
        )
    header = text.splitlines()[0].split(",")
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(
            path, found=f"no column {', '.join(missing)}", expected=",".join(COLUMNS), remedy=remedy
        )
    try:
        # Text first: "NA" and "001" stay what they are, and NumPy reads back every digit of a value.
        frame = pd.read_csv(path, usecols=list(COLUMNS), dtype=str, keep_default_na=False)[list(COLUMNS)]
        return frame.astype({"seed": int, "value": float})
    except ValueError as error:  # pandas' parser errors are ValueErrors too
        raise InputError(
            path,
            found=f"a cell that cannot be read ({error})",
            expected="an integer seed and a number for a value in every row",
            remedy=remedy,
        ) from error
