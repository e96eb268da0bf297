from __future__ import annotations

import math

import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.seeds import seeds_table
from psft_jax.scan import Provenance, Task


def _table(frame, rows, measures=("dsc",), task=Task.SEGMENTATION):
    return seeds_table(
        frame, task, rows=rows, measures=measures, provenance=Provenance.PHANTOM, heading="Seeds"
    )


def _texts(row):
    return [cell.text for cell in row]


def test_by_hand(results):
    frame = results({
        "base": {"A": {"dsc": [0.5]}, "B": {"dsc": [0.7]}},
        "tuned": {"A": {"dsc": [0.6, 0.7, 0.8]}, "B": {"dsc": [0.8, 0.9, 0.7]}},
    })  # fmt: skip
    grid = _table(frame, {"base": "Base CNN", "tuned": "Fine-tuned"})
    # Under seeds 0, 1, 2: means 0.7, 0.8, 0.75, whose mean is 0.75 and SD 0.05. Over patients: 0.7 and 0.8.
    assert grid.header[2:] == ("Over patients", "Seed 0", "Seed 1", "Seed 2", "Over seeds", "Seeds")
    assert [_texts(row) for row in grid.rows] == [
        ["DSC ↑", "Base CNN", "0.60 (0.14)", "0.60", "–", "–", "0.600", "1"],
        ["DSC ↑", "Fine-tuned", "0.75 (0.07)", "0.70", "0.80", "0.75", "0.750 (0.050)", "3"],
    ]


def test_detection_takes_the_median_under_each_seed(results):
    seeds = {"A": [0.0, 1.0], "B": [1.0, 4.0], "C": [8.0, 6.0]}
    frame = results({"base": {p: {"fpc": v} for p, v in seeds.items()}}, task=Task.DETECTION)
    (row,) = _table(frame, {"base": "Base"}, ["fpc"], Task.DETECTION).rows
    # Medians 1 and 4: mean 2.5, SD 3 / sqrt 2. Patients' means are 0.5, 2.5 and 7.
    assert _texts(row)[2:] == ["2.5 [1.5 to 4.8]", "1.0", "4.0", "2.50 (2.12)", "2"]


def test_undefined_values_are_counted(results):
    seeds = {"A": [2.0, math.nan, 3.0], "B": [4.0, math.nan, math.nan]}
    frame = results({"base": {p: {"h95_mm": v} for p, v in seeds.items()}})
    (row,) = _table(frame, {"base": "Base"}, ["h95_mm"]).rows
    assert _texts(row)[2:] == [
        "undefined, 0 of 2 valid",
        *("3.00", "undefined, 0 of 2 valid", "3.00, 1 of 2 valid"),
        *("3.000 (0.000), 2 of 3 valid", "3"),
    ]


def test_a_measure_that_one_seed_lacks_is_undefined_there(results):
    frame = results({"base": {"A": {"dsc": [0.5, 0.6], "max_sd": [0.3, 0.4]}}})
    frame = frame[(frame["metric"] != "max_sd") | (frame["seed"] == 0)]
    (row,) = _table(frame, {"base": "Base"}, ["max_sd"]).rows
    assert _texts(row)[3:] == ["0.300", "undefined, 0 of 1 valid", "0.3000, 1 of 2 valid", "2"]


def test_a_setting_that_was_not_run_keeps_its_row(results):
    grid = _table(results({"base": {"A": {"dsc": [0.5, 0.6]}}}), {"base": "Base", "later": "Later"})
    assert _texts(grid.rows[1]) == ["DSC ↑", "Later", *["not run"] * 5]


def test_a_patient_without_one_of_the_seeds_is_named(results):
    frame = results({"base": {"A": {"dsc": [0.5, 0.6]}, "B": {"dsc": [0.5]}}})
    with pytest.raises(InputError, match="base with seed 1 lacks patient B"):
        _table(frame, {"base": "Base"})
    with pytest.raises(InputError, match="no variant tuned"):
        _table(frame, {"tuned": "Fine-tuned", "base": "Base"})
