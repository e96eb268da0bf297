from __future__ import annotations

import math

import pandas as pd
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.figures import BLUE, ORANGE
from psft_jax.reporting.lesion_sd import sd_by_size_figure
from psft_jax.scan import Provenance, Task
from tests.reporting.layout import check_layout

COLUMNS = ["variant", "patient", "seed", "kind", "lesion", "volume_ml", "hit", "mean_sd"]


@pytest.fixture
def lesions():
    rows = [
        ("base", "A", 0, "reference", 1, 0.005, 0, 0.30),
        ("base", "A", 0, "reference", 2, 0.010, 1, 0.10),
        ("base", "B", 0, "reference", 1, 2.000, 1, 0.20),
        ("base", "B", 0, "predicted", 1, 5.000, 0, 0.90),
        ("tuned", "A", 0, "reference", 1, 0.005, 1, 0.10),
        ("tuned", "A", 0, "reference", 2, 0.010, 1, 0.40),
        ("tuned", "B", 0, "reference", 1, 2.000, 0, 0.20),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _figure(lesions, *variants, task=Task.SEGMENTATION):
    return sd_by_size_figure(lesions, variants, task, title="SD", provenance=Provenance.PHANTOM)


def _points(axes, colour):
    return [
        point for line in axes.lines if line.get_color() == colour for point in line.get_xydata().tolist()
    ]


def _medians(axes):
    return [line.get_ydata()[0] for line in axes.lines if line.get_color() == "black"]


def test_annotated_lesions_by_size_and_whether_they_were_detected(lesions):
    base, tuned = _figure(lesions, "base", "tuned").axes
    assert _points(base, BLUE) == [[0.01, 0.1], [2.0, 0.2]]
    assert _points(base, ORANGE) == [[0.005, 0.3]]
    assert _medians(base) == pytest.approx([0.3, 0.15])
    assert _medians(tuned) == pytest.approx([0.1, 0.3])
    assert base.get_title() == "base\n1 small and 2 large lesions\nof n = 2 patients"
    assert base.get_xscale() == "log"
    # All points are in view, and 0 too.
    bottom, top = base.get_ylim()
    assert bottom == 0
    assert top > 0.4


def test_small_is_what_the_task_calls_small(lesions):
    (axes,) = _figure(lesions, "base", task=Task.DETECTION).axes
    assert axes.get_title().startswith("base\n2 small and 1 large lesions")
    assert _medians(axes) == pytest.approx([0.2, 0.2])


def test_seeds_are_averaged_within_each_lesion(lesions):
    again = lesions.assign(seed=1, mean_sd=lesions["mean_sd"] + 0.2, hit=0)
    once_more = lesions.assign(seed=2, mean_sd=lesions["mean_sd"] + 0.1, hit=0)
    (axes,) = _figure(pd.concat([lesions, again]), "base").axes
    assert _points(axes, BLUE) == [[0.01, pytest.approx(0.2)], [2.0, pytest.approx(0.3)]]  # hit by half
    (axes,) = _figure(pd.concat([lesions, again, once_more]), "base").axes
    assert _points(axes, BLUE) == []
    assert len(_points(axes, ORANGE)) == 3


def test_no_sd_is_refused(lesions):
    with pytest.raises(InputError, match="variant base: found none with an SD"):
        _figure(lesions.assign(mean_sd=math.nan), "base")
    with pytest.raises(InputError, match="variant longer: found none;"):
        _figure(lesions, "longer")


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_nothing_is_cut_off_or_overlaps(lesions, columns):
    names = ["base", "fine-tuned", "fine-tuned (50 iterations)", "fine-tuned (weighted)"][:columns]
    one = lesions[lesions["variant"] == "base"]
    check_layout(_figure(pd.concat([one.assign(variant=name) for name in names]), *names))
