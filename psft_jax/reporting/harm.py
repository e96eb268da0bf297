"""Did fine-tuning hurt? Which patients' results got worse, by how much, in which lesions, and where to look.

A mean over patients that rises may hide patients whose own result falls; a clinic meets them one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from psft_jax.evaluation.measures import MEASURES, SMALL_BELOW_ML, Measure
from psft_jax.reporting.cases import Case, case_of
from psft_jax.reporting.patients import PatientValues, values_of_variants
from psft_jax.reporting.tables import HEADLINE
from psft_jax.reporting.wording import direction
from psft_jax.scan import Task

UNCERTAINTY = ("max_sd", "mean_sd_detected")
"""A network that is less sure has not given a worse result."""
_WITHOUT_REFERENCE = {"max_sd", "volume_ml", "n_objects"}


@dataclass(frozen=True)
class Change:
    """One measure of one patient, its seeds averaged; NaN where it is undefined."""

    patient: str
    measure: Measure
    base: float
    tuned: float

    @property
    def direction(self) -> str:
        """What the change means: better, worse, same, or nothing where a value is undefined."""
        # Rounded, because a difference of 1e-17 is none.
        return direction(self.measure, round(self.tuned - self.base, 12))

    @property
    def one_sided(self) -> bool:
        """Whether one value is defined and the other is not."""
        return math.isnan(self.base) != math.isnan(self.tuned)


@dataclass(frozen=True)
class LesionChange:
    """Annotated lesions of one size: how many there are, only the base CNN hit, only the other hit."""

    n: int
    lost: int
    gained: int


@dataclass(frozen=True)
class SliceChange:
    """Wrong voxels (false negative and false positive) in one slice.

    The slice is counted from 0 at the lowest, as "slice" in all figures, and as the third index of the run's
    NIfTI files, unless the scan was stored from top to bottom or not in axial slices.
    """

    slice: int
    base: int
    tuned: int


@dataclass(frozen=True)
class WorsePatient:
    """A patient with at least one measure that got worse.

    Args:
        patient: the identifier.
        session: the visit that was quantified.
        worse: these measures, in the order in which they were asked for.
        seed: whose result lesions, false positives and slice describe. It is the one whose value is nearest
            to the patient's mean in the first measure that got worse; of equally near ones, the worst.
        small: lesions below ``SMALL_BELOW_ML``.
        large: the others.
        false_positives: objects that hit no lesion, with the base CNN and fine-tuned.
        look_at: the slice in which wrong voxels grew most, the lowest of such; None where they grew in none.
    """

    patient: str
    session: str
    worse: tuple[Change, ...]
    seed: int
    small: LesionChange
    large: LesionChange
    false_positives: tuple[int, int]
    look_at: SliceChange | None


@dataclass(frozen=True)
class Harm:
    """Every patient is in exactly one of ``worse``, ``not_worse`` and ``unknown``.

    Args:
        task: of the results.
        base: the variant that the other is held against.
        tuned: the other.
        values: the patients' measures.
        measures: those that were compared.
        worse: who got worse, the largest loss in the first measure first.
        not_worse: who did not, as far as every measure goes that is defined for either variant.
        unknown: who is not known to have got worse, but has a measure that is defined for one variant only,
            or none that was taken against a reference.
        undefined: what could not be compared, whoever's it is.
    """

    task: Task
    base: str
    tuned: str
    values: PatientValues
    measures: tuple[Measure, ...]
    worse: tuple[WorsePatient, ...]
    not_worse: tuple[str, ...]
    unknown: tuple[str, ...]
    undefined: tuple[Change, ...]

    @property
    def nobody(self) -> bool:
        """Whether it is true that no patient got worse."""
        return not self.worse and not self.unknown


def harm(
    results: pd.DataFrame,
    lesions: pd.DataFrame,
    slices: pd.DataFrame,
    task: Task,
    *,
    base: str,
    tuned: str,
    measures: Sequence[str] | None = None,
) -> Harm:
    """Hold each patient's result against that of the base CNN.

    Any loss counts, however small: whether it matters is for the reader to say, who is shown by how much. The
    seeds are averaged within each patient.

    Args:
        results: tidy rows of one task and data set, as ``read_results`` gives them.
        lesions: rows of ``lesions.csv`` of the same runs.
        slices: rows of ``slices.csv`` of the same runs.
        task: of the rows.
        base: the variant of the base CNN.
        tuned: the variant that may have hurt.
        measures: those to compare, most telling first; if None, those of ``HEADLINE`` that the results hold,
            without ``UNCERTAINTY``.

    Raises:
        InputError: a variant or measure is not in the results, a patient lacks one of the variants, or
            lesions or slices are not those of the results.
        ValueError: a measure only describes a case, and has no better or worse.
    """
    values = values_of_variants(results, task, [base, tuned], required=[base, tuned])
    if measures is None:
        measures = [n for n in HEADLINE[task] if n in values.measures and n not in UNCERTAINTY]
    if any(MEASURES[name].higher_is_better is None for name in measures):
        raise ValueError(f"measures that may get worse, not all of {', '.join(measures)}")
    before, after = ({name: values.of(v, name) for name in measures} for v in (base, tuned))
    changes = {
        patient: [Change(patient, MEASURES[name], before[name][i], after[name][i]) for name in measures]
        for i, patient in enumerate(values.patients)
    }
    tables = tuple(
        table[(table["task"] == task) & (table["dataset"] == values.dataset)]
        for table in (results, lesions, slices)
    )
    lost = {patient: tuple(c for c in own if c.direction == "worse") for patient, own in changes.items()}
    worse = [_describe(own, tables, values, task, base, tuned) for own in lost.values() if own]
    others = [patient for patient, own in lost.items() if not own]
    unknown = tuple(patient for patient in others if not _judged(changes[patient]))
    return Harm(
        task=task,
        base=base,
        tuned=tuned,
        values=values,
        measures=tuple(MEASURES[name] for name in measures),
        worse=tuple(sorted(worse, key=lambda found: _loss(changes[found.patient]), reverse=True)),
        not_worse=tuple(patient for patient in others if patient not in unknown),
        unknown=unknown,
        undefined=tuple(change for own in changes.values() for change in own if not change.direction),
    )


def _judged(changes: Sequence[Change]) -> bool:
    """Whether a patient of whom nothing got worse may be said not to have got worse."""
    compared = {change.measure.name for change in changes if change.direction}
    return bool(compared - _WITHOUT_REFERENCE) and not any(change.one_sided for change in changes)


def _loss(changes: Sequence[Change]) -> float:
    """By how much the first measure got worse, below 0 where it got better."""
    first = changes[0]
    if not first.direction:
        return -math.inf
    return (first.base - first.tuned) * (1 if first.measure.higher_is_better else -1)


def _describe(
    worse: tuple[Change, ...],
    tables: tuple[pd.DataFrame, ...],
    values: PatientValues,
    task: Task,
    base: str,
    tuned: str,
) -> WorsePatient:
    """Look into one seed's lesions and slices of a patient who got worse."""
    first = worse[0]
    patient, name = first.patient, first.measure.name
    results, lesions, slices = tables
    rows = results[(results["patient"] == patient) & (results["variant"] == tuned)]
    by_seed = {int(s): float(v) for s, v in rows.loc[rows["metric"] == name, ["seed", "value"]].to_numpy()}
    seed = _typical_seed(by_seed, first)
    # The base CNN may have been run with fewer seeds, since they change its SD alone.
    base_seed = seed if seed in values.seeds[base] else values.seeds[base][0]
    before, after = (
        case_of(results, lesions, slices, patient=patient, variant=variant, seed=number)
        for variant, number in ((base, base_seed), (tuned, seed))
    )
    small_below = SMALL_BELOW_ML[task]
    return WorsePatient(
        patient=patient,
        session=after.session,
        worse=worse,
        seed=seed,
        small=_lesion_change(before, after, lambda volumes: volumes < small_below),
        large=_lesion_change(before, after, lambda volumes: volumes >= small_below),
        false_positives=(before.false_positives, after.false_positives),
        look_at=_slice_change(before, after),
    )


def _typical_seed(by_seed: Mapping[int, float], change: Change) -> int:
    """The seed nearest to the mean; of two, which are equally near, the one that shows the loss."""
    sign = 1 if change.measure.higher_is_better else -1
    return min(by_seed, key=lambda s: (round(abs(by_seed[s] - change.tuned), 12), sign * by_seed[s], s))


def _lesion_change(before: Case, after: Case, chosen: Callable[[pd.Series], pd.Series]) -> LesionChange:
    """The reference's objects have the same numbers in both cases."""
    old = before.reference[chosen(before.reference["volume_ml"])]["hit"]
    new = after.reference["hit"].loc[old.index]
    return LesionChange(len(old), lost=int((old > new).sum()), gained=int((new > old).sum()))


def _slice_change(before: Case, after: Case) -> SliceChange | None:
    errors = pd.DataFrame({"base": before.wrong_voxels, "tuned": after.wrong_voxels}).fillna(0).astype(int)
    errors = errors.sort_index()
    changes = [SliceChange(int(z), int(old), int(new)) for z, old, new in errors.reset_index().to_numpy()]
    worst = max(changes, key=lambda change: change.tuned - change.base, default=None)
    return worst if worst and worst.tuned > worst.base else None
