"""How much of a result is chance: the cohort's mean or median under each seed, and their mean and SD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from psft_jax.evaluation.measures import MEASURES, Measure, statistics_of
from psft_jax.evaluation.statistics import Statistics, Summary, summarise
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.reporting.patients import values_of_variants
from psft_jax.reporting.wording import CENTRE, NO_VALUE, NOT_RUN, population_text, statistics_notes, title
from psft_jax.scan import Provenance, Task


def seeds_table(
    results: pd.DataFrame,
    task: Task,
    *,
    rows: Mapping[str, str],
    measures: Sequence[str],
    provenance: Provenance,
    heading: str,
) -> Grid:
    """A row a measure and setting: over patients, under each seed alone, and mean (SD) over the seeds.

    The SD over patients says how much patients differ; the SD over seeds, how much another run would.

    Args:
        results: tidy rows of one task and data set, as ``read_results`` gives them.
        task: how most measures are summarised.
        rows: variant to the label of its row, in order.
        measures: names of measures.
        provenance: where the images come from.
        heading: what the table shows.

    Raises:
        InputError: no results of the first variant, a patient whom a variant or one of its seeds lacks,
            another task, several data sets, several values for one case, or a measure that no case has.
    """
    values = values_of_variants(results, task, rows, required=list(rows)[:1])
    cases = results[results["variant"].isin(list(values.seeds))].pivot(
        index=["variant", "seed", "patient"], columns="metric", values="value"
    )
    seeds = sorted({seed for numbers in values.seeds.values() for seed in numbers})
    lines = []
    for name in measures:
        for variant, label in rows.items():
            cells = [Cell(NOT_RUN)] * (len(seeds) + 3)
            if variant in values.seeds:
                statistics = statistics_of(MEASURES[name], task)
                over_patients = summarise(values.of(variant, name), statistics)
                under = {
                    seed: summarise(cases.xs((variant, seed))[name].to_numpy(), statistics)
                    for seed in values.seeds[variant]
                }
                cells = _row(MEASURES[name], over_patients, under, seeds)
            lines.append((Cell(title(MEASURES[name])), Cell(label), *cells))
    listed = {rows[variant]: numbers for variant, numbers in values.seeds.items()}
    each = (f"Seed {seed}" for seed in seeds)
    return Grid(
        heading=heading,
        provenance=provenance,
        population=population_text(values.dataset, values.patients, listed),
        header=("Measure", "Setting", "Over patients", *each, "Over seeds", "Seeds"),
        rows=tuple(lines),
        notes=tuple(_notes([MEASURES[name] for name in measures], task)),
        names=2,
    )


def _row(
    measure: Measure, over_patients: Summary, under: Mapping[int, Summary], seeds: Sequence[int]
) -> list[Cell]:
    """Everything but the names of one row; ``under`` holds the seeds that the setting was run with."""
    over_seeds = summarise([summary.centre for summary in under.values()], Statistics.MEAN_T_TEST)
    return [
        Cell(over_patients.text(measure.decimals)),
        *(Cell(_centre(under[seed], measure) if seed in under else NO_VALUE) for seed in seeds),
        # One digit more: the SD over seeds is often a tenth of the SD over patients.
        Cell(over_seeds.text(measure.decimals + 1)),
        Cell(str(len(under))),
    ]


def _centre(summary: Summary, measure: Measure) -> str:
    """The cohort's mean or median alone; patients without a value are told of."""
    numbers, comma, valid = summary.text(measure.decimals).partition(", ")
    return (f"{summary.centre:.{measure.decimals}f}" if summary.n_valid else numbers) + comma + valid


def _notes(measures: Sequence[Measure], task: Task) -> list[str]:
    centres = " or ".join(sorted({CENTRE[statistics_of(measure, task)] for measure in measures}))
    over, *others = statistics_notes(measures, task, tested=False)
    return [
        f"Over patients, seeds averaged within each: {over[0].lower()}{over[1:]}",
        *others,
        f"Seed: {centres} over patients under that seed alone.",
        "Over seeds: mean (SD) of these, with n - 1; an SD needs two seeds.",
    ]
