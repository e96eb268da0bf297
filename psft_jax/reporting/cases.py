"""Lesions and slices of single cases, once they are known to be those of the case's measures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from psft_jax.errors import InputError
from psft_jax.evaluation.lesions import PREDICTED, REFERENCE

_VOXELS = ["true_positive", "false_negative", "false_positive"]


@dataclass(frozen=True, eq=False)
class Case:
    """What one network, with one seed, made of one patient's follow-up.

    Args:
        session: the visit.
        measures: by name, NaN where undefined.
        lesions: rows of ``lesions.csv``, by the object's number within its kind.
        slices: rows of ``slices.csv``, by slice.
    """

    session: str
    measures: Mapping[str, float]
    lesions: pd.DataFrame
    slices: pd.DataFrame

    @property
    def reference(self) -> pd.DataFrame:
        """The annotated lesions."""
        return self.lesions[self.lesions["kind"] == REFERENCE]

    @property
    def false_positives(self) -> int:
        """Predicted objects that hit no lesion."""
        return int(((self.lesions["kind"] == PREDICTED) & (self.lesions["hit"] == 0)).sum())

    @property
    def wrong_voxels(self) -> pd.Series:
        """False negative and false positive voxels by slice."""
        return self.slices["false_negative"] + self.slices["false_positive"]


def case_of(
    results: pd.DataFrame,
    lesions: pd.DataFrame,
    slices: pd.DataFrame,
    *,
    patient: str,
    variant: str,
    seed: int,
) -> Case:
    """Find one case in the three tables of a task and data set.

    Raises:
        InputError: the number of lesions or of false positives, or the DSC, is another in the results than
            lesions and slices give.
    """
    measures, objects, voxels = (
        table[(table["patient"] == patient) & (table["variant"] == variant) & (table["seed"] == seed)]
        for table in (results, lesions, slices)
    )
    case = Case(
        session=str(measures["session"].iloc[0]),
        measures={str(name): float(value) for name, value in measures[["metric", "value"]].to_numpy()},
        lesions=objects.set_index("lesion"),
        slices=voxels.set_index("slice"),
    )
    _check(case, f"{variant}, patient {patient}, seed {seed}")
    return case


def _check(case: Case, name: str) -> None:
    """Raise where the tables contradict one another, as they do where rows are lost or are there twice."""
    held = case.measures
    dice = held.get("dsc", math.nan)
    compared = {
        "lesions": (held.get("n_small", math.nan) + held.get("n_large", math.nan), len(case.reference)),
        "false positive objects": (held.get("fpc", math.nan), case.false_positives),
        "DSC": (dice, _dice(case.slices)),
    }
    for what, (expected, found) in compared.items():
        if not math.isnan(expected) and not math.isclose(expected, found, abs_tol=1e-6):
            raise InputError(
                f"lesions and slices of {name}",
                found=f"{what}: {found:g}",
                expected=f"{expected:g}, as in the results",
                remedy="Give the tables that were written together with the results, each row once.",
            )


def _dice(slices: pd.DataFrame) -> float:
    true_positive, *wrong = (int(slices[name].sum()) for name in _VOXELS)
    total = 2 * true_positive + sum(wrong)
    return 2 * true_positive / total if total else 1.0
