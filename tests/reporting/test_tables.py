from __future__ import annotations

import math

import pytest
from scipy import stats

from psft_jax.errors import InputError
from psft_jax.evaluation.measures import MEASURES
from psft_jax.reporting.grid import to_markdown
from psft_jax.reporting.tables import (
    HEADLINE,
    cells,
    comparison_grid,
    comparison_table,
    footnotes,
    header,
    headline,
    population,
    print_table,
)
from psft_jax.scan import Provenance, Task

BASE, TUNED = (0.5, 0.6, 0.7), (0.6, 0.8, 1.0)


def _patients(values, measure="dsc"):
    return {f"P{i}": {measure: [value]} for i, value in enumerate(values)}


def _table(frame, task=Task.SEGMENTATION, provenance=Provenance.PHANTOM):
    return comparison_table(frame, task, provenance=provenance)


def _texts(line):
    return [cell.text for cell in cells(line)]


def test_segmentation_by_hand(results):
    table = _table(results({"base": _patients(BASE), "tuned": _patients(TUNED)}))
    # Differences 0.1, 0.2, 0.3: mean 0.2, SD 0.1, t = 0.2 / (0.1 / sqrt 3) = 3.464 with 2 degrees of freedom.
    assert _texts(table.lines[0]) == ["DSC ↑", "0.60 (0.10)", "0.80 (0.20)", "+0.20 (0.10)", "0.074"]
    p = 2 * stats.t.sf(2 * math.sqrt(3), 2)
    assert table.lines[0].contrasts[0].test.p == pytest.approx(p)
    assert header(table) == ["Measure", "base", "tuned", "difference", "p"]
    assert population(table) == "brain, 3 patients, seed 0"


def test_detection_takes_the_median_of_the_differences(results):
    before, after = (1.0, 2.0, 3.0), (9.0, 3.0, 3.5)
    frame = results({"base": _patients(before, "fpc"), "tuned": _patients(after, "fpc")}, task=Task.DETECTION)
    line = _table(frame, Task.DETECTION).lines[0]
    # Differences 8, 1, 0.5: median 1, quartiles 0.75 and 4.5; the medians themselves differ by 1.5.
    assert line.contrasts[0].difference.centre == 1.0
    assert line.contrasts[0].difference.spread == (0.75, 4.5)
    assert line.base.centre == 2.0
    assert line.contrasts[0].value.centre == 3.5
    assert line.contrasts[0].test.p == pytest.approx(0.25)  # 2 of the 8 signs are as extreme


def test_seeds_do_not_count_as_patients(results):
    base = {f"P{i}": {"dsc": [v, v, v]} for i, v in enumerate(BASE)}
    tuned = {f"P{i}": {"dsc": [v - 0.1, v, v + 0.1]} for i, v in enumerate(TUNED)}
    many = _table(results({"base": base, "tuned": tuned}))
    one = _table(results({"base": _patients(BASE), "tuned": _patients(TUNED)}))
    assert _texts(many.lines[0]) == _texts(one.lines[0])
    assert many.lines[0].contrasts[0].test.n == 3
    assert population(many) == "brain, 3 patients, seeds 0, 1, 2 (averaged within each patient)"


def test_seeds_that_differ_stand_beside_their_variants(results):
    frame = results({"base": {"A": {"dsc": [0.5]}}, "tuned": {"A": {"dsc": [0.5, 0.6]}}})
    assert population(_table(frame)) == (
        "brain, 1 patient, seeds base: 0; tuned: 0, 1 (averaged within each patient)"
    )


@pytest.mark.parametrize(
    ("measure", "step", "tone", "shown"),
    [
        ("dsc", 0.1, "better", "+0.10"),
        ("dsc", -0.1, "worse", "-0.10"),
        ("avd_percent", 5.0, "worse", "+5.0"),
        ("avd_percent", -5.0, "better", "-5.0"),
    ],
)
def test_star_and_tone_mark_significant_differences(results, measure, step, tone, shown):
    before = [10 + i / 10 for i in range(8)]
    after = [v + step + i * 1e-4 for i, v in enumerate(before)]
    table = _table(results({"base": _patients(before, measure), "tuned": _patients(after, measure)}))
    *_, difference, p = cells(table.lines[0])
    assert difference.text.startswith(shown)
    assert (difference.tone, p.tone) == (tone, tone)
    assert p.text == "< 0.001*"


def test_no_tone_without_significance(results):
    table = _table(results({"base": _patients(BASE), "tuned": _patients(TUNED)}))
    assert {cell.tone for cell in cells(table.lines[0])} == {""}


def test_measures_that_describe_are_not_tested(results):
    table = _table(results({"base": _patients(BASE, "volume_ml"), "tuned": _patients(TUNED, "volume_ml")}))
    assert _texts(table.lines[0])[0] == "Volume (mL)"
    assert _texts(table.lines[0])[-1] == "–"


def test_undefined_values_are_counted(results):
    before, after = (2.0, math.nan, 4.0), (1.0, 1.0, math.nan)
    table = _table(results({"base": _patients(before, "h95_mm"), "tuned": _patients(after, "h95_mm")}))
    assert _texts(table.lines[0])[1:] == [
        "3.00 (1.41), 2 of 3 valid",
        "1.00 (0.00), 2 of 3 valid",
        "-1.00, 1 of 3 valid",
        "n/a",
    ]


def test_one_patient(results):
    table = _table(results({"base": _patients([0.5]), "tuned": _patients([0.6])}))
    assert _texts(table.lines[0])[1:] == ["0.50", "0.60", "+0.10", "n/a"]


@pytest.mark.parametrize("task", list(Task))
def test_headline_measures_come_first_and_all_are_there(results, task):
    values = {name: [0.5] for name in reversed(MEASURES)}
    table = _table(results({"base": {"A": values}, "tuned": {"A": values}}, task=task), task)
    names = [line.measure.name for line in table.lines]
    assert tuple(names[: len(HEADLINE[task])]) == HEADLINE[task]
    assert sorted(names) == sorted(MEASURES)


def test_uncertainty_has_mean_and_t_test_in_detection_too(results):
    before, after = (0.2, 0.3, 0.7), (0.1, 0.1, 0.4)
    frame = results(
        {
            "base": {f"P{i}": {"tpr": [0.5], "mean_sd_detected": [v]} for i, v in enumerate(before)},
            "tuned": {f"P{i}": {"tpr": [0.5], "mean_sd_detected": [v]} for i, v in enumerate(after)},
        },
        task=Task.DETECTION,
    )
    table = _table(frame, Task.DETECTION)
    # Differences -0.1, -0.2, -0.3, as in the segmentation by hand above.
    assert _texts(table.lines[1]) == [
        *("Mean SD, detected lesions ↓", "0.400 (0.265)", "0.200 (0.173)", "-0.200 (0.100)", "0.074"),
    ]
    assert footnotes(table)[:2] == [
        "Median [first to third quartile] over patients; p: Wilcoxon signed-rank test.",
        "Mean SD, detected lesions: mean (SD) over patients; p: paired Student's t-test.",
    ]


def test_a_table_of_one_variant_has_no_test_to_name(results):
    table = _table(results({"base": _patients(BASE)}))
    assert footnotes(table) == ["Mean (SD) over patients."]


def test_the_headline_leaves_out_what_no_patient_has_and_says_so(results):
    def one(small, large, h95):
        return {"A": {"dsc": [0.5], "tpr_small": [small], "tpr_large": [large], "h95_mm": [h95]}}

    nan = math.nan
    table = _table(results({"base": one(nan, nan, nan), "tuned": one(nan, 1.0, nan)}))
    short = headline(table)
    # A measure that one variant has stays, and so does everything in the whole table.
    assert [line.measure.name for line in short.lines] == ["dsc", "tpr_large"]
    assert footnotes(short)[-1] == (
        "Undefined for every patient, and left out: H95 (mm); TPR, small lesions (no lesion below 0.01 mL)."
    )
    assert {line.measure.name for line in table.lines} == {"dsc", "h95_mm", "tpr_small", "tpr_large"}
    assert not any("left out" in note for note in footnotes(table))


def test_the_headline_says_where_no_lesion_is_large(results):
    values = {"A": {"tpr": [0.5], "tpr_large": [math.nan]}}
    table = _table(results({"base": values, "tuned": values}, task=Task.DETECTION), Task.DETECTION)
    assert footnotes(headline(table))[-1].endswith(
        "left out: TPR, large lesions (no lesion of 1 mL or more)."
    )


@pytest.mark.parametrize("measures", [{"volume_ml": [1.0]}, {"dsc": [math.nan], "volume_ml": [1.0]}])
def test_a_headline_without_any_of_its_measures_is_the_whole_table(results, measures):
    table = _table(results({"base": {"A": measures}}))
    assert headline(table) == table


def test_several_variants_have_their_own_columns(results):
    frame = results({"50 it": _patients(TUNED), "base": _patients(BASE), "100 it": _patients(BASE)})
    table = _table(frame)
    assert header(table) == [
        *("Measure", "base", "50 it", "50 it: difference", "50 it: p"),
        *("100 it", "100 it: difference", "100 it: p"),
    ]
    assert _texts(table.lines[0])[5:] == ["0.60 (0.10)", "0.00 (0.00)", "1.000"]


def test_missing_base_is_refused(results):
    with pytest.raises(InputError, match="no variant base; expected one of tuned"):
        _table(results({"tuned": _patients(TUNED)}))


@pytest.mark.parametrize(
    ("task", "test"), [(Task.SEGMENTATION, "paired Student's t-test"), (Task.DETECTION, "Wilcoxon")]
)
def test_footnotes_name_the_test(results, task, test):
    frame = results({"base": _patients(BASE), "tuned": _patients(TUNED)}, task=task)
    assert test in " ".join(footnotes(_table(frame, task)))


def test_printed_table_says_all(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    print_table(_table(results({"base": _patients(BASE), "[red]": _patients(TUNED)})), heading="Follow-up")
    printed = capsys.readouterr().out
    for text in ("Follow-up", "PHANTOM data", "3 patients", "seed 0", "[red]", "+0.20 (0.10)", "t-test"):
        assert text in printed


def test_markdown_by_hand(results):
    frame = results({"base": _patients(BASE), "a|b": _patients(TUNED)})
    grid = comparison_grid(_table(frame, provenance=Provenance.REAL), heading="Follow-up")
    lines = to_markdown(grid).splitlines()
    assert lines[0] == "**Follow-up**"
    assert lines[2] == "REAL data: acquired images of patients. brain, 3 patients, seed 0."
    assert lines[4:7] == [
        "| Measure | base | a\\|b | difference | p |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| DSC ↑ | 0.60 (0.10) | 0.80 (0.20) | +0.20 (0.10) | 0.074 |",
    ]
    assert any("\\* p < 0.01" in line for line in lines)
