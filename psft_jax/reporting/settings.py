"""Tables in the paper's form: a row a setting, a column a measure, the paper's value beside ours.

Results by lesion size and uncertainty (sections 4.1.4, 4.1.5, 4.2.4 and 4.2.5) are the same table of other
measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from psft_jax.errors import InputError
from psft_jax.evaluation.measures import MEASURES, Measure, statistics_of
from psft_jax.evaluation.statistics import PairedTest, Summary, summarise
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.reporting.paper import CITATION, PATIENTS, PaperTable, PaperValue, Setting
from psft_jax.reporting.patients import PatientValues, values_of_variants
from psft_jax.reporting.tables import paired_test_of
from psft_jax.reporting.wording import (
    ARROWS,
    LEVEL,
    NO_VALUE,
    NOT_RUN,
    labels,
    p_text,
    population_text,
    starred,
    statistics_notes,
    title,
    tone,
)
from psft_jax.scan import Provenance, Task


@dataclass(frozen=True)
class _Entry:
    """One setting's measure: over patients, and what its differences from the base CNN amount to."""

    summary: Summary
    difference: float
    test: PairedTest | None


def settings_table(
    results: pd.DataFrame,
    task: Task,
    *,
    rows: Mapping[str, str],
    measures: Sequence[str],
    provenance: Provenance,
    heading: str,
    base: str = "base",
    paper: Mapping[str, Mapping[str, PaperValue]] | None = None,
    with_p: bool = False,
) -> Grid:
    """Each setting over patients, a star where it differs from the base CNN, the best in bold.

    Seeds are averaged within each patient. The best is judged on the values as shown, so that what looks
    equal is bold alike; measures that only describe a case have no best. A setting that was not run keeps
    its row, which says so.

    Args:
        results: tidy rows of one task and data set, as ``read_results`` gives them.
        task: how most measures are summarised and tested.
        rows: variant to the label of its row, in order; the base CNN comes first wherever it stands.
        measures: names of measures, in the order of the columns.
        provenance: where the images come from.
        heading: what the table shows.
        base: the variant that the others are tested against.
        paper: variant to the paper's values by measure; where no row has one, there is no column for it.
        with_p: give p in columns of their own.

    Raises:
        InputError: no base, a patient whom a setting or one of its seeds lacks, another task, several data
            sets, several values for one case, or a measure that no case has.
    """
    if base not in rows:
        raise InputError(
            f"rows of the table {heading}",
            found=f"no row for the variant {base}, only {', '.join(rows)}",
            expected="the base CNN, which the other settings are tested against",
            remedy="Add the runs that hold the base CNN's results.",
        )
    order = [base, *(variant for variant in rows if variant != base)]
    values = values_of_variants(results, task, order, required=[base])
    reported = {variant: printed for variant, printed in (paper or {}).items() if variant in rows}
    header, columns = ["Setting"], [[Cell(rows[variant]) for variant in order]]
    for name in measures:
        entries = _entries(values, name, task, base)
        header.append(title(MEASURES[name]))
        columns.append(_own_cells(MEASURES[name], [entries.get(variant) for variant in order]))
        if with_p:
            header.append(f"{MEASURES[name].label}: p")
            columns.append([Cell(p_text(entries[v].test) if v in entries else NO_VALUE) for v in order])
        if any(name in printed for printed in reported.values()):
            header.append(f"{MEASURES[name].label}: paper")
            columns.append([_paper_cell(reported.get(v, {}).get(name)) for v in order])
    return Grid(
        heading=heading,
        provenance=provenance,
        population=population_text(
            values.dataset, values.patients, {rows[v]: values.seeds[v] for v in order if v in values.seeds}
        ),
        header=tuple(header),
        rows=tuple(zip(*columns, strict=True)),
        notes=tuple(_notes(values, rows, measures, task, base, reported)),
    )


def paper_table(
    results: pd.DataFrame, table: PaperTable, *, variants: Mapping[Setting, str], provenance: Provenance
) -> Grid:
    """One of the paper's tables from our results, with its values beside ours.

    Args:
        results: tidy rows of one data set and the table's task.
        table: one of ``paper.TABLES``.
        variants: what our results call the paper's settings; one that is not named here was not run.
        provenance: where the images come from.

    Raises:
        InputError: as ``settings_table`` does.
    """
    names = {setting: variants.get(setting, setting.value) for setting in table.rows}
    grid = settings_table(
        results,
        table.task,
        rows={names[setting]: row.label for setting, row in table.rows.items()},
        measures=table.measures,
        provenance=provenance,
        heading=f"{table.caption} ({table.source} of the paper)",
        base=names[Setting.BASE],
        paper={names[setting]: row.values for setting, row in table.rows.items()},
        with_p=table.with_p,
    )
    return replace(grid, notes=(*grid.notes, *table.remarks))


def _entries(values: PatientValues, name: str, task: Task, base: str) -> dict[str, _Entry]:
    """A measure of every variant that was run."""
    before = values.of(base, name)
    statistics = statistics_of(MEASURES[name], task)
    entries = {}
    for variant in values.seeds:
        after = values.of(variant, name)
        test = None if variant == base else paired_test_of(MEASURES[name], before, after, task)
        difference = summarise(after - before, statistics).centre
        entries[variant] = _Entry(summarise(after, statistics), difference, test)
    return entries


def _own_cells(measure: Measure, entries: Sequence[_Entry | None]) -> list[Cell]:
    """A column of our values; None is a setting that was not run."""
    shown = [round(entry.summary.centre, measure.decimals) if entry else math.nan for entry in entries]
    defined = [centre for centre in shown if not math.isnan(centre)]
    best = math.nan
    if measure.higher_is_better is not None and len(defined) > 1:
        best = max(defined) if measure.higher_is_better else min(defined)
    return [
        Cell(NOT_RUN)
        if entry is None
        else Cell(
            starred(entry.summary, measure.decimals, entry.test),
            bold=centre == best,
            tone=tone(measure, entry.difference, entry.test),
        )
        for entry, centre in zip(entries, shown, strict=True)
    ]


def _paper_cell(value: PaperValue | None) -> Cell:
    if value is None:
        return Cell(NO_VALUE)
    p = value.p if value.p.startswith("<") else f"= {value.p}"
    return Cell(f"{value.text} (p {p})" if value.p else value.text)


def _notes(
    values: PatientValues,
    rows: Mapping[str, str],
    measures: Sequence[str],
    task: Task,
    base: str,
    reported: Mapping[str, Mapping[str, PaperValue]],
) -> list[str]:
    chosen = [MEASURES[name] for name in measures]
    compared = len(values.seeds) > 1
    notes = statistics_notes(chosen, task, tested=compared)
    if compared:
        notes.append(f"p: against {rows[base]} in the same patients, {LEVEL}")
        notes += ["Bold: best of the column, as shown.", ARROWS]
    if compared and any(values.means[name].isna().any() for name in measures):
        notes.append("Where not all patients are valid, rows may differ in their patients; a test does not.")
    if any(reported.values()):
        notes.append(f"paper: {CITATION}, {PATIENTS[task]} patients of its own; * as it marks them.")
        without = [measure for measure in chosen if not any(measure.name in of for of in reported.values())]
        notes += [f"Not in the paper: {labels(without)}."] if without else []
    for measure in chosen:
        if measure.name in values.partly:
            seeds = ", ".join(map(str, values.partly[measure.name]))
            notes.append(f"{measure.label}: taken under seed {seeds} alone.")
    missing = [label for variant, label in rows.items() if variant not in values.seeds]
    notes += [f"Not run: {', '.join(missing)}."] if missing else []
    return notes
