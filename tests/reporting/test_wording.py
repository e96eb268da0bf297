from __future__ import annotations

import math

import pytest

from psft_jax.evaluation.measures import MEASURES
from psft_jax.evaluation.statistics import PairedTest, Summary
from psft_jax.reporting.wording import direction, population_text, signed, starred, tone

SURE, UNSURE = PairedTest(0.001, 9), PairedTest(0.2, 9)


@pytest.mark.parametrize(
    ("measure", "difference", "said"),
    [
        ("dsc", 0.1, "better"),
        ("dsc", -0.1, "worse"),
        ("avd_percent", 0.1, "worse"),
        ("avd_percent", -0.1, "better"),
        ("dsc", 0.0, "same"),
        ("dsc", math.nan, ""),
        ("volume_ml", 0.1, ""),
    ],
)
def test_what_a_difference_means(measure, difference, said):
    assert direction(MEASURES[measure], difference) == said
    assert tone(MEASURES[measure], difference, SURE) == ("" if said == "same" else said)
    assert tone(MEASURES[measure], difference, UNSURE) == ""


@pytest.mark.parametrize(
    ("centre", "text"), [(0.014, "+0.01 (0.20)"), (-0.014, "-0.01 (0.20)"), (-0.001, "0.00 (0.20)")]
)
def test_a_difference_has_its_sign_and_zero_has_none(centre, text):
    assert signed(Summary(centre, (0.2,), 3, 3), 2) == text


def test_the_star_stands_behind_the_numbers():
    assert starred(Summary(0.8, (0.1,), 2, 3), 2, SURE) == "0.80 (0.10)*, 2 of 3 valid"
    assert starred(Summary(0.8, (0.1,), 3, 3), 2, UNSURE) == "0.80 (0.10)"
    assert starred(Summary(math.nan, (math.nan,), 0, 3), 2, None) == "undefined, 0 of 3 valid"


def test_seeds_that_most_share_are_said_once():
    assert population_text("liver", ["A", "B"], {"a": (0,), "b": (0, 1), "c": (0, 1), "d": (2,)}) == (
        "liver, 2 patients, seeds a: 0; d: 2; all others: 0, 1 (averaged within each patient)"
    )
    assert population_text("liver", ["A"], {"a": (3,), "b": (3,)}) == "liver, 1 patient, seed 3"
