from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from psft_jax.errors import InputError
from psft_jax.evaluation.calibration import calibration
from psft_jax.evaluation.uncertainty import sd_against_error
from psft_jax.reporting.figures import BLUE
from psft_jax.reporting.reliability import reliability_figure, sd_error_figure
from psft_jax.scan import Provenance
from tests.reporting.layout import check_layout

NAMED = {"title": "Bins", "provenance": Provenance.PHANTOM}


def _voxels(value: float, n: int, hits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``n`` voxels of one predicted value, ``hits`` of them with the outcome."""
    return np.full((1, 1, n), value), (np.arange(n) < hits)[None, None], np.ones((1, 1, n), bool)


def _table(cases, make):
    """From [(variant, patient, value, voxels, hits)]."""
    parts = [
        make(*_voxels(*case)).assign(variant=variant, patient=patient, seed=0)
        for variant, patient, *case in cases
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def probabilities():
    return _table(
        [
            *(("base", "A", 0.01, 1000, 0), ("base", "A", 0.62, 30, 15), ("base", "A", 0.91, 9, 9)),
            *(("base", "B", 0.01, 1000, 10), ("base", "B", 0.62, 10, 1)),
            *(("tuned", "A", 0.01, 100, 1), ("tuned", "B", 0.01, 100, 1)),
        ],
        calibration,
    )


def _curves(axes):
    """The patients' thin lines and the thick one, as lists of (x, y)."""
    thin = [line.get_xydata().tolist() for line in axes.lines if line.get_color() == BLUE]
    thick = [line.get_xydata().tolist() for line in axes.lines if line.get_color() == "black"]
    return thin, thick[0]


def _approx(points):
    return [pytest.approx(point) for point in points]


def test_voxels_are_pooled_and_bins_of_few_have_no_point(probabilities):
    figure = reliability_figure(probabilities, ["base", "tuned"], **NAMED)
    above, _, below, _ = figure.axes
    (first, second), pooled = _curves(above)
    assert first == _approx([(0.01, 0.0), (0.62, 0.5)])
    assert second == _approx([(0.01, 0.01), (0.62, 0.1)])
    # 16 of 40 voxels; 9 voxels at 0.91 are too few.
    assert pooled == _approx([(0.01, 0.005), (0.62, 0.4)])
    heights = [bar.get_height() for bar in below.patches]
    assert [(i, n) for i, n in enumerate(heights) if n] == [(0, 2000), (12, 40), (18, 9)]
    assert below.get_yscale() == "log"


def test_the_error_is_told_with_and_without_the_lowest_bin(probabilities):
    figure = reliability_figure(probabilities, ["base", "tuned"], **NAMED)
    # 2000 voxels 0.005 off, 40 by 0.22 and 9 by 0.09.
    whole = (2000 * 0.005 + 40 * 0.22 + 9 * 0.09) / 2049
    inner = (40 * 0.22 + 9 * 0.09) / 49
    assert figure.axes[0].get_title() == f"base\nn = 2, ECE {whole:.3f}\n{inner:.3f} without the lowest bin"
    assert figure.axes[1].get_title() == "tuned\nn = 2, ECE 0.000\nno voxels but in the lowest bin"


def test_a_single_voxel_has_a_bar_in_every_column(probabilities):
    one = _table([("tuned", "A", 0.5, 1, 1)], calibration)
    figure = reliability_figure(pd.concat([probabilities, one]), ["base", "tuned"], **NAMED)
    for below in figure.axes[2:]:
        bottom, top = below.get_ylim()
        assert bottom < 1
        assert top > 2000


def test_errors_against_sd():
    table = _table(
        [("base", "A", 0.01, 100, 0), ("base", "A", 0.3, 20, 10), ("base", "B", 0.3, 60, 10)],
        sd_against_error,
    )
    figure = sd_error_figure(table, ["base"], **NAMED)
    (first, second), pooled = _curves(figure.axes[0])
    assert first == _approx([(0.01, 0.0), (0.3, 0.5)])
    assert second == _approx([(0.3, 1 / 6)])
    assert pooled == _approx([(0.01, 0.0), (0.3, 0.25)])
    assert figure.axes[0].get_title() == "base\nn = 2"
    assert figure.axes[0].get_xlim() == (0, 0.5)


def test_fractions_are_seen_from_0():
    table = _table([("base", "A", 0.1, 50, 30), ("tuned", "A", 0.1, 50, 45)], sd_against_error)
    for axes in sd_error_figure(table, ["base", "tuned"], **NAMED).axes[:2]:
        bottom, top = axes.get_ylim()
        assert bottom < 0 < 0.9 < top


def test_seeds_of_a_patient_are_one_line(probabilities):
    seeds = pd.concat([probabilities, probabilities.assign(seed=1)])
    figure = reliability_figure(seeds, ["base"], **NAMED)
    assert len(_curves(figure.axes[0])[0]) == 2


def test_a_variant_without_voxels_is_named(probabilities):
    with pytest.raises(InputError, match="none of variant longer; expected one of base, tuned"):
        reliability_figure(probabilities, ["base", "longer"], **NAMED)
    with pytest.raises(InputError, match="none of variant base"):
        sd_error_figure(_table([("base", "A", 0.1, 0, 0)], sd_against_error), ["base"], **NAMED)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_nothing_is_cut_off_or_overlaps(columns):
    names = ["base", "fine-tuned", "fine-tuned (50 iterations)"][:columns]
    cases = [(name, "A", value, 100_000, 500) for name in names for value in (0.01, 0.5)]
    check_layout(reliability_figure(_table(cases, calibration), names, **NAMED))
    check_layout(sd_error_figure(_table(cases, sd_against_error), names, **NAMED))
