from __future__ import annotations

import math

import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.gains import gains_table
from psft_jax.scan import Provenance, Task


def _patients(values, measure="dsc"):
    return {f"P{i}": {measure: [value]} for i, value in enumerate(values)}


def _table(frame, controls, measures=("dsc",), task=Task.SEGMENTATION):
    return gains_table(
        frame, task, own="own", controls=controls, measures=measures,
        provenance=Provenance.PHANTOM, heading="Gain",
    )  # fmt: skip


def _texts(row):
    return [cell.text for cell in row]


def test_by_hand(results):
    frame = results({
        "base": _patients([0.5, 0.6, 0.7]),
        "own": _patients([0.6, 0.8, 1.0]),
        "other": _patients([0.7, 0.8, 0.9]),
    })  # fmt: skip
    grid = _table(frame, {"base": "Base", "other": "Other"})
    # Differences 0.1, 0.2, 0.3 (t = 2 sqrt 3, as in the table of variants), then -0.1, 0, 0.1.
    assert [_texts(row) for row in grid.rows] == [
        ["DSC ↑", "Base", "0.80 (0.20)", "0.60 (0.10)", "+0.20 (0.10) better", "0.074", "3", "3, 0, 0"],
        ["DSC ↑", "Other", "0.80 (0.20)", "0.80 (0.10)", "0.00 (0.10) same", "1.000", "3", "1, 1, 1"],
    ]
    assert grid.population == "brain, 3 patients, seed 0"


@pytest.mark.parametrize(
    ("measure", "step", "text", "word", "counts"),
    [
        ("dsc", 0.1, "+0.10", "better", "8, 0, 0"),
        ("dsc", -0.1, "-0.10", "worse", "0, 8, 0"),
        ("avd_percent", 5.0, "+5.0", "worse", "0, 8, 0"),
        ("avd_percent", -5.0, "-5.0", "better", "8, 0, 0"),
    ],
)
def test_less_may_be_better_and_words_say_so(results, measure, step, text, word, counts):
    control = [10 + i / 10 for i in range(8)]
    own = [v + step + i * 1e-4 for i, v in enumerate(control)]
    grid = _table(results({"base": _patients(control, measure), "own": _patients(own, measure)}), {
        "base": "Base"}, [measure])  # fmt: skip
    *_, difference, p, _, told = grid.rows[0]
    assert difference.text.startswith(text)
    assert difference.text.endswith(f" {word}")
    assert (difference.tone, p.text, p.tone) == (word, "< 0.001*", word)
    assert told.text == counts


def test_detection_has_the_median_of_the_differences(results):
    frame = results(
        {"base": _patients([1.0, 2.0, 3.0], "fpc"), "own": _patients([9.0, 3.0, 3.5], "fpc")},
        task=Task.DETECTION,
    )
    row = _table(frame, {"base": "Base"}, ["fpc"], Task.DETECTION).rows[0]
    assert _texts(row)[2:6] == ["3.5 [3.2 to 6.2]", "2.0 [1.5 to 2.5]", "+1.0 [0.8 to 4.5] worse", "0.250"]


def test_seeds_do_not_count_as_patients(results):
    own = {f"P{i}": {"dsc": [v - 0.1, v + 0.1]} for i, v in enumerate([0.6, 0.8, 1.0])}
    grid = _table(results({"base": _patients([0.5, 0.6, 0.7]), "own": own}), {"base": "Base"})
    assert _texts(grid.rows[0])[4:7] == ["+0.20 (0.10) better", "0.074", "3"]


def test_undefined_values_are_counted_and_neither_better_nor_worse(results):
    frame = results({
        "base": _patients([2.0, math.nan, 4.0], "h95_mm"), "own": _patients([1.0, 1.0, math.nan], "h95_mm")
    })  # fmt: skip
    row = _table(frame, {"base": "Base"}, ["h95_mm"]).rows[0]
    assert _texts(row)[2:] == [
        *("1.00 (0.00), 2 of 3 valid", "3.00 (1.41), 2 of 3 valid"),
        *("-1.00 better", "n/a", "1 of 3", "1, 0, 0"),
    ]


def test_what_is_shown_as_zero_is_called_the_same(results):
    frame = results({"base": _patients([0.3, 0.5, 0.7]), "own": _patients([0.1 + 0.2, 0.501, 0.703])})
    # 0.1 + 0.2 is above 0.3 by rounding alone; 0.001 and 0.003 are gains that the table does not show.
    assert _texts(_table(frame, {"base": "Base"}).rows[0])[4:] == [
        "0.00 (0.00) same",
        "0.270",
        "3",
        "2, 0, 1",
    ]


def test_measures_that_describe_have_no_gain(results):
    frame = results({"base": _patients([1.0, 2.0], "volume_ml"), "own": _patients([2.0, 3.0], "volume_ml")})
    assert _texts(_table(frame, {"base": "Base"}, ["volume_ml"]).rows[0])[4:] == [
        *("+1.00 (0.00)", "–", "2", "–"),
    ]


def test_a_control_that_was_not_run_keeps_its_row(results):
    frame = results({"base": _patients([0.5, 0.6]), "own": _patients([0.6, 0.7])})
    grid = _table(frame, {"base": "Base", "other": "Another patient's"})
    assert _texts(grid.rows[1])[1:] == ["Another patient's", "0.65 (0.07)", "not run", *["–"] * 4]


def test_no_own_and_missing_patients_are_refused(results):
    with pytest.raises(InputError, match="no variant own"):
        _table(results({"base": _patients([0.5])}), {"base": "Base"})
    with pytest.raises(InputError, match="base lacks patient P1"):
        _table(results({"base": _patients([0.5]), "own": _patients([0.5, 0.6])}), {"base": "Base"})
