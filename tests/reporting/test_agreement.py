from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.agreement import Agreement, agreement, bland_altman_figure
from psft_jax.scan import Provenance, Task
from tests.reporting.layout import check_layout


def _figure(frame, *variants):
    return bland_altman_figure(
        frame, variants, Task.SEGMENTATION, title="Volume", provenance=Provenance.PHANTOM
    )


def _volumes(pairs):
    return {
        f"P{i}": {"volume_ml": [volume], "reference_volume_ml": [true]}
        for i, (volume, true) in enumerate(pairs)
    }


def _points(axes):
    return next(line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o")


def _levels(axes):
    """The bias and the limits."""
    return [line.get_ydata()[0] for line in axes.lines if line.get_color() == "black"]


def test_bias_and_limits_by_hand():
    # Differences 1, 2, 3: mean 2, SD 1.
    assert astuple(agreement(np.array([1.0, 2.0, 3.0]))) == pytest.approx((2.0, 0.04, 3.96))
    assert agreement(np.array([0.5, 0.5, 0.5])) == Agreement(0.5, 0.5, 0.5)
    assert agreement(np.array([1.0, 2.0])) is None
    assert agreement(np.array([])) is None


def test_95_percent_of_normal_differences_lie_within_the_limits():
    differences = np.random.default_rng(0).normal(3.0, 2.0, 100_000)
    limits = agreement(differences)
    inside = (differences > limits.lower) & (differences < limits.upper)
    assert inside.mean() == pytest.approx(0.95, abs=0.003)


def test_points_are_differences_against_means(results):
    base = _volumes([(3.0, 2.0), (6.0, 4.0), (11.0, 8.0)])
    tuned = _volumes([(2.0, 2.0), (4.0, 4.0), (8.0, 8.0)])
    first, second = _figure(results({"base": base, "tuned": tuned}), "base", "tuned").axes
    assert _points(first) == [[2.5, 1.0], [5.0, 2.0], [9.5, 3.0]]
    assert _levels(first) == pytest.approx([2.0, 0.04, 3.96])
    assert first.get_title() == "base\nn = 3, bias +2.00 mL\nlimits +0.04 to +3.96 mL"
    assert _levels(second) == [0.0, 0.0, 0.0]
    assert first.get_ylim() == second.get_ylim()
    assert (first.get_xlabel(), first.get_ylabel(), second.get_ylabel()) == (
        *("Mean of volume and reference (mL)", "Volume minus reference (mL)"),
        "",
    )


def test_two_patients_have_points_only(results):
    (axes,) = _figure(results({"base": _volumes([(3.0, 2.0), (6.0, 4.0)])}), "base").axes
    assert len(_points(axes)) == 2
    assert _levels(axes) == []
    assert axes.get_title() == "base\nn = 2, too few for limits"


def test_who_has_no_reference_is_counted(results):
    volumes = _volumes([(3.0, 2.0), (6.0, 4.0), (11.0, 8.0), (5.0, math.nan)])
    (axes,) = _figure(results({"base": volumes}), "base").axes
    assert len(_points(axes)) == 3
    assert axes.get_title().startswith("base\nn = 3 of 4, bias +2.00 mL")


def test_what_is_missing_is_named(results):
    frame = results({"base": _volumes([(3.0, 2.0)])})
    with pytest.raises(InputError, match="no variant tuned"):
        _figure(frame, "base", "tuned")
    with pytest.raises(InputError, match="no measure reference_volume_ml"):
        _figure(frame[frame["metric"] == "volume_ml"], "base")


@pytest.mark.parametrize("variants", [1, 2, 3, 4])
@pytest.mark.parametrize("patients", [1, 2, 16])
def test_nothing_is_cut_off_or_overlaps(results, variants, patients):
    volumes = _volumes([(30.0 * i + i**2, 29.0 * i) for i in range(1, patients + 1)])
    names = ["base", "fine-tuned", "fine-tuned (50 iterations)", "fine-tuned (weighted)"][:variants]
    check_layout(_figure(results(dict.fromkeys(names, volumes)), *names))
