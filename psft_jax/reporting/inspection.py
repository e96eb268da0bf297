"""The tables of an inspected data set: a row a visit, in words and in numbers, and a row a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from psft_jax.data.inspection import InspectedVisit
from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.scan import Provenance

_OBLIQUE_DEG = 1.0
_PROBLEM = ("where", "found", "expected", "remedy")


def visits_grid(visits: Sequence[InspectedVisit], *, heading: str, provenance: Provenance) -> Grid:
    """The visits in words."""
    names = list(dict.fromkeys(name for visit in visits if visit.scan for name in visit.scan.intensities))
    broken = sum(visit.scan is None for visit in visits)
    return Grid(
        heading=heading,
        provenance=provenance,
        population=f"{len(visits)} visits" + (f", {broken} of which make no scan" if broken else ""),
        header=("Visit", "Grid (Z Y X)", "Organ", "Lesions", *names),
        rows=tuple(tuple(map(Cell, _cells(visit, names))) for visit in visits),
        notes=(
            "Grid: voxels and spacing of the arrays, whose axes run from inferior to superior, posterior to "
            "anterior and left to right; where the axes of the file point to, and how oblique they are.",
            "Sequences: smallest and largest value inside the organ.",
        ),
    )


def visits_frame(visits: Sequence[InspectedVisit]) -> pd.DataFrame:
    """The visits in numbers, a row each; what could not be read is empty."""
    return pd.DataFrame([_row(visit) for visit in visits])


def problems_frame(problems: Sequence[InputError]) -> pd.DataFrame:
    """Where, what was found, what was expected, what to do: a row a problem."""
    return pd.DataFrame(
        [[getattr(problem, name) for name in _PROBLEM] for problem in problems], columns=list(_PROBLEM)
    )


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all, over an earlier one."""
    with atomic_path(path, overwrite=True) as temporary:
        frame.to_csv(temporary, index=False)


def _cells(visit: InspectedVisit, names: list[str]) -> list[str]:
    named, scan = f"{visit.name}, {visit.role}", visit.scan
    if scan is None:
        return [named, "see the problems", *[""] * (2 + len(names))]
    oblique = f" oblique {scan.oblique_deg:.0f}°" if scan.oblique_deg >= _OBLIQUE_DEG else ""
    shape = " ".join(map(str, scan.shape))
    spacing = " ".join(f"{mm:.3g}" for mm in scan.spacing_mm)
    ranges = [scan.intensities.get(name) for name in names]
    return [
        named,
        f"{shape}, {spacing} mm, {scan.orientation}{oblique}",
        f"{scan.organ_ml:.0f} mL",
        "no mask" if scan.lesions is None else f"{scan.lesions}, {scan.lesion_ml:.2f} mL",
        *(f"{values.minimum:.4g} to {values.maximum:.4g}" if values else "" for values in ranges),
    ]


def _row(visit: InspectedVisit) -> dict[str, object]:
    row: dict[str, object] = {"subject": visit.subject, "session": visit.session, "role": visit.role.value}
    row["problems"] = "; ".join(map(str, visit.problems))
    scan = visit.scan
    if scan is None:
        return row
    for axis, size, spacing in zip("zyx", scan.shape, scan.spacing_mm, strict=True):
        row |= {f"voxels_{axis}": size, f"spacing_{axis}_mm": spacing}
    row |= {"orientation": scan.orientation, "oblique_deg": scan.oblique_deg}
    row |= {"organ_ml": scan.organ_ml, "lesions": scan.lesions, "lesion_ml": scan.lesion_ml}
    for channels, (name, values) in zip(scan.channels, scan.intensities.items(), strict=True):
        row[f"{name}_channels"] = channels
        row |= {f"{name}_{what}": value for what, value in asdict(values).items()}
    return {**row, "remarks": "; ".join(scan.remarks)}
