from __future__ import annotations

import itertools
import math
import statistics as standard_library

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from psft_jax.evaluation.statistics import Statistics, Summary, paired_test, summarise

NAN = math.nan
MEAN, MEDIAN = Statistics.MEAN_T_TEST, Statistics.MEDIAN_WILCOXON
values = st.lists(st.floats(-100, 100), min_size=2, max_size=20)


def exact_wilcoxon(differences: list[float]) -> float:
    """Two-sided p by trying every sign, zeros discarded."""
    nonzero = [d for d in differences if d]
    ranks = stats.rankdata(np.abs(nonzero))
    observed = abs(sum(math.copysign(r, d) for r, d in zip(ranks, nonzero, strict=True)))
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    return float(np.mean(np.array(sums) >= observed - 1e-9))


def test_median_and_quartiles():
    summary = summarise([0.2, 0.4, 0.6, 1.0], MEDIAN)
    assert summary.centre == pytest.approx(0.5)
    assert summary.spread == pytest.approx((0.35, 0.7))
    assert (summary.n_valid, summary.n_total) == (4, 4)


def test_mean_and_sd_with_n_minus_1():
    summary = summarise([1.0, 2.0, 6.0], MEAN)
    assert summary.centre == pytest.approx(3.0)
    assert summary.spread == pytest.approx((math.sqrt(7.0),))


@given(values)
@settings(deadline=None, max_examples=40)
def test_summaries_agree_with_the_standard_library(sample):
    mean_sd = summarise(sample, MEAN)
    assert mean_sd.centre == pytest.approx(standard_library.fmean(sample), abs=1e-9)
    assert mean_sd.spread[0] == pytest.approx(standard_library.stdev(sample), abs=1e-6)
    quartiles = summarise(sample, MEDIAN)
    first, median, third = standard_library.quantiles(sample, n=4, method="inclusive")
    assert (quartiles.centre, *quartiles.spread) == pytest.approx((median, first, third), abs=1e-9)


@pytest.mark.parametrize("statistics", Statistics)
def test_an_undefined_value_is_counted_and_left_out(statistics):
    summary = summarise([1.0, NAN, 3.0, 5.0], statistics)
    assert summary.centre == 3.0
    assert (summary.n_valid, summary.n_total) == (3, 4)
    assert summary.spread == summarise([1.0, 3.0, 5.0], statistics).spread


@pytest.mark.parametrize("statistics", Statistics)
@pytest.mark.parametrize("sample", [[], [NAN], [NAN, NAN]])
def test_nothing_valid_has_no_summary(statistics, sample):
    summary = summarise(sample, statistics)
    assert math.isnan(summary.centre)
    assert all(map(math.isnan, summary.spread))
    assert (summary.n_valid, summary.n_total) == (0, len(sample))
    assert summary.text(2) == f"undefined, 0 of {len(sample)} valid"


def test_one_patient_has_a_mean_and_no_sd():
    summary = summarise([0.5], MEAN)
    assert summary.centre == 0.5
    assert math.isnan(summary.spread[0])
    assert summary.text(2) == "0.50"
    assert summarise([0.5], MEDIAN).text(2) == "0.50 [0.50 to 0.50]"


def test_text_is_as_in_the_paper_and_tells_of_missing_patients():
    assert Summary(0.8249, (0.0512,), 20, 20).text(2) == "0.82 (0.05)"
    assert Summary(0.67, (0.32, 1.0), 16, 16).text(2) == "0.67 [0.32 to 1.00]"
    assert Summary(3.0, (0.0, 7.0), 15, 16).text(0) == "3 [0 to 7], 15 of 16 valid"


def test_t_test_of_a_hand_made_case():
    # Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) with 2 degrees of freedom, p = 1 - t / sqrt(t^2 + 2).
    t = 2 * math.sqrt(3)
    test = paired_test([1.0, 1.0, 1.0], [2.0, 3.0, 4.0], MEAN)
    assert test.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert test.n == 3


def test_wilcoxon_of_a_hand_made_case():
    # Five patients, all better: both extremes of 2^5 sign patterns.
    test = paired_test([0.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], MEDIAN)
    assert test.p == pytest.approx(2 / 2**5)
    assert test.n == 5


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
@settings(deadline=None, max_examples=40)
def test_wilcoxon_with_ties_and_zeros_agrees_with_every_sign_pattern(differences):
    test = paired_test([0.0] * len(differences), [d / 10 for d in differences], MEDIAN)
    assert test.p == pytest.approx(exact_wilcoxon(differences) if any(differences) else 1.0)
    assert test.n == len(differences)


@pytest.mark.parametrize("n", [5, 16, 60])
def test_tests_agree_with_scipy_on_two_samples(n):
    base, tuned = np.random.default_rng(n).normal(size=(2, n))
    assert paired_test(base, tuned, MEAN).p == pytest.approx(stats.ttest_rel(base, tuned).pvalue)
    assert paired_test(base, tuned, MEDIAN).p == pytest.approx(stats.wilcoxon(base, tuned).pvalue)


def test_rounding_errors_make_no_ranks():
    base, tuned = [0.8, 0.4, 0.5, 0.3], [0.9, 0.5, 0.6, 0.2]  # each a tenth, in floats all different
    assert paired_test(base, tuned, MEDIAN).p == pytest.approx(exact_wilcoxon([1, 1, 1, -1]))


@pytest.mark.parametrize("statistics", Statistics)
def test_a_pair_with_an_undefined_value_is_not_used(statistics):
    base, tuned = [0.1, NAN, 0.3, 0.5, 0.2], [0.2, 0.4, 0.5, NAN, 0.9]
    test = paired_test(base, tuned, statistics)
    assert test == paired_test([0.1, 0.3, 0.2], [0.2, 0.5, 0.9], statistics)
    assert test.n == 3


@pytest.mark.parametrize("statistics", Statistics)
@pytest.mark.parametrize(
    ("base", "tuned", "n"), [([], [], 0), ([0.1], [0.2], 1), ([0.1, NAN], [0.2, 0.3], 1)]
)
def test_fewer_than_two_pairs_have_no_p(statistics, base, tuned, n):
    test = paired_test(base, tuned, statistics)
    assert math.isnan(test.p)
    assert test.n == n


@pytest.mark.parametrize("statistics", Statistics)
def test_patients_that_did_not_change_have_p_1(statistics):
    assert paired_test([0.1, 0.2], [0.1, 0.2], statistics).p == 1.0
    assert paired_test([0.3, 0.2], [0.1 + 0.2, 0.2], statistics).p == 1.0


def test_a_t_test_needs_differences_that_vary():
    assert math.isnan(paired_test([0.8, 0.4, 0.5], [0.9, 0.5, 0.6], MEAN).p)
    assert math.isnan(paired_test([0.1, 0.2], [1e6 + 0.1, 1e6 + 0.2], MEAN).p)


@pytest.mark.parametrize("statistics", Statistics)
@pytest.mark.parametrize("n", [2, 3, 8, 20])
def test_p_does_not_depend_on_the_order_of_patients_or_of_networks(statistics, n):
    generator = np.random.default_rng(n)
    base, tuned = generator.normal(size=(2, n))
    order = generator.permutation(n)
    p = paired_test(base, tuned, statistics).p
    assert 0 < p <= 1
    assert paired_test(base[order], tuned[order], statistics).p == pytest.approx(p)
    assert paired_test(tuned, base, statistics).p == pytest.approx(p)


def test_samples_of_different_length_cannot_be_paired():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_test([0.1], [0.1, 0.2], MEDIAN)
