from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from psft_jax.errors import InputError
from psft_jax.evaluation.rows import read_results, write_table
from psft_jax.reporting.patients import patient_values, values_of_variants
from psft_jax.scan import Task


def test_seeds_are_averaged_within_each_patient(results):
    frame = results({"base": {"B": {"dsc": [0.5, 0.7]}, "A": {"dsc": [0.9, 0.7]}}, "tuned": {
        "A": {"dsc": [0.2]}, "B": {"dsc": [0.4]}}})  # fmt: skip
    values = patient_values(frame, Task.SEGMENTATION)
    assert values.patients == ("A", "B")
    assert values.seeds == {"base": (0, 1), "tuned": (0,)}
    np.testing.assert_allclose(values.of("base", "dsc"), [0.8, 0.6])
    np.testing.assert_allclose(values.of("tuned", "dsc"), [0.2, 0.4])


def test_one_undefined_seed_makes_the_patient_undefined(results):
    frame = results({"base": {"A": {"h95_mm": [2.0, math.nan]}, "B": {"h95_mm": [2.0, 4.0]}}})
    np.testing.assert_allclose(patient_values(frame, Task.SEGMENTATION).of("base", "h95_mm"), [math.nan, 3.0])


def test_a_measure_that_one_case_lacks_is_undefined_there(results):
    frame = results({"base": {"A": {"dsc": [0.5], "max_sd": [0.4]}}, "tuned": {"A": {"dsc": [0.6]}}})
    assert math.isnan(patient_values(frame, Task.SEGMENTATION).of("tuned", "max_sd")[0])


def test_results_that_were_read_from_a_file_give_the_same(results, tmp_path):
    frame = results({"base": {"001": {"dsc": [0.5]}, "NA": {"dsc": [0.7]}}})
    write_table(tmp_path / "results.csv", frame)
    values = patient_values(read_results(tmp_path / "results.csv"), Task.SEGMENTATION)
    assert values.patients == ("001", "NA")
    np.testing.assert_allclose(values.of("base", "dsc"), [0.5, 0.7])


def test_only_the_rows_of_the_task_are_used(results):
    brain = results({"base": {"A": {"dsc": [0.5]}}})
    liver = results({"base": {"Z": {"dsc": [0.1]}}}, task=Task.DETECTION, dataset="liver")
    both = pd.concat([brain, liver])
    assert patient_values(both, Task.SEGMENTATION).patients == ("A",)
    assert patient_values(both, Task.DETECTION).dataset == "liver"


def test_no_rows_and_two_data_sets_are_refused(results):
    frame = results({"base": {"A": {"dsc": [0.5]}}})
    with pytest.raises(InputError, match="no rows"):
        patient_values(frame, Task.DETECTION)
    with pytest.raises(InputError, match="2 data sets \\(brain, other\\)"):
        patient_values(pd.concat([frame, frame.assign(dataset="other")]), Task.SEGMENTATION)


def test_a_patient_in_one_variant_only_is_named(results):
    frame = results({"base": {"A": {"dsc": [0.5]}, "B": {"dsc": [0.5]}, "C": {"dsc": [0.5]}}, "tuned": {
        "A": {"dsc": [0.6]}}})  # fmt: skip
    with pytest.raises(InputError, match="found tuned lacks patients B, C; expected"):
        patient_values(frame, Task.SEGMENTATION)


def test_a_seed_that_a_patient_lacks_is_named(results):
    frame = results({"base": {"A": {"dsc": [0.5, 0.6]}, "B": {"dsc": [0.5]}}})
    with pytest.raises(InputError, match="found base with seed 1 lacks patient B; expected"):
        patient_values(frame, Task.SEGMENTATION)


def test_two_values_for_one_case_are_refused(results):
    frame = results({"base": {"A": {"dsc": [0.5]}}})
    with pytest.raises(InputError, match="dsc of patient A more than once for variant base and seed 0"):
        patient_values(pd.concat([frame, frame.assign(session="3")]), Task.SEGMENTATION)


def test_unknown_measures_and_variants_are_named(results):
    values = patient_values(results({"base": {"A": {"dsc": [0.5]}}}), Task.SEGMENTATION)
    with pytest.raises(InputError, match="no measure h95_mm; expected one of dsc"):
        values.of("base", "h95_mm")
    with pytest.raises(InputError, match="no variant tuned; expected one of base"):
        values.of("tuned", "dsc")


def test_values_of_some_variants_leave_out_the_others_and_what_was_not_run(results):
    frame = results({
        "base": {"A": {"dsc": [0.5]}}, "tuned": {"A": {"dsc": [0.6]}}, "other": {"B": {"dsc": [0.7]}},
    })  # fmt: skip
    values = values_of_variants(frame, Task.SEGMENTATION, ["tuned", "later"], required=["base"])
    assert values.seeds == {"base": (0,), "tuned": (0,)}
    assert values.patients == ("A",)


def test_a_required_variant_and_rows_of_the_task_alone_are_asked_for(results):
    frame = results({"tuned": {"A": {"dsc": [0.6]}}})
    with pytest.raises(InputError, match="no variant base; expected one of tuned"):
        values_of_variants(frame, Task.SEGMENTATION, ["tuned"], required=["base"])
    with pytest.raises(InputError, match="rows of segmentation; expected rows of the detection task"):
        values_of_variants(frame, Task.DETECTION, ["tuned"], required=["tuned"])
