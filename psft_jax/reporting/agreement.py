"""Agreement of the lesion volume with the reference's, after Bland and Altman.

References:
    J. M. Bland, D. G. Altman, "Statistical methods for assessing agreement between two methods of clinical
    measurement", Lancet 327, 1986.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psft_jax.reporting.figures import BLUE, GREY, new_figure, panels
from psft_jax.reporting.patients import values_of_variants
from psft_jax.scan import Provenance, Task

FEWEST = 3
"""Patients below which there are no limits of agreement."""


@dataclass(frozen=True)
class Agreement:
    """Bias, and the limits between which 95 % of the differences are expected, in the differences' unit."""

    bias: float
    lower: float
    upper: float


def agreement(differences: Float[np.ndarray, " n"]) -> Agreement | None:
    """Mean of the differences and mean -+ 1.96 SD (n - 1), or None for fewer than ``FEWEST``.

    >>> agreement(np.array([1.0, 2.0, 3.0]))
    Agreement(bias=2.0, lower=0.040000000000000036, upper=3.96)
    """
    if len(differences) < FEWEST:
        return None
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    return Agreement(bias, bias - 1.96 * sd, bias + 1.96 * sd)


def bland_altman_figure(
    results: pd.DataFrame, variants: Sequence[str], task: Task, *, title: str, provenance: Provenance
) -> Figure:
    """For each variant the difference of lesion volume and reference volume against their mean, in mL.

    Each point is a patient, whose seeds are averaged. Fewer than ``FEWEST`` patients have no bias and no
    limits, and the panel says so; nor have patients without a reference a point.

    Args:
        results: tidy rows of one task and data set, as ``read_results`` gives them.
        variants: one panel each.
        task: of the rows.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: a variant or the reference's volume is not in the results, or a patient lacks a variant.
    """
    values = values_of_variants(results, task, variants, required=variants)
    keys = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", label="one patient"),
        Line2D([], [], color="black", label="bias (mean difference)"),
        Line2D([], [], color="black", linestyle="--", label="95% limits of agreement"),
    ]
    rows, columns = panels(len(variants))
    figure = new_figure(3.4 * columns + 0.6, 3.2 * rows + 1.3, title=title, provenance=provenance, keys=keys)
    first: Axes | None = None
    for number, variant in enumerate(variants):
        axes = figure.add_subplot(rows, columns, number + 1, sharex=first, sharey=first)
        first = first or axes
        axes.set_xlabel("Mean of volume and reference (mL)")
        if not number % columns:
            axes.set_ylabel("Volume minus reference (mL)")
        _panel(axes, values.of(variant, "volume_ml"), values.of(variant, "reference_volume_ml"), variant)
    return figure


def _panel(
    axes: Axes, volume: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"], variant: str
) -> None:
    both = np.isfinite(volume) & np.isfinite(reference)
    mean, difference = ((volume + reference) / 2)[both], (volume - reference)[both]
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.plot(mean, difference, color=BLUE, marker="o", markersize=5, linestyle="", alpha=0.8)
    told = f"n = {both.sum()}" + ("" if both.all() else f" of {len(both)}")
    found = agreement(difference)
    if found is None:
        told += ", too few for limits"
    else:
        told += f", bias {found.bias:+.2f} mL\nlimits {found.lower:+.2f} to {found.upper:+.2f} mL"
        axes.axhline(found.bias, color="black")
        for limit in (found.lower, found.upper):
            axes.axhline(limit, color="black", linestyle="--", linewidth=1)
    axes.set_title(f"{variant}\n{told}", fontsize=10)
    axes.margins(0.1)
    axes.locator_params(axis="x", nbins=4)
    axes.spines[["top", "right"]].set_visible(False)
