"""Summaries and paired tests over patients (section 3). A patient whose value is undefined is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Statistics(StrEnum):
    """A summary over patients and the paired test that belongs to it.

    The median comes with the interquartile range and Wilcoxon's signed-rank test, for what is not normally
    distributed (section 3.1); the mean with the SD and the paired Student's t-test (section 3.2).
    """

    MEAN_T_TEST = "mean, t-test"
    MEDIAN_WILCOXON = "median, Wilcoxon"


@dataclass(frozen=True)
class Summary:
    """A measure over patients.

    Args:
        centre: median or mean of the valid values; NaN where there are none.
        spread: first and third quartile beside a median, the SD with n - 1 alone beside a mean.
        n_valid: patients whose value is defined.
        n_total: all patients.
    """

    centre: float
    spread: tuple[float, ...]
    n_valid: int
    n_total: int

    def text(self, decimals: int) -> str:
        """As a table shows it; patients without a value are told of, and one value alone has no spread.

        >>> Summary(0.82, (0.05,), 20, 20).text(2)
        '0.82 (0.05)'
        >>> Summary(0.67, (0.32, 1.0), 14, 16).text(2)
        '0.67 [0.32 to 1.00], 14 of 16 valid'
        >>> Summary(0.82, (math.nan,), 1, 1).text(2)
        '0.82'
        """
        valid = f"{self.n_valid} of {self.n_total} valid"
        if not self.n_valid:
            return f"undefined, {valid}"
        shown = f"{self.centre:.{decimals}f}"
        parts = [f"{x:.{decimals}f}" for x in self.spread if not math.isnan(x)]
        if parts:
            shown += f" [{' to '.join(parts)}]" if len(parts) > 1 else f" ({parts[0]})"
        return shown if self.n_valid == self.n_total else f"{shown}, {valid}"


def summarise(values: ArrayLike, statistics: Statistics) -> Summary:
    """Median and quartiles, or mean and SD with n - 1, of the valid values.

    Args:
        values: one a patient, NaN where undefined.
        statistics: which summary.
    """
    everyone = np.asarray(values, dtype=float)
    valid = everyone[np.isfinite(everyone)]
    if not len(valid):
        nothing = (math.nan,) if statistics is Statistics.MEAN_T_TEST else (math.nan, math.nan)
        return Summary(math.nan, nothing, 0, len(everyone))
    if statistics is Statistics.MEDIAN_WILCOXON:
        first, median, third = (float(q) for q in np.percentile(valid, (25, 50, 75)))
        return Summary(median, (first, third), len(valid), len(everyone))
    sd = float(np.std(valid, ddof=1)) if len(valid) > 1 else math.nan
    return Summary(float(np.mean(valid)), (sd,), len(valid), len(everyone))


@dataclass(frozen=True)
class PairedTest:
    """Two-sided p-value of a paired test, NaN where undefined, and the number of pairs it is based on."""

    p: float
    n: int


def paired_test(base: ArrayLike, tuned: ArrayLike, statistics: Statistics) -> PairedTest:
    """Wilcoxon's signed-rank test or the paired Student's t-test, as SciPy has them.

    Args:
        base: one value a patient.
        tuned: the same patients in the same order.
        statistics: which test.

    Returns:
        p and the number of patients with both values. p is NaN for fewer than two, and for a t-test on
        differences that are all the same (no variance to hold them against); it is 1 where no patient
        changed.

    Raises:
        ValueError: the two do not have the same length.
    """
    before, after = np.asarray(base, dtype=float), np.asarray(tuned, dtype=float)
    if before.shape != after.shape:
        raise ValueError(f"values of {before.shape} and {after.shape} patients cannot be paired")
    valid = np.isfinite(before) & np.isfinite(after)
    # Rounded, because 0.9 - 0.8 and 0.5 - 0.4 must tie in rank, and a difference of 1e-17 is none.
    differences = np.round((after - before)[valid], 12)
    n = len(differences)
    if n < 2:
        return PairedTest(math.nan, n)
    if not differences.any():
        return PairedTest(1.0, n)
    if statistics is Statistics.MEDIAN_WILCOXON:
        return PairedTest(float(stats.wilcoxon(differences).pvalue), n)
    if np.ptp(differences) < 1e-9 * np.abs(differences).max():
        return PairedTest(math.nan, n)
    return PairedTest(float(stats.ttest_1samp(differences, 0.0).pvalue), n)
