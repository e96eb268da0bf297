"""Measures against the number of fine-tuning iterations (sections 4.1.1 and 4.2.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psft_jax.evaluation.measures import MEASURES, Measure, by_statistics, statistics_of
from psft_jax.evaluation.statistics import summarise
from psft_jax.reporting.figures import BLUE, new_figure, panels
from psft_jax.reporting.patients import PatientValues, values_of_variants
from psft_jax.reporting.wording import CENTRE, labels
from psft_jax.reporting.wording import title as heading
from psft_jax.scan import Provenance, Task


def iterations_figure(
    results: pd.DataFrame,
    task: Task,
    measures: Sequence[str],
    iterations: Mapping[str, int],
    *,
    title: str,
    provenance: Provenance,
) -> Figure:
    """For each measure a thin line a patient against the iterations, and a thick one for mean or median.

    Iteration numbers are evenly spaced, so that 0 and 1000 can both be read. Seeds are averaged within each
    patient. The mean or median is that of the patients whose value is defined everywhere, so that it always
    speaks of the same ones; the others' lines have gaps, and the panel tells how many they are.

    Args:
        results: tidy rows of one task and data set, as ``read_results`` gives them.
        task: how most measures are summarised.
        measures: names of measures, one panel each.
        iterations: of each variant that is shown; the base CNN's are 0.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: a measure or variant is not in the results, or a patient lacks a variant.
        ValueError: fewer than two variants, or two with the same number of iterations.
    """
    numbers = sorted(iterations.values())
    if len(set(numbers)) < max(len(numbers), 2):
        raise ValueError(f"two or more variants, each with other iterations than the rest; not {iterations}")
    variants = sorted(iterations, key=lambda variant: iterations[variant])
    values = values_of_variants(results, task, variants, required=variants)
    rows, columns = panels(len(measures))
    keys = _keys([MEASURES[name] for name in measures], task)
    figure = new_figure(3.3 * columns + 0.3, 2.9 * rows + 1.4, title=title, provenance=provenance, keys=keys)
    for number, name in enumerate(measures):
        axes = figure.add_subplot(rows, columns, number + 1)
        _panel(axes, values, MEASURES[name], task, variants)
        axes.set(xticks=range(len(numbers)), xticklabels=numbers, xlabel="Iterations (not to scale)")
    return figure


def _keys(measures: Sequence[Measure], task: Task) -> list[Line2D]:
    """The legend; measures that are not summarised as the first one is are named."""
    (usual, _), *others = by_statistics(measures, task).items()
    return [
        Line2D([], [], color=BLUE, linewidth=0.8, marker="o", markersize=3, label="one patient"),
        Line2D([], [], color="black", linewidth=3, label=f"{CENTRE[usual]} (of n > 1)"),
        *(Line2D([], [], linestyle="", label=f"{labels(group)}: {CENTRE[other]}") for other, group in others),
    ]


def _panel(axes: Axes, values: PatientValues, measure: Measure, task: Task, variants: Sequence[str]) -> None:
    lines = np.stack([values.of(variant, measure.name) for variant in variants])
    whole = lines[:, np.isfinite(lines).all(axis=0)]
    axes.plot(lines, color=BLUE, linewidth=0.8, alpha=0.6, marker="o", markersize=3)
    if whole.shape[1] > 1:
        centres = [summarise(step, statistics_of(measure, task)).centre for step in whole]
        axes.plot(centres, color="black", linewidth=3)
    n, n_whole = lines.shape[1], whole.shape[1]
    axes.set_title(f"{heading(measure)}\nn = {n_whole}" + ("" if n == n_whole else f" of {n}"), fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
