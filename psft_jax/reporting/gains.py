"""The patient-specific gain: fine-tuned on the patient's own baseline, against controls.

The paper compares with the base CNN alone, so that its gain includes what tuning on any scan would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from psft_jax.evaluation.measures import MEASURES, Measure, statistics_of
from psft_jax.evaluation.statistics import summarise
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.reporting.patients import values_of_variants
from psft_jax.reporting.tables import paired_test_of
from psft_jax.reporting.wording import (
    ARROWS,
    LEVEL,
    NO_VALUE,
    NOT_RUN,
    direction,
    p_text,
    population_text,
    signed,
    statistics_notes,
    title,
    tone,
)
from psft_jax.scan import Provenance, Task


def gains_table(
    results: pd.DataFrame,
    task: Task,
    *,
    own: str,
    controls: Mapping[str, str],
    measures: Sequence[str],
    provenance: Provenance,
    heading: str,
) -> Grid:
    """A row a measure and control: both values, own minus control within each patient, p, who gained.

    Words say what is better, since of some measures less is. Seeds are averaged within each patient.

    Args:
        results: tidy rows of one task and data set, as ``read_results`` gives them.
        task: how most measures are summarised and tested.
        own: the variant fine-tuned on the patient's own baseline.
        controls: variant to its label, in order, such as the base CNN with its threshold tuned.
        measures: names of measures.
        provenance: where the images come from.
        heading: what the table shows.

    Raises:
        InputError: no results of ``own``, a patient whom a variant or one of its seeds lacks, another task,
            several data sets, several values for one case, or a measure that no case has.
    """
    values = values_of_variants(results, task, controls, required=[own])
    rows = []
    for name in measures:
        tuned = values.of(own, name)
        for variant, label in controls.items():
            control = values.of(variant, name) if variant in values.seeds else None
            names = Cell(title(MEASURES[name])), Cell(label)
            rows.append((*names, *_gain(MEASURES[name], tuned, control, task)))
    seeds = {controls.get(variant, own): numbers for variant, numbers in values.seeds.items()}
    return Grid(
        heading=heading,
        provenance=provenance,
        population=population_text(values.dataset, values.patients, seeds),
        header=("Measure", "Against", "Own", "Control", "Own minus control", "p", "n", "Better, worse, same"),
        rows=tuple(rows),
        notes=(
            *statistics_notes((MEASURES[name] for name in measures), task, tested=True),
            f"Own: {own}. Own minus control: within each patient who has both, summarised in the same way.",
            f"p: {LEVEL}",
            "n: patients who have both. Better, worse, same: for how many of them the own result is that.",
            ARROWS,
        ),
        names=2,
    )


def _gain(
    measure: Measure, own: Float[np.ndarray, " n"], control: Float[np.ndarray, " n"] | None, task: Task
) -> list[Cell]:
    """Everything but the names of one row; None is a control that was not run."""
    statistics = statistics_of(measure, task)
    of_own = Cell(summarise(own, statistics).text(measure.decimals))
    if control is None:
        return [of_own, Cell(NOT_RUN), *[Cell(NO_VALUE)] * 4]
    # Rounded as for the test, so that who is called equal there is called equal here.
    differences = np.round(own - control, 12)
    difference = summarise(differences, statistics)
    test = paired_test_of(measure, control, own, task)
    # As shown, so that no 0.00 is called better.
    centre = round(difference.centre, measure.decimals)
    marked = tone(measure, centre, test)
    numbers, _, _ = signed(difference, measure.decimals).partition(", ")
    valid = str(difference.n_valid)
    told = [direction(measure, float(value)) for value in differences]
    counts = ", ".join(str(told.count(word)) for word in ("better", "worse", "same"))
    return [
        of_own,
        Cell(summarise(control, statistics).text(measure.decimals)),
        Cell(f"{numbers} {direction(measure, centre)}".strip(), tone=marked),
        Cell(p_text(test), tone=marked),
        Cell(valid if difference.n_valid == difference.n_total else f"{valid} of {difference.n_total}"),
        Cell(NO_VALUE if measure.higher_is_better is None else counts),
    ]
