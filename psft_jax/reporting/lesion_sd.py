"""How sure the networks are of each lesion, by its size (sections 4.1.5 and 4.2.5)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psft_jax.errors import InputError
from psft_jax.evaluation.lesions import REFERENCE
from psft_jax.evaluation.measures import SMALL_BELOW_ML
from psft_jax.reporting.figures import BLUE, GREY, ORANGE, new_figure, panels
from psft_jax.scan import Provenance, Task


def sd_by_size_figure(
    lesions: pd.DataFrame, variants: Sequence[str], task: Task, *, title: str, provenance: Provenance
) -> Figure:
    """Mean SD in each annotated lesion against its volume; the median SD of small and of large lesions.

    Seeds are averaged within each lesion. A lesion is detected where at least half of the seeds hit it.

    Args:
        lesions: rows of ``lesions.csv`` of one task and data set.
        variants: one panel each.
        task: which lesions are small.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: a variant has no lesion with an SD.
    """
    small_below = SMALL_BELOW_ML[task]
    keys = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", label="detected lesion"),
        Line2D([], [], color=ORANGE, marker="x", linestyle="", label="missed lesion"),
        Line2D([], [], color="black", linewidth=3, label=f"median below and from {small_below:g} mL"),
    ]
    rows, columns = panels(len(variants))
    figure = new_figure(3.4 * columns + 0.6, 3.2 * rows + 1.3, title=title, provenance=provenance, keys=keys)
    first: Axes | None = None
    for number, variant in enumerate(variants):
        axes = figure.add_subplot(rows, columns, number + 1, sharex=first, sharey=first, xscale="log")
        first = first or axes
        axes.set_xlabel("Volume of the annotated lesion (mL)")
        if not number % columns:
            axes.set_ylabel("Mean SD in the lesion")
        _panel(axes, mean_over_seeds(lesions, variant), small_below, variant)
    # Last, because it ends the scaling to the points, and all panels share the axis.
    axes.set_ylim(bottom=0.0)
    return figure


def mean_over_seeds(lesions: pd.DataFrame, variant: str) -> pd.DataFrame:
    """One row an annotated lesion: ``patient``, ``lesion``, ``volume_ml``, mean ``hit`` and ``mean_sd``.

    Raises:
        InputError: none of the variant's annotated lesions has an SD.
    """
    chosen = lesions[(lesions["variant"] == variant) & (lesions["kind"] == REFERENCE)]
    known = chosen.dropna(subset=["mean_sd"])
    if known.empty:
        raise InputError(
            f"lesions of variant {variant}",
            found="none with an SD" if len(chosen) else "none",
            expected="annotated lesions and Monte Carlo dropout samples",
            remedy="Choose a variant that was run with samples on patients with a reference annotation.",
        )
    each = known.groupby(["patient", "lesion", "volume_ml"], as_index=False)
    return each[["hit", "mean_sd"]].mean()


def _panel(axes: Axes, each: pd.DataFrame, small_below: float, variant: str) -> None:
    detected = each["hit"] >= 0.5
    for chosen, colour, marker in ((detected, BLUE, "o"), (~detected, ORANGE, "x")):
        points = each[chosen]
        axes.plot(
            points["volume_ml"], points["mean_sd"], color=colour, marker=marker, markersize=4, linestyle="",
            alpha=0.6,
        )  # fmt: skip
    axes.axvline(small_below, color=GREY, linestyle=":", linewidth=1)
    small = each["volume_ml"] < small_below
    for chosen in (small, ~small):
        if chosen.any():
            points = each[chosen]
            # Lesions of one size alone leave a line that can be seen.
            reach = points["volume_ml"].min() / 1.3, points["volume_ml"].max() * 1.3
            axes.plot(reach, [points["mean_sd"].median()] * 2, color="black", linewidth=3)
    n = each["patient"].nunique()
    axes.set_title(
        f"{variant}\n{small.sum()} small and {(~small).sum()} large lesions\nof n = {n} "
        f"patient{'s' if n > 1 else ''}",
        fontsize=10,
    )
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
