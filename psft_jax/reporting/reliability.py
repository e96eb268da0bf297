"""What was predicted against what was observed, bin by bin: probabilities, and their SD against errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psft_jax.errors import InputError
from psft_jax.evaluation import calibration, uncertainty
from psft_jax.evaluation.bins import pooled
from psft_jax.evaluation.calibration import expected_calibration_error
from psft_jax.reporting.figures import BLUE, GREY, new_figure
from psft_jax.scan import Provenance

_WITHOUT_BACKGROUND = 0.05
"""The lowest bin holds nearly all voxels of an organ, and hides what happens in and around the lesions."""
_FEWEST_VOXELS = 10
"""The observed fraction of fewer voxels says nothing, and has no point."""


@dataclass(frozen=True)
class _Kind:
    """What a diagram shows: columns of the mean prediction and the observed share, their axes, its title."""

    columns: tuple[str, str]
    x_label: str
    y_label: str
    top: float
    keys: tuple[Line2D, ...]
    told: Callable[[pd.DataFrame], str]


def reliability_figure(
    table: pd.DataFrame, variants: Sequence[str], *, title: str, provenance: Provenance
) -> Figure:
    """Reliability diagram: lesion fraction against predicted probability, and voxels a bin (Guo et al. 2017).

    The thick line pools the voxels of all patients and seeds, the thin ones are single patients; bins of few
    voxels have no point. Above each panel stands the expected calibration error, also without the lowest bin.

    Args:
        table: rows of ``calibration.csv`` of one task and data set.
        variants: one column each.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: a variant has no voxels.
    """
    kind = _Kind(
        calibration.COLUMNS,
        "Predicted probability",
        "Fraction of lesion voxels",
        1.0,
        (Line2D([], [], color=GREY, linestyle="--", label="perfectly calibrated"),),
        _calibration_error,
    )
    return _binned_figure(table, variants, kind, title, provenance)


def sd_error_figure(
    table: pd.DataFrame, variants: Sequence[str], *, title: str, provenance: Provenance
) -> Figure:
    """Fraction of wrong voxels against the SD of the lesion probability, and voxels a bin.

    A network whose SD is worth looking at is wrong where it is large.

    Args:
        table: rows of ``sd_against_error`` with the columns ``patient`` and ``variant``.
        variants: one column each.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: a variant has no voxels.
    """
    kind = _Kind(
        uncertainty.COLUMNS,
        "SD of the lesion probability",
        "Fraction of wrong voxels",
        uncertainty.LARGEST_SD,
        (),
        _patients,
    )
    return _binned_figure(table, variants, kind, title, provenance)


def _calibration_error(rows: pd.DataFrame) -> str:
    error = expected_calibration_error(rows)
    inner = expected_calibration_error(rows, above=_WITHOUT_BACKGROUND)
    without = "no voxels but in" if math.isnan(inner) else f"{inner:.3f} without"
    return f"{_patients(rows)}, ECE {error:.3f}\n{without} the lowest bin"


def _patients(rows: pd.DataFrame) -> str:
    return f"n = {rows['patient'].nunique()}"


def _binned_figure(
    table: pd.DataFrame, variants: Sequence[str], kind: _Kind, title: str, provenance: Provenance
) -> Figure:
    keys = [
        Line2D([], [], color=BLUE, linewidth=0.8, label="one patient"),
        Line2D([], [], color="black", linewidth=2.5, marker="o", label="all patients' voxels"),
        *kind.keys,
        Line2D([], [], linestyle="", label=f"(bins of {_FEWEST_VOXELS} voxels or more)"),
    ]
    figure = new_figure(3.3 * len(variants) + 0.5, 5.8, title=title, provenance=provenance, keys=keys)
    axes = figure.subplots(2, len(variants), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
    for variant, (above, below) in zip(variants, axes.T, strict=True):
        rows = _rows_of(table, variant)
        _lines(above, rows, kind)
        above.set_title(f"{variant}\n{kind.told(rows)}", fontsize=10)
        _voxels(below, rows, kind)
        below.set_xlabel(kind.x_label)
    # Last, because it ends the scaling to what is drawn, and all columns share it. One voxel is to be seen.
    axes[0, 0].set_ylim(bottom=-0.02)
    axes[1, 0].set_ylim(bottom=0.5)
    axes[0, 0].set_ylabel(kind.y_label)
    axes[1, 0].set_ylabel("Voxels")
    return figure


def _rows_of(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    rows = table[table["variant"] == variant]
    if not rows["voxels"].any():
        known = ", ".join(map(str, table.loc[table["voxels"] > 0, "variant"].unique()))
        raise InputError(
            "voxels by their prediction",
            found=f"none of variant {variant}",
            expected=f"one of {known or 'the variants that were run'}",
            remedy="Choose another variant, or run it on patients with a reference annotation.",
        )
    return rows


def _lines(axes: Axes, rows: pd.DataFrame, kind: _Kind) -> None:
    x, y = kind.columns
    if kind.keys:
        axes.plot((0, 1), (0, 1), color=GREY, linestyle="--", linewidth=1)
    for _, patient in rows.groupby("patient"):
        bins = _shown(patient, kind)
        axes.plot(bins[x], bins[y], color=BLUE, linewidth=0.8, alpha=0.6)
    bins = _shown(rows, kind)
    axes.plot(bins[x], bins[y], color="black", linewidth=2.5, marker="o", markersize=4)
    axes.set_xlim(0, kind.top)
    axes.grid(alpha=0.3)


def _shown(rows: pd.DataFrame, kind: _Kind) -> pd.DataFrame:
    bins = pooled(rows, names=kind.columns)
    return bins[bins["voxels"] >= _FEWEST_VOXELS]


def _voxels(axes: Axes, rows: pd.DataFrame, kind: _Kind) -> None:
    bins = pooled(rows, names=kind.columns)
    width = bins["upper"] - bins["lower"]
    axes.bar(bins["lower"], bins["voxels"], width, align="edge", color=GREY, edgecolor="white", linewidth=0.5)
    axes.set_yscale("log")
    axes.grid(axis="y", alpha=0.3)
