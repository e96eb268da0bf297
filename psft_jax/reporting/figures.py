"""What all figures have in common, and the figures of numbers: losses, and pairs of base and fine-tuned.

Figures are built without pyplot, so that none stays behind in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psft_jax.errors import InputError
from psft_jax.evaluation.measures import MEASURES, by_statistics, statistics_of
from psft_jax.evaluation.statistics import summarise
from psft_jax.files import atomic_path
from psft_jax.reporting.patients import PatientValues, patient_values
from psft_jax.reporting.provenance import COLOUR, STATEMENT
from psft_jax.reporting.tables import paired_test_of
from psft_jax.reporting.wording import CENTRE, SIGNIFICANT_BELOW, TEST, labels, p_text
from psft_jax.scan import Provenance, Task

# Okabe and Ito's colours, which colour-blind eyes tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
_DPI = 150
_NARROWEST_IN = 5.5


def new_figure(
    width: float, height: float, *, title: str, provenance: Provenance, keys: Sequence[Artist] = ()
) -> Figure:
    """An empty figure with its title above, and below it where the images come from and the legend.

    Args:
        width: in inches; never less than the statement on the images needs.
        height: in inches, with title and legend.
        title: heading.
        provenance: where the images come from.
        keys: labelled lines or patches for the legend.
    """
    width = max(width, _NARROWEST_IN)
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold", wrap=True)
    legend = figure.legend(
        handles=list(keys),
        loc="outside lower center",
        ncols=3 if width > 7 else 2,
        frameon=False,
        title=STATEMENT[provenance],
    )
    legend.get_title().set(color=COLOUR[provenance], fontweight="bold")
    return figure


def panels(n: int, widest: int = 3) -> tuple[int, int]:
    """Rows and columns for ``n`` panels in rows of about the same length.

    >>> [panels(n) for n in (1, 3, 4, 5, 7)]
    [(1, 1), (1, 3), (2, 2), (2, 3), (3, 3)]
    """
    rows = -(-n // widest)
    return rows, -(-n // rows)


def save_figure(figure: Figure, path: Path, *, overwrite: bool = False) -> None:
    """Write a figure as PNG at 150 dpi, whole or not at all.

    Raises:
        InputError: the file exists and ``overwrite`` is False.
    """
    with atomic_path(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def loss_figure(metrics: pd.DataFrame, *, title: str, provenance: Provenance) -> Figure:
    """Training and validation loss against the iteration, on a logarithmic scale.

    Args:
        metrics: columns ``step``, ``loss`` and, where there was validation, ``validation_loss``; NaN in rows
            without a value.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: there is no loss.
    """
    training = _curve(metrics, "loss")
    if not len(training):
        raise InputError(
            "the run's metrics",
            found="no training loss",
            expected="columns step and loss with at least one value",
            remedy="Choose a run that has trained for at least one iteration.",
        )
    figure = new_figure(7.5, 4.5, title=title, provenance=provenance)
    axes = figure.add_subplot()
    # A single point makes no line, so few points are marked.
    marker = "." if len(training) < 3 else ""
    axes.plot(training.index, training, color=BLUE, linewidth=0.9, alpha=0.8, marker=marker, label="training")
    validation = _curve(metrics, "validation_loss")
    if len(validation):
        axes.plot(validation.index, validation, color=ORANGE, linewidth=1.5, marker="o", markersize=4)
        axes.lines[-1].set_label("validation")
        best = int(validation.argmin())
        step, lowest = int(validation.index[best]), float(validation.iloc[best])
        label = f"lowest validation: {lowest:.3g} at {step}"
        axes.plot(step, lowest, color="black", marker="*", markersize=13, linestyle="", label=label)
    axes.set(xlabel="Iteration", ylabel="Loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def _curve(metrics: pd.DataFrame, column: str) -> pd.Series:
    """A column's values by step, without the rows that have none."""
    if column not in metrics:
        return pd.Series(dtype=float)
    return metrics.dropna(subset=[column]).set_index("step")[column].astype(float).sort_index()


def paired_figure(
    results: pd.DataFrame,
    measures: Sequence[str],
    task: Task,
    base_variant: str,
    tuned_variant: str,
    *,
    title: str,
    provenance: Provenance,
) -> Figure:
    """For each measure a line a patient from base to fine-tuned, with the mean or median (bars) and p.

    Seeds are averaged within each patient. Patients without both values have no line; their number is told.

    Args:
        results: tidy rows of one data set, as ``read_results`` gives them.
        measures: names of measures, one panel each.
        task: whose rows are used, and how most of its measures are summarised and tested.
        base_variant: on the left of each panel.
        tuned_variant: on the right.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: a measure or variant is not in the results, or a patient lacks a variant.
    """
    values = patient_values(results, task)
    columns = min(len(measures), 4)
    rows = -(-len(measures) // columns)
    keys = _paired_keys(measures, task)
    figure = new_figure(2.5 * columns + 0.5, 3.0 * rows + 1.3, title=title, provenance=provenance, keys=keys)
    for number, measure in enumerate(measures):
        axes = figure.add_subplot(rows, columns, number + 1)
        _paired_panel(axes, values, measure, task, base_variant, tuned_variant)
    return figure


def _paired_keys(measures: Sequence[str], task: Task) -> list[Line2D]:
    """The legend; measures that are not summarised and tested as the first one is are named."""
    (usual, _), *others = by_statistics((MEASURES[name] for name in measures), task).items()
    return [
        Line2D([], [], color=BLUE, marker="o", label="better"),
        Line2D([], [], color=ORANGE, marker="o", linestyle="--", label="worse"),
        Line2D([], [], color=GREY, marker="o", label="no change, or neither"),
        Line2D([], [], color="black", linewidth=3, label=CENTRE[usual]),
        Line2D([], [], linestyle="", label=f"* p < {SIGNIFICANT_BELOW}, {TEST[usual]}"),
        *(
            Line2D([], [], linestyle="", label=f"{labels(group)}:\n{CENTRE[other]}, {TEST[other]}")
            for other, group in others
        ),
    ]


def _paired_panel(axes: Axes, values: PatientValues, measure: str, task: Task, base: str, tuned: str) -> None:
    before, after = values.of(base, measure), values.of(tuned, measure)
    both = np.isfinite(before) & np.isfinite(after)
    for x, side in enumerate((before, after)):
        centre = summarise(side[both], statistics_of(MEASURES[measure], task)).centre
        axes.plot((x - 0.18, x + 0.18), (centre, centre), color="black", linewidth=3, solid_capstyle="butt")
    for pair in zip(before[both], after[both], strict=True):
        colour, style = _judged(*pair, MEASURES[measure].higher_is_better)
        axes.plot((0, 1), pair, color=colour, linestyle=style, linewidth=1.2, marker="o", markersize=4)
    told = [f"n = {both.sum()}" + ("" if both.all() else f" of {len(both)}")]
    test = paired_test_of(MEASURES[measure], before, after, task)
    if test is not None:
        p = p_text(test)
        told.insert(0, f"p {p}" if p.startswith("<") else f"p = {p}")
    axes.set_title(f"{MEASURES[measure].label}\n{', '.join(told)}", fontsize=10)
    axes.set(xlim=(-0.4, 1.4), xticks=(0, 1), xticklabels=(base, tuned))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _judged(before: float, after: float, higher_is_better: bool | None) -> tuple[str, str]:
    """Colour and dashes of a patient's line; the dashes say "worse" without colour."""
    if higher_is_better is None or before == after:
        return GREY, "-"
    return (BLUE, "-") if (after > before) == higher_is_better else (ORANGE, "--")
