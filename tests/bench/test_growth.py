"""The lines of the plot, and the plot."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from bench.growth import Points, draw, series
from bench.work import Side


def test_each_line_asks_for_its_counts() -> None:
    lines = series(quick=False)
    iterations = next(line for line in lines if line.panel == "iterations" and line.side is Side.OURS)
    assert iterations.job(20).arguments == {"iterations": [20]}
    patients = next(line for line in lines if line.label == "psft_jax, in one call")
    assert patients.job(2).arguments == {"iterations": [5], "one_call": True, "patients": 2}


def test_theirs_is_scaled_to_the_work_of_ours() -> None:
    samples = next(
        line for line in series(quick=False) if line.label == "PyTorch" and "samples" in line.panel
    )
    assert samples.fixed["slices"] * samples.scale == 4


def test_plot(tmp_path: Path) -> None:
    points: dict[str, dict[str, Points]] = defaultdict(dict)
    for line in series(quick=False):
        points[line.panel][line.label] = [(1, 1.0), (2, 2.5)]
    figure = draw({"cpu": "an abacus", "cores": 2}, points)
    assert [axes.get_xlabel() for axes in figure.axes] == list(points)
    assert list(figure.axes[0].lines[0].get_ydata()) == [1.0, 2.5]
    carried_on = figure.axes[1].lines[-1]
    assert list(carried_on.get_xdata()) == [1, 2]
    np.testing.assert_allclose(carried_on.get_ydata(), [1.0, 2.5])
    figure.savefig(tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
