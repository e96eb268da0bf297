"""Tables of each variant against the base CNN, over patients (sections 3.1, 3.2 and 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table
from rich.text import Text

from psft_jax.evaluation.measures import MEASURES, SMALL_BELOW_ML, Measure, by_statistics, statistics_of
from psft_jax.evaluation.statistics import PairedTest, Statistics, Summary, paired_test, summarise
from psft_jax.reporting.patients import PatientValues, patient_values
from psft_jax.reporting.provenance import STATEMENT
from psft_jax.scan import Provenance, Task

SIGNIFICANT_BELOW = 0.01
"""The paper's level (section 3)."""

CENTRE = {Statistics.MEAN_T_TEST: "mean", Statistics.MEDIAN_WILCOXON: "median"}
TEST = {
    Statistics.MEAN_T_TEST: "paired Student's t-test",
    Statistics.MEDIAN_WILCOXON: "Wilcoxon signed-rank test",
}
_SPREAD = {Statistics.MEAN_T_TEST: "(SD)", Statistics.MEDIAN_WILCOXON: "[first to third quartile]"}

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

    @property
    def significant(self) -> bool:
        """Whether p is below the paper's level; an undefined p is not."""
        return self.test is not None and self.test.p < SIGNIFICANT_BELOW


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


@dataclass(frozen=True)
class Cell:
    """What one cell shows; its tone is "better" or "worse" where a difference is significant, else ""."""

    text: str
    tone: str = ""


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
    arrow = {True: " ↑", False: " ↓", None: ""}[line.measure.higher_is_better]
    row = [Cell(line.measure.label + arrow), Cell(line.base.text(decimals))]
    for contrast in line.contrasts:
        tone = _tone(line.measure, contrast)
        row += [
            Cell(contrast.value.text(decimals)),
            Cell(_signed(contrast.difference, decimals), tone),
            Cell(p_text(contrast.test), tone),
        ]
    return row


def p_text(test: PairedTest | None) -> str:
    """A p-value as a table shows it, with a star below the level of significance.

    >>> [p_text(PairedTest(p, 20)) for p in (0.0004, 0.003, 0.04, math.nan)]
    ['< 0.001*', '0.003*', '0.040', 'n/a']
    """
    if test is None:
        return "–"
    if math.isnan(test.p):
        return "n/a"
    star = "*" if test.p < SIGNIFICANT_BELOW else ""
    return ("< 0.001" if test.p < 0.001 else f"{test.p:.3f}") + star


def population(table: Comparison) -> str:
    """Who is summarised: the data set, the number of patients, the seeds.

    Seeds stand beside each variant's name where they are not the same for all.
    """
    n = len(table.patients)
    listed = {variant: ", ".join(map(str, seeds)) for variant, seeds in table.seeds.items()}
    if len(set(listed.values())) == 1:
        seeds = listed[table.base]
    else:
        seeds = "; ".join(f"{variant}: {numbers}" for variant, numbers in listed.items())
    several = any(len(seeds) > 1 for seeds in table.seeds.values())
    return (
        f"{table.dataset}, {n} patient{'s' if n > 1 else ''}, seed{'s' if several else ''} {seeds}"
        f"{' (averaged within each patient)' if several else ''}"
    )


def footnotes(table: Comparison) -> list[str]:
    """What the columns, the arrows and the star mean, and what the table leaves out."""
    compared = len(table.seeds) > 1
    notes: list[str] = []
    for statistics, measures in by_statistics((line.measure for line in table.lines), table.task).items():
        summary = f"{CENTRE[statistics]} {_SPREAD[statistics]} over patients"
        test = f"; p: {TEST[statistics]}" if compared else ""
        # The first group is most of the table, and goes without saying of which measures it consists.
        which = f"{labels(measures)}: " if notes else ""
        note = f"{which}{summary}{test}."
        notes.append(note[0].upper() + note[1:])
    if compared:
        notes += [
            f"Difference: variant minus {table.base} within each patient, summarised in the same way.",
            f"p: two-sided, not corrected for the number of comparisons; * p < {SIGNIFICANT_BELOW}.",
            "↑ higher is better, ↓ lower is better; a measure without an arrow describes and is not tested.",
        ]
    if table.left_out:
        said = "; ".join(measure.label + _why(measure, table.task) for measure in table.left_out)
        notes.append(f"Undefined for every patient, and left out: {said}.")
    return notes


def labels(measures: Iterable[Measure]) -> str:
    """Their headings in a row; some of them have a comma of their own."""
    return "; ".join(measure.label for measure in measures)


def _why(measure: Measure, task: Task) -> str:
    """Why a measure has no value for any patient, where there is one reason only."""
    volume = f"{SMALL_BELOW_ML[task]:g} mL"
    reasons = {"tpr_small": f"no lesion below {volume}", "tpr_large": f"no lesion of {volume} or more"}
    return f" ({reasons[measure.name]})" if measure.name in reasons else ""


def print_table(table: Comparison, *, heading: str) -> None:
    """Print to the terminal; significant differences are green for better and orange for worse."""
    shown = Table(
        title=Text("\n".join([heading, STATEMENT[table.provenance], population(table)])),
        caption=Text("\n".join(footnotes(table))),
        caption_justify="left",
    )
    for number, name in enumerate(header(table)):
        shown.add_column(Text(name), justify="right" if number else "left")
    styles = {"better": "green", "worse": "dark_orange3", "": ""}
    for line in table.lines:
        shown.add_row(*(Text(cell.text, style=styles[cell.tone]) for cell in cells(line)))
    Console().print(shown)


def to_markdown(table: Comparison, *, heading: str) -> str:
    """The same as a Markdown table, between its heading and its notes."""
    rows = [header(table), *([cell.text for cell in cells(line)] for line in table.lines)]
    first, *others = ("| " + " | ".join(_escaped(text) for text in row) + " |" for row in rows)
    rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
    title = f"**{_escaped(heading)}**"
    said = [_escaped(text) for text in (STATEMENT[table.provenance], population(table))]
    notes = [f"- {_escaped(note)}" for note in footnotes(table)]
    return "\n".join([title, "", ". ".join(said) + ".", "", first, rule, *others, "", *notes, ""])


def _tone(measure: Measure, contrast: Contrast) -> str:
    if not contrast.significant or not contrast.difference.centre:
        return ""
    return "better" if (contrast.difference.centre > 0) == measure.higher_is_better else "worse"


def _signed(difference: Summary, decimals: int) -> str:
    """The summary's text, with a plus sign where the difference as shown is above 0."""
    text = difference.text(decimals)
    return f"+{text}" if round(difference.centre, decimals) > 0 else text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
