"""One value a patient, variant and measure: seeds averaged, every variant complete, so that patients pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from psft_jax.errors import InputError
from psft_jax.scan import Task

_KEY = ["variant", "patient", "seed", "metric"]


@dataclass(frozen=True, eq=False)
class PatientValues:
    """The measures of every patient under every variant.

    Args:
        dataset: name of the data set.
        patients: in alphabetical order.
        seeds: the seeds that each variant was run with; the variants are in the order of the results.
        measures: names of the measures that at least one case has.
        means: (variant, patient) by measure, the mean over the variant's seeds.
        partly: the seeds of measures that were not taken under all of a variant's seeds, such as an SD, which
            needs Monte Carlo samples.
    """

    dataset: str
    patients: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]
    measures: tuple[str, ...]
    means: pd.DataFrame
    partly: dict[str, tuple[int, ...]]

    def of(self, variant: str, measure: str) -> Float[np.ndarray, " n"]:
        """One value for each of ``patients``, NaN where undefined.

        Raises:
            InputError: no case has the measure, or there is no such variant.
        """
        if measure not in self.measures:
            raise _unknown("measure", measure, self.measures)
        if variant not in self.seeds:
            raise _unknown("variant", variant, self.seeds)
        values = self.means.xs(variant, level="variant")[measure]
        return values.loc[list(self.patients)].to_numpy(dtype=float)


def patient_values(results: pd.DataFrame, task: Task) -> PatientValues:
    """Average the seeds within each patient, who is the unit of every summary and test.

    A patient counts once however many seeds were run. Where a measure is undefined for one of the seeds, the
    patient's value is undefined (NaN), and tables say so; the other seeds do not fill in. A measure that was
    taken of no patient under one of a variant's seeds is the mean over the others; ``partly`` tells of it.

    Args:
        results: tidy rows, as ``read_results`` gives them.
        task: the task whose rows are used.

    Raises:
        InputError: no rows of the task, several data sets, several rows for one case, or a patient or seed
            that some variants have and others lack.
    """
    chosen = results[results["task"] == task]
    datasets = [str(name) for name in chosen["dataset"].unique()]
    if len(datasets) != 1:
        raise InputError(
            f"results of the {task} task",
            found=f"rows of {len(datasets)} data sets ({', '.join(datasets)})" if datasets else "no rows",
            expected="rows of one data set",
            remedy="Select one data set and its task; patients of different data sets are not pooled.",
        )
    _check_unique(chosen)
    cases = chosen.pivot(index=["variant", "patient", "seed"], columns="metric", values="value")
    taken = chosen.groupby(["variant", "seed", "metric"]).size().unstack("metric").notna()
    variants = [str(name) for name in chosen["variant"].unique()]
    seeds = _check_complete(variants, [(str(v), str(p), int(s)) for v, p, s in cases.index])
    return PatientValues(
        dataset=datasets[0],
        patients=tuple(sorted({str(patient) for patient in chosen["patient"]})),
        seeds=seeds,
        measures=tuple(str(name) for name in cases.columns),
        means=_means(cases, taken),
        partly={str(name): _seeds_of(taken[name]) for name in taken if not taken[name].all()},
    )


def values_of_variants(
    results: pd.DataFrame, task: Task, variants: Iterable[str], *, required: Sequence[str]
) -> PatientValues:
    """The patients' values of some variants, for a table of these alone.

    Args:
        results: tidy rows of one task and data set.
        task: the task that they are of.
        variants: whose values are wanted; those that were not run are absent from ``seeds``.
        required: those without which the table means nothing.

    Raises:
        InputError: rows of another task, a required variant that is missing, or what ``patient_values`` says
            of the variants that are there.
    """
    tasks = [str(name) for name in results["task"].unique()]
    if any(name != task for name in tasks):
        raise InputError(
            "results",
            found=f"rows of {', '.join(tasks)}",
            expected=f"rows of the {task} task alone",
            remedy="Make a table of each task; their measures and tests are not the same.",
        )
    held = [str(name) for name in results["variant"].unique()]
    for variant in required:
        if variant not in held:
            raise _unknown("variant", variant, held)
    return patient_values(results[results["variant"].isin([*required, *variants])], task)


def _seeds_of(taken: pd.Series) -> tuple[int, ...]:
    """The seeds under which a measure was taken, of a column by variant and seed."""
    seeds = taken[taken].index.get_level_values("seed")
    return tuple(sorted({int(seed) for seed in seeds}))


def _means(cases: pd.DataFrame, taken: pd.DataFrame) -> pd.DataFrame:
    """The mean over the seeds under which a measure was taken; NaN where it is undefined for one of them."""
    seeds = pd.MultiIndex.from_tuples([(variant, seed) for variant, _, seed in cases.index])
    counted = taken.loc[seeds].to_numpy()
    # What was not taken counts for nothing, and what is undefined leaves the sum undefined.
    sums = cases.where(counted, 0.0).groupby(level=["variant", "patient"]).sum(min_count=0, skipna=False)
    numbers = pd.DataFrame(counted, cases.index, cases.columns).groupby(level=["variant", "patient"]).sum()
    return sums / numbers.where(numbers > 0)


def _check_unique(chosen: pd.DataFrame) -> None:
    repeated = chosen[chosen.duplicated(_KEY)]
    if len(repeated):
        first = repeated.iloc[0]
        raise InputError(
            "results",
            found=f"{first['metric']} of patient {first['patient']} more than once for variant "
            f"{first['variant']} and seed {first['seed']} ({len(repeated)} such rows)",
            expected="one row a patient, variant, seed and measure",
            remedy="Select one follow-up session and one model.",
        )


def _check_complete(variants: list[str], cases: list[tuple[str, str, int]]) -> dict[str, tuple[int, ...]]:
    """Each variant's seeds; raises where a variant lacks a patient, or a patient one of the seeds."""
    patients = {patient for _, patient, _ in cases}
    seeds = {v: tuple(sorted({s for variant, _, s in cases if variant == v})) for v in variants}
    have = set(cases)
    lacking = [
        f"{variant} lacks {_patients(missing)}"
        for variant in variants
        if (missing := {p for p in patients if not any((variant, p, s) in have for s in seeds[variant])})
    ] or [
        f"{variant} with seed {seed} lacks {_patients(missing)}"
        for variant in variants
        for seed in seeds[variant]
        if (missing := {p for p in patients if (variant, p, seed) not in have})
    ]
    if lacking:
        raise InputError(
            "results",
            found="; ".join(lacking),
            expected="every patient in every variant, with each of the variant's seeds",
            remedy="Run what is missing, or leave the patient or the variant out of the results.",
        )
    return seeds


def _patients(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return f"patient{'s' if len(ordered) > 1 else ''} {', '.join(ordered)}"


def _unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    return InputError(
        "results",
        found=f"no {what} {name}",
        expected=f"one of {', '.join(known)}",
        remedy=f"Choose one of these, or run the step that gives {name}.",
    )
