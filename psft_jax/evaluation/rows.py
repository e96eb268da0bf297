"""Tidy tables of results, in CSV files that any tool reads.

``results.csv`` has one row a case, model and measure. Beside it lie the lesions, the slices, the calibration
and the uncertainty in more detail; all begin with the same columns. A file ends with an empty line. CSV
readers skip it, and a file that was cut off anywhere does not have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.scan import AnyTask


@dataclass(frozen=True)
class Row:
    """One value; the fields are the file's columns, in their order."""

    dataset: str
    task: AnyTask
    patient: str
    session: str
    model: str
    variant: str
    seed: int
    metric: str
    value: float


COLUMNS = tuple(field.name for field in fields(Row))
CASE = COLUMNS[:7]
"""The columns that every table begins with."""


@dataclass(frozen=True)
class Table:
    """A kind of table: its file's name, and the type of each column after those of ``CASE``."""

    file: str
    columns: Mapping[str, type]


RESULTS = Table("results.csv", {"metric": str, "value": float})
LESIONS = Table(
    "lesions.csv",
    {"kind": str, "lesion": int, "volume_ml": float, "slice": int, "hit": int, "mean_sd": float},
)
"""One row an object of the reference (``kind`` reference; ``hit`` 0: missed) or of the prediction (predicted;
``hit`` 0: false positive), with the slice of its largest cross-section and its mean Monte Carlo SD."""
SLICES = Table(
    "slices.csv", {"slice": int, "true_positive": int, "false_negative": int, "false_positive": int}
)
"""Voxels of each slice that has any of them."""
CALIBRATION = Table(
    "calibration.csv",
    {"lower": float, "upper": float, "voxels": int, "probability": float, "lesion": float},
)
"""Organ voxels by their predicted probability: mean prediction and share of lesion voxels in each bin."""
UNCERTAINTY = Table(
    "uncertainty.csv", {"lower": float, "upper": float, "voxels": int, "sd": float, "error": float}
)
"""Organ voxels by their Monte Carlo SD: mean SD and share of wrong voxels in each bin."""
DETAILS = (LESIONS, SLICES, CALIBRATION, UNCERTAINTY)
TABLES = (*DETAILS, RESULTS)
"""What a patient's folder holds, in the order in which it is written: with the results it is complete."""


def to_rows(
    values: Mapping[str, float],
    *,
    dataset: str,
    task: AnyTask,
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


def write_table(path: Path, table: pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write a table to a CSV file, whole or not at all.

    Args:
        path: the file to write.
        table: its rows.
        overwrite: replace a file that is already there.

    Raises:
        InputError: the file exists and ``overwrite`` is False.
    """
    with atomic_path(path, overwrite=overwrite) as temporary:
        text = table.to_csv(index=False, na_rep="nan", lineterminator="\n")
        temporary.write_text(text + "\n", encoding="utf-8")


def read_results(path: Path) -> pd.DataFrame:
    """Read a file of measures: strings, but for an integer seed and a float value (``read_table``)."""
    return read_table(path, RESULTS)


def read_table(path: Path, kind: Table) -> pd.DataFrame:
    """Read what ``write_table`` wrote.

    Args:
        path: the file.
        kind: which table it holds.

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
    columns = [*CASE, *kind.columns]
    header = text.splitlines()[0].split(",")
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(
            path, found=f"no column {', '.join(missing)}", expected=",".join(columns), remedy=remedy
        )
    numbers = {name: cell for name, cell in kind.columns.items() if cell is not str}
    try:
        # Text first: "NA" and "001" stay what they are, and NumPy reads back every digit of a value.
        frame = pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False)[columns]
        return frame.astype({"seed": int, **numbers})
    except ValueError as error:  # pandas' parser errors are ValueErrors too
        raise InputError(
            path,
            found=f"a cell that cannot be read ({error})",
            expected="an integer seed and a number for a value in every row",
            remedy=remedy,
        ) from error
