"""The paper's numbers, typed here a second time from its tables and text."""

from __future__ import annotations

import pytest

from psft_jax.evaluation.measures import MEASURES
from psft_jax.reporting.paper import TABLES, PaperValue, Setting
from psft_jax.scan import Task

BY_NAME = {table.name: table for table in TABLES}


def _numbers(table, setting, measure):
    value = BY_NAME[table].rows[setting].values[measure]
    return value.centre, value.spread, value.significant


@pytest.mark.parametrize(
    ("table", "setting", "measure", "centre", "spread", "significant"),
    [
        ("table_1", Setting.BASE, "tpr", 0.67, (0.32, 1.0), False),
        ("table_1", Setting.ITERATIONS_50, "f1", 0.40, (0.25, 0.80), False),
        ("table_1", Setting.FINE_TUNED, "tpr", 0.85, (0.44, 1.0), False),
        ("table_1", Setting.ITERATIONS_500, "tpr", 0.92, (0.33, 1.0), False),
        ("table_1", Setting.ITERATIONS_1000, "fpc", 1, (0, 4), False),
        ("table_2", Setting.ONE_ORGAN_SLICE, "fpc", 4, (1, 8), False),
        ("table_2", Setting.TWO_ORGAN_SLICES, "tpr", 0.42, (0.11, 1.0), False),
        ("table_2", Setting.ONE_LESION_SLICE, "f1", 0.31, (0.0, 0.50), False),
        ("table_2", Setting.TWO_LESION_SLICES, "f1", 0.31, (0.0, 0.44), False),
        ("table_2", Setting.ALL_ORGAN_SLICES, "fpc", 0, (0, 3), False),
        ("table_3", Setting.WEIGHTED, "fpc", 6, (3, 14), True),
        ("table_3", Setting.WEIGHTED, "tpr", 1.0, (0.62, 1.0), False),
        ("section_4_1_4", Setting.BASE, "tpr_small", 0.13, (), False),
        ("section_4_1_4", Setting.FINE_TUNED, "tpr_large", 0.83, (), False),
        ("section_4_1_5", Setting.BASE, "mean_sd_detected", 0.203, (0.078,), False),
        ("section_4_1_5", Setting.FINE_TUNED, "mean_sd_detected", 0.158, (0.070,), True),
        ("section_4_2_1", Setting.ITERATIONS_50, "dsc", 0.85, (), True),
        ("section_4_2_1", Setting.ITERATIONS_1000, "avd_percent", 10, (), False),
        ("table_4", Setting.BASE, "avd_percent", 20.7, (13.5,), False),
        ("table_4", Setting.ONE_ORGAN_SLICE, "avd_percent", 11.2, (8.2,), False),
        ("table_4", Setting.TWO_LESION_SLICES, "dsc", 0.86, (0.04,), True),
        ("table_4", Setting.ALL_ORGAN_SLICES, "avd_percent", 10.2, (6.9,), True),
        ("table_5", Setting.WEIGHTED, "dsc", 0.86, (0.05,), True),
        ("table_5", Setting.WEIGHTED, "avd_percent", 11.8, (10.5,), False),
        ("section_4_2_4", Setting.BASE, "h95_mm", 2.40, (), False),
        ("section_4_2_4", Setting.FINE_TUNED, "lesion_recall", 0.63, (), False),
        ("section_4_2_5", Setting.FINE_TUNED, "max_sd", 0.328, (0.038,), True),
    ],
)
def test_numbers(table, setting, measure, centre, spread, significant):
    assert _numbers(table, setting, measure) == (centre, spread, significant)


def test_p_values_belong_to_what_was_tested():
    liver, brain = BY_NAME["section_4_1_5"], BY_NAME["section_4_2_5"]
    assert liver.rows[Setting.FINE_TUNED].values["mean_sd_detected"].p == "0.003"
    assert brain.rows[Setting.FINE_TUNED].values["max_sd"].p == "< 0.001"
    assert brain.rows[Setting.BASE].values["max_sd"].p == ""


def test_all_tables_are_there_with_all_their_rows():
    assert {name: len(table.rows) for name, table in BY_NAME.items()} == {
        **{"table_1": 5, "table_2": 7, "table_3": 3, "table_4": 7, "table_5": 3},
        **{"section_4_1_4": 2, "section_4_1_5": 2, "section_4_2_1": 5},
        **{"section_4_2_4": 2, "section_4_2_4_sizes": 2, "section_4_2_5": 2},
    }
    assert all(next(iter(table.rows)) is Setting.BASE for table in TABLES)
    named = {setting for table in TABLES for setting in table.rows}
    assert named == set(Setting)


def test_what_stands_in_several_tables_is_the_same_everywhere():
    said: dict[tuple[Task, Setting, str], PaperValue] = {}
    for table in TABLES:
        for setting, row in table.rows.items():
            assert set(row.values) <= set(table.measures) <= set(MEASURES)
            for measure, value in row.values.items():
                assert said.setdefault((table.task, setting, measure), value) == value
