"""Tables of each variant against the base CNN, over patients (sections 3.1, 3.2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
from numpy.typing import ArrayLike

from psft_jax.evaluation.measures import MEASURES, SMALL_BELOW_ML, Measure, statistics_of
from psft_jax.evaluation.statistics import PairedTest, Summary, paired_test, summarise
from psft_jax.reporting.grid import Cell, Grid, print_grid
from psft_jax.reporting.patients import PatientValues, patient_values
from psft_jax.reporting.wording import (
    ARROWS,
    LEVEL,
    p_text,
    population_text,
    signed,
    statistics_notes,
    title,
    tone,
)
from psft_jax.scan import Provenance, Task

HEADLINE = {
    Task.SEGMENTATION: (
        *("dsc", "avd_percent", "h95_mm", "lesion_recall", "lesion_f1"),
        *("tpr_small", "tpr_large", "max_sd"),
    ),
    Task.DETECTION: (
        *("tpr", "fpc", "f1", "precision", "tpr_small", "tpr_large"),
        *("mean_sd_detected", "dsc"),
    ),
}
"""The measures that a table of the task begins with."""


@dataclass(frozen=True)
class Contrast:
    """One measure of one variant, against the base CNN in the same patients.

    Args:
        variant: its name.
        value: over all patients.
        difference: variant minus base within each patient, over the patients with both values.
        test: of that difference; None for a measure that only describes a case.
    """

    variant: str
    value: Summary
    difference: Summary
    test: PairedTest | None


@dataclass(frozen=True)
class Line:
    """One measure: the base CNN, and each variant against it."""

    measure: Measure
    base: Summary
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Comparison:
    """A table of numbers; ``header``, ``cells`` and ``footnotes`` put it into words.

    Args:
        dataset: name of the data set.
        provenance: where its images come from.
        task: which measures, and how most of them are summarised and tested (``statistics_of``).
        base: name of the variant that the others are held against.
        patients: who is summarised.
        seeds: the seeds that each variant was run with, averaged within each patient.
        lines: one a measure.
        left_out: measures that were undefined for every patient and have no line.
    """

    dataset: str
    provenance: Provenance
    task: Task
    base: str
    patients: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]
    lines: tuple[Line, ...]
    left_out: tuple[Measure, ...] = ()


def comparison_table(
    results: pd.DataFrame, task: Task, *, provenance: Provenance, base: str = "base"
) -> Comparison:
    """Compare every variant with the base CNN.

    Seeds are averaged within each patient first, so that a patient counts once (``patient_values``).
    The difference is the mean or median of the differences within patients, not of the two columns.

    Args:
        results: tidy rows of one data set, as ``read_results`` gives them.
        task: the task whose rows are used.
        provenance: where the images come from.
        base: the variant that the others are held against.

    Raises:
        InputError: there is no base, or a patient is missing from a variant; it names them.
    """
    values = patient_values(results, task)
    order = [*HEADLINE[task], *(name for name in MEASURES if name not in HEADLINE[task])]
    return Comparison(
        dataset=values.dataset,
        provenance=provenance,
        task=task,
        base=base,
        patients=values.patients,
        seeds=values.seeds,
        lines=tuple(_line(values, MEASURES[name], task, base) for name in order if name in values.measures),
    )


def headline(table: Comparison) -> Comparison:
    """The measures of ``HEADLINE`` alone, without those undefined for every patient.

    All measures where the uncertainty alone would be left, as without a reference: then volumes and counts
    are what there is to read.
    """
    chosen = [line for line in table.lines if line.measure.name in HEADLINE[table.task]]
    lines = tuple(line for line in chosen if _defined(line))
    if {line.measure.name for line in lines} <= {"max_sd"}:
        return table
    return replace(table, lines=lines, left_out=tuple(c.measure for c in chosen if not _defined(c)))


def _defined(line: Line) -> bool:
    """Whether any patient has a value under any variant."""
    return any(summary.n_valid for summary in (line.base, *(c.value for c in line.contrasts)))


def _line(values: PatientValues, measure: Measure, task: Task, base: str) -> Line:
    before = values.of(base, measure.name)
    statistics = statistics_of(measure, task)
    contrasts = []
    for variant in values.seeds:
        if variant == base:
            continue
        after = values.of(variant, measure.name)
        contrasts.append(
            Contrast(
                variant,
                value=summarise(after, statistics),
                difference=summarise(after - before, statistics),
                test=paired_test_of(measure, before, after, task),
            )
        )
    return Line(measure, summarise(before, statistics), tuple(contrasts))


def paired_test_of(measure: Measure, before: ArrayLike, after: ArrayLike, task: Task) -> PairedTest | None:
    """The paired test of one measure, or None for a measure that only describes a case."""
    if measure.higher_is_better is None:
        return None
    return paired_test(before, after, statistics_of(measure, task))


def header(table: Comparison) -> list[str]:
    """The columns: measure, base, and for each variant its value, difference and p."""
    columns = ["Measure", table.base]
    others = [variant for variant in table.seeds if variant != table.base]
    for variant in others:
        of = f"{variant}: " if len(others) > 1 else ""
        columns += [variant, f"{of}difference", f"{of}p"]
    return columns


def cells(line: Line) -> list[Cell]:
    """One row, in the order of ``header``."""
    decimals = line.measure.decimals
    row = [Cell(title(line.measure)), Cell(line.base.text(decimals))]
    for contrast in line.contrasts:
        marked = tone(line.measure, contrast.difference.centre, contrast.test)
        row += [
            Cell(contrast.value.text(decimals)),
            Cell(signed(contrast.difference, decimals), tone=marked),
            Cell(p_text(contrast.test), tone=marked),
        ]
    return row


def population(table: Comparison) -> str:
    """Who is summarised: the data set, the number of patients, the seeds."""
    return population_text(table.dataset, table.patients, table.seeds)


def footnotes(table: Comparison) -> list[str]:
    """What the columns, the arrows and the star mean, and what the table leaves out."""
    compared = len(table.seeds) > 1
    notes = statistics_notes((line.measure for line in table.lines), table.task, tested=compared)
    if compared:
        notes += [
            f"Difference: variant minus {table.base} within each patient, summarised in the same way.",
            f"p: {LEVEL}",
            ARROWS,
        ]
    if table.left_out:
        said = "; ".join(measure.label + _why(measure, table.task) for measure in table.left_out)
        notes.append(f"Undefined for every patient, and left out: {said}.")
    return notes


def _why(measure: Measure, task: Task) -> str:
    """Why a measure has no value for any patient, where there is one reason only."""
    volume = f"{SMALL_BELOW_ML[task]:g} mL"
    reasons = {"tpr_small": f"no lesion below {volume}", "tpr_large": f"no lesion of {volume} or more"}
    return f" ({reasons[measure.name]})" if measure.name in reasons else ""


def comparison_grid(table: Comparison, *, heading: str) -> Grid:
    """The comparison in words: a row a measure; base, then each variant's value, difference and p."""
    return Grid(
        heading=heading,
        provenance=table.provenance,
        population=population(table),
        header=tuple(header(table)),
        rows=tuple(tuple(cells(line)) for line in table.lines),
        notes=tuple(footnotes(table)),
    )


def print_table(table: Comparison, *, heading: str) -> None:
    """Print the comparison to the terminal."""
    print_grid(comparison_grid(table, heading=heading))
