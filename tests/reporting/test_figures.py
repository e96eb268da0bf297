from __future__ import annotations

import math

import matplotlib as mpl
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.figures import BLUE, GREY, ORANGE, loss_figure, paired_figure, panels, save_figure
from psft_jax.reporting.overlays import overlay_figure, sd_figure
from psft_jax.scan import Provenance, Task
from tests.reporting.layout import check_layout

METRICS = pd.DataFrame(
    {
        "step": [1, 2, 2, 3, 4, 4],
        "loss": [0.9, 0.5, math.nan, 0.4, 0.3, math.nan],
        "validation_loss": [math.nan, math.nan, 0.6, math.nan, math.nan, 0.7],
    }
)


def _loss(metrics):
    return loss_figure(metrics, title="Training", provenance=Provenance.PHANTOM)


def _paired(frame, *measures, task=Task.SEGMENTATION):
    return paired_figure(
        frame, list(measures), task, "base", "tuned", title="Pairs", provenance=Provenance.PHANTOM
    )


def _lines(axes):
    """The patients' lines: (colour, dashes, base, tuned)."""
    return [
        (line.get_color(), line.get_linestyle(), *line.get_ydata())
        for line in axes.lines
        if line.get_marker() == "o"
    ]


def _bars(axes):
    return [line.get_ydata()[0] for line in axes.lines if line.get_color() == "black"]


@pytest.fixture
def pairs(results):
    return results(
        {
            "base": {
                "A": {"dsc": [0.5], "avd_percent": [20.0], "volume_ml": [1.0]},
                "B": {"dsc": [0.6], "avd_percent": [10.0], "volume_ml": [2.0]},
                "C": {"dsc": [0.7], "avd_percent": [math.nan], "volume_ml": [2.0]},
            },
            "tuned": {
                "A": {"dsc": [0.8], "avd_percent": [10.0], "volume_ml": [2.0]},
                "B": {"dsc": [0.5], "avd_percent": [12.0], "volume_ml": [2.0]},
                "C": {"dsc": [0.7], "avd_percent": [1.0], "volume_ml": [1.0]},
            },
        }
    )


def test_a_line_a_patient_coloured_by_what_is_better(pairs):
    dsc, avd, volume = _paired(pairs, "dsc", "avd_percent", "volume_ml").axes
    assert _lines(dsc) == [(BLUE, "-", 0.5, 0.8), (ORANGE, "--", 0.6, 0.5), (GREY, "-", 0.7, 0.7)]
    assert _lines(avd) == [(BLUE, "-", 20.0, 10.0), (ORANGE, "--", 10.0, 12.0)]
    assert {colour for colour, *_ in _lines(volume)} == {GREY}
    np.testing.assert_allclose(_bars(dsc), [0.6, 2 / 3])
    np.testing.assert_allclose(_bars(avd), [15.0, 11.0])  # of the patients with both values


def test_titles_tell_p_and_the_number_of_patients(pairs):
    dsc, avd, volume = _paired(pairs, "dsc", "avd_percent", "volume_ml").axes
    # Differences 0.3, -0.1, 0: mean 1/15, t = 0.555 with 2 degrees of freedom.
    assert dsc.get_title() == "DSC\np = 0.635, n = 3"
    assert avd.get_title().endswith(", n = 2 of 3")
    assert volume.get_title() == "Volume (mL)\nn = 3"


def test_detection_marks_the_median(results):
    base = {name: {"fpc": [value]} for name, value in zip("ABC", (0.0, 1.0, 8.0), strict=True)}
    frame = results({"base": base, "tuned": base}, task=Task.DETECTION)
    (axes,) = _paired(frame, "fpc", task=Task.DETECTION).axes
    assert _bars(axes) == [1.0, 1.0]


def test_uncertainty_marks_the_mean_and_the_legend_says_of_which_measures(results):
    base = {n: {"fpc": [v], "max_sd": [v / 10]} for n, v in zip("ABC", (0.0, 1.0, 8.0), strict=True)}
    frame = results({"base": base, "tuned": base}, task=Task.DETECTION)
    figure = _paired(frame, "fpc", "max_sd", task=Task.DETECTION)
    assert [_bars(axes)[0] for axes in figure.axes] == pytest.approx([1.0, 0.3])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[3:] == [
        *("median", "* p < 0.01, Wilcoxon signed-rank test"),
        "Maximum SD:\nmean, paired Student's t-test",
    ]
    alone = _paired(frame, "max_sd", task=Task.DETECTION)
    assert [text.get_text() for text in alone.legends[0].get_texts()][3:] == [
        *("mean", "* p < 0.01, paired Student's t-test"),
    ]


def test_one_patient_with_and_without_a_value(results):
    frame = results(
        {"base": {"A": {"dsc": [0.5], "h95_mm": [1.0]}}, "tuned": {"A": {"dsc": [0.6], "h95_mm": [math.nan]}}}
    )
    dsc, h95 = _paired(frame, "dsc", "h95_mm").axes
    assert dsc.get_title() == "DSC\np = n/a, n = 1"
    assert _lines(dsc) == [(BLUE, "-", 0.5, 0.6)]
    assert h95.get_title() == "H95 (mm)\np = n/a, n = 0 of 1"
    assert not _lines(h95)


def test_small_p_has_no_equals_sign(results):
    base = {f"P{i}": {"dsc": [0.5 + i / 100]} for i in range(8)}
    tuned = {f"P{i}": {"dsc": [0.6 + i / 90]} for i in range(8)}
    (axes,) = _paired(results({"base": base, "tuned": tuned}), "dsc").axes
    assert axes.get_title() == "DSC\np < 0.001*, n = 8"


def test_loss_curves_leave_out_what_is_absent():
    (axes,) = _loss(METRICS).axes
    training, validation, best = axes.lines
    assert training.get_xydata().tolist() == [[1, 0.9], [2, 0.5], [3, 0.4], [4, 0.3]]
    assert validation.get_xydata().tolist() == [[2, 0.6], [4, 0.7]]
    assert best.get_xydata().tolist() == [[2, 0.6]]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    "metrics",
    [METRICS.drop(columns="validation_loss"), METRICS.assign(validation_loss=math.nan), METRICS[:1]],
)
def test_loss_without_validation(metrics):
    assert len(_loss(metrics).axes[0].lines) == 1


@pytest.mark.parametrize("metrics", [METRICS[2:3], METRICS.drop(columns="loss"), METRICS[:0]])
def test_no_loss_is_refused(metrics):
    with pytest.raises(InputError, match="no training loss"):
        _loss(metrics)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_text_is_cut_off_or_overlaps(results, task, n):
    measures = ["tpr_small", "max_sd", "mean_sd_detected", "reference_volume_ml"][:n]
    values = {"A": {name: [0.5] for name in measures}}
    figure = paired_figure(
        results({"base": values, "fine-tuned, 100 it": values}, task=task), measures, task,
        "base", "fine-tuned, 100 it", title="Each patient's follow-up, base and fine-tuned CNN",
        provenance=Provenance.SIMULATED,
    )  # fmt: skip
    check_layout(figure)


def test_overlays_are_not_cut_off_either(scan):
    sd = scan.lesion * 0.3
    named = {"title": "A title of the usual length", "provenance": Provenance.PHANTOM}
    check_layout(overlay_figure(scan, {"base": scan.lesion}, **named))
    check_layout(sd_figure(scan, {"base": sd, "fine-tuned": sd}, **named))
    check_layout(_loss(METRICS))


def test_saved_figure_is_a_png_that_is_not_overwritten(tmp_path):
    path = tmp_path / "figures" / "loss.png"
    save_figure(_loss(METRICS), path)
    before = path.read_bytes()
    assert mpl.image.imread(path).shape[:2] == (675, 1125)  # 7.5 x 4.5 inches at 150 dpi
    with pytest.raises(InputError, match="a file of this name"):
        save_figure(_loss(METRICS[:1]), path)
    assert path.read_bytes() == before
    save_figure(_loss(METRICS[:1]), path, overwrite=True)
    assert path.read_bytes() != before


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3))])
def test_panels_stand_in_rows_of_about_the_same_length(n, shape):
    assert panels(n) == shape


def test_nothing_stays_behind_in_pyplot():
    _loss(METRICS)
    assert plt.get_fignums() == []
