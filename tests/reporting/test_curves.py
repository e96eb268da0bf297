from __future__ import annotations

import math

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.curves import iterations_figure
from psft_jax.scan import Provenance, Task
from tests.reporting.layout import check_layout

ITERATIONS = {"tuned": 100, "base": 0, "longer": 1000}


def _figure(frame, *measures, task=Task.SEGMENTATION, iterations=ITERATIONS):
    return iterations_figure(
        frame, task, measures, iterations, title="Iterations", provenance=Provenance.PHANTOM
    )


def _frame(results, values, **named):
    """From {patient: {measure: [base, tuned, longer]}}."""
    return results(
        {
            variant: {
                patient: {name: [numbers[place]] for name, numbers in measures.items()}
                for patient, measures in values.items()
            }
            for place, variant in enumerate(("base", "tuned", "longer"))
        },
        **named,
    )


def _lines(axes):
    """The patients' lines, and the thick one."""
    thin = [line.get_ydata().tolist() for line in axes.lines if line.get_linewidth() < 1]
    thick = [line.get_ydata() for line in axes.lines if line.get_linewidth() > 1]
    return thin, np.asarray(thick[0]).tolist() if thick else None


def test_a_line_a_patient_from_the_base_on_and_their_mean(results):
    frame = _frame(results, {"A": {"dsc": [0.5, 0.7, 0.9]}, "B": {"dsc": [0.7, 0.8, 0.7]}})
    (axes,) = _figure(frame, "dsc").axes
    thin, thick = _lines(axes)
    assert thin == [[0.5, 0.7, 0.9], [0.7, 0.8, 0.7]]
    assert thick == pytest.approx([0.6, 0.75, 0.8])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "100", "1000"]
    assert axes.get_title() == "DSC ↑\nn = 2"


def test_seeds_are_averaged_within_each_patient(results):
    frame = results({"base": {"A": {"dsc": [0.4, 0.6]}}, "tuned": {"A": {"dsc": [0.7, 0.9]}}})
    (axes,) = _figure(frame, "dsc", iterations={"base": 0, "tuned": 100}).axes
    assert _lines(axes)[0] == [pytest.approx([0.5, 0.8])]


def test_detection_has_the_median_and_names_what_has_the_mean(results):
    values = {
        n: {"fpc": [v, v, v], "mean_sd_detected": [v, v, v]}
        for n, v in zip("ABC", (0.0, 1.0, 8.0), strict=True)
    }
    figure = _figure(
        _frame(results, values, task=Task.DETECTION), "fpc", "mean_sd_detected", task=Task.DETECTION
    )
    assert [_lines(axes)[1] for axes in figure.axes] == [[1.0] * 3, [3.0] * 3]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["one patient", "median (of n > 1)", "Mean SD, detected lesions: mean"]


def test_who_has_gaps_is_shown_but_not_in_the_mean(results):
    frame = _frame(
        results,
        {"A": {"dsc": [0.5, 0.7, 0.9]}, "B": {"dsc": [0.1, math.nan, 0.1]}, "C": {"dsc": [0.7, 0.7, 0.7]}},
    )
    (axes,) = _figure(frame, "dsc").axes
    thin, thick = _lines(axes)
    np.testing.assert_array_equal(thin[1], [0.1, math.nan, 0.1])
    assert thick == pytest.approx([0.6, 0.7, 0.8])
    assert axes.get_title() == "DSC ↑\nn = 2 of 3"


def test_one_patient_is_no_mean(results):
    (axes,) = _figure(_frame(results, {"A": {"dsc": [0.5, 0.7, 0.9]}}), "dsc").axes
    assert _lines(axes) == ([[0.5, 0.7, 0.9]], None)


def test_a_patient_or_variant_that_is_missing_is_named(results):
    whole = _frame(results, {"A": {"dsc": [0.5, 0.7, 0.9]}, "B": {"dsc": [0.7, 0.8, 0.7]}})
    with pytest.raises(InputError, match="longer lacks patient B"):
        _figure(whole[:-1], "dsc")
    with pytest.raises(InputError, match="no variant longer"):
        _figure(whole[whole["variant"] != "longer"], "dsc")
    with pytest.raises(InputError, match="no measure h95_mm"):
        _figure(whole, "h95_mm")


@pytest.mark.parametrize("iterations", [{}, {"base": 0}, {"base": 0, "tuned": 0}])
def test_there_is_something_to_compare(results, iterations):
    frame = _frame(results, {"A": {"dsc": [0.5, 0.7, 0.9]}})
    with pytest.raises(ValueError, match="two or more variants"):
        _figure(frame, "dsc", iterations=iterations)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("n", [1, 3, 4])
def test_nothing_is_cut_off_or_overlaps(results, task, n):
    measures = ["mean_sd_detected", "h95_mm", "avd_percent", "dsc"][:n]
    values = {name: {m: [0.5, 1234.5, 0.1] for m in measures} for name in "AB"}
    check_layout(_figure(_frame(results, values, task=task), *measures, task=task))
