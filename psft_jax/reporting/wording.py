"""How statistics are put into words: the same in every table and figure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from psft_jax.evaluation.measures import Measure, by_statistics
from psft_jax.evaluation.statistics import PairedTest, Statistics, Summary
from psft_jax.scan import Task

SIGNIFICANT_BELOW = 0.01
"""The paper's level (section 3)."""

CENTRE = {Statistics.MEAN_T_TEST: "mean", Statistics.MEDIAN_WILCOXON: "median"}
SPREAD = {Statistics.MEAN_T_TEST: "(SD)", Statistics.MEDIAN_WILCOXON: "[first to third quartile]"}
TEST = {
    Statistics.MEAN_T_TEST: "paired Student's t-test",
    Statistics.MEDIAN_WILCOXON: "Wilcoxon signed-rank test",
}

ARROWS = "↑ higher is better, ↓ lower is better; a measure without an arrow describes and is not tested."
LEVEL = f"two-sided, not corrected for the number of comparisons; * p < {SIGNIFICANT_BELOW}."

NOT_RUN = "not run"
NO_VALUE = "–"


def title(measure: Measure) -> str:
    """A measure's heading, with an arrow towards what is better."""
    return measure.label + {True: " ↑", False: " ↓", None: ""}[measure.higher_is_better]


def labels(measures: Iterable[Measure]) -> str:
    """Their headings in a row; some of them have a comma of their own."""
    return "; ".join(measure.label for measure in measures)


def p_text(test: PairedTest | None) -> str:
    """A p-value as a table shows it, with a star below the level of significance.

    >>> [p_text(PairedTest(p, 20)) for p in (0.0004, 0.003, 0.04, math.nan)]
    ['< 0.001*', '0.003*', '0.040', 'n/a']
    """
    if test is None:
        return NO_VALUE
    if math.isnan(test.p):
        return "n/a"
    star = "*" if is_significant(test) else ""
    return ("< 0.001" if test.p < 0.001 else f"{test.p:.3f}") + star


def is_significant(test: PairedTest | None) -> bool:
    """Whether p is below the paper's level; an undefined p is not."""
    return test is not None and test.p < SIGNIFICANT_BELOW


def signed(difference: Summary, decimals: int) -> str:
    """The summary's text, with a plus sign where the difference as shown is above 0, and none on a 0."""
    text, shown = difference.text(decimals), round(difference.centre, decimals)
    return f"+{text}" if shown > 0 else text if shown else text.removeprefix("-")


def starred(summary: Summary, decimals: int, test: PairedTest | None) -> str:
    """The summary's text, with a star behind the numbers where the test is significant.

    >>> starred(Summary(0.67, (0.32, 1.0), 14, 16), 2, PairedTest(0.003, 14))
    '0.67 [0.32 to 1.00]*, 14 of 16 valid'
    """
    numbers, comma, valid = summary.text(decimals).partition(", ")
    return f"{numbers}{'*' if is_significant(test) else ''}{comma}{valid}"


def direction(measure: Measure, difference: float) -> str:
    """What a difference means: "better", "worse", "same", or "" where it cannot be said."""
    if measure.higher_is_better is None or math.isnan(difference):
        return ""
    if not difference:
        return "same"
    return "better" if (difference > 0) == measure.higher_is_better else "worse"


def tone(measure: Measure, difference: float, test: PairedTest | None) -> str:
    """The direction of a significant difference, else ""."""
    said = direction(measure, difference)
    return said if is_significant(test) and said != "same" else ""


def population_text(dataset: str, patients: Sequence[str], seeds: Mapping[str, Sequence[int]]) -> str:
    """Who is summarised: the data set, the number of patients, the seeds.

    Seeds stand beside each variant's name where they are not the same for all.

    >>> population_text("brain", ["A"], {"base": [0], "50 iterations": [0, 1], "100 iterations": [0, 1]})
    'brain, 1 patient, seeds base: 0; all others: 0, 1 (averaged within each patient)'
    """
    listed = {variant: ", ".join(map(str, numbers)) for variant, numbers in seeds.items()}
    ((usual, count),) = Counter(listed.values()).most_common(1)
    if count == len(listed):
        said = usual
    else:
        others = {} if count == 1 else {"all others": usual}
        apart = {name: numbers for name, numbers in listed.items() if not others or numbers != usual}
        said = "; ".join(f"{name}: {numbers}" for name, numbers in (apart | others).items())
    several = any(len(numbers) > 1 for numbers in seeds.values())
    return (
        f"{dataset}, {len(patients)} patient{'s' if len(patients) > 1 else ''}, seed{'s' if several else ''} "
        f"{said}{' (averaged within each patient)' if several else ''}"
    )


def statistics_notes(measures: Iterable[Measure], task: Task, *, tested: bool) -> list[str]:
    """How the measures are summarised and, where they are, tested; measures that are alike share a note."""
    notes: list[str] = []
    for statistics, alike in by_statistics(measures, task).items():
        summary = f"{CENTRE[statistics]} {SPREAD[statistics]} over patients"
        test = f"; p: {TEST[statistics]}" if tested else ""
        # The first group is most of the table, and goes without saying of which measures it consists.
        which = f"{labels(alike)}: " if notes else ""
        note = f"{which}{summary}{test}."
        notes.append(note[0].upper() + note[1:])
    return notes
