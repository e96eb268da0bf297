"""How the cost grows with iterations, slices, samples and patients: ``python -m bench.growth``.

Both sides are measured in processes of their own, and theirs only where it takes seconds. What was measured
is kept in ``bench/growth.json``; ``--render`` draws it anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.machine import Machine, machine
from bench.material import Material, make_leaves, make_scan, save
from bench.measure import Process
from bench.page import PAGE, measured
from bench.rows import ANGLE_BANK
from bench.sizes import SIZES, Arguments, Job
from bench.work import Side
from psft_jax.errors import InputError
from psft_jax.files import atomic_path, write_text

KEPT = Path(__file__).parent / "growth.json"
PLOT = PAGE.parent / "performance" / "growth.png"
Points = list[tuple[int, float]]
"""How many, and the seconds they took."""


@dataclass(frozen=True)
class Series:
    """One line of a panel.

    Args:
        panel: what grows.
        label: what the line shows.
        side: who is measured.
        work: the side's method.
        grows: the argument that grows.
        counts: its values.
        fixed: the other arguments.
        scale: what the seconds are multiplied by.
        listed: the argument is a list of one number.
    """

    panel: str
    label: str
    side: Side
    work: str
    grows: str
    counts: tuple[int, ...]
    fixed: Arguments = field(default_factory=dict)
    scale: float = 1.0
    listed: bool = False

    def job(self, count: int) -> Job:
        """The work at one value, which is done once before it is timed if anything was compiled for it."""
        arguments = {**self.fixed, self.grows: [count] if self.listed else count}
        return Job(self.work, arguments, warm=arguments)


def series(*, quick: bool) -> list[Series]:
    """All lines.

    Args:
        quick: fewer and smaller, for the small network.
    """
    ours, theirs = Side.OURS, Side.THEIRS_KEPT
    bank: Arguments = {"slices": 1, "angle_bank": ANGLE_BANK}
    few, steps, volume = ((1, 2), 10, 2) if quick else ((1, 2, 4), 100, 4)
    lines = [
        ("psft_jax, continuous angles", ours, (5, 10, 20, 40), {}),
        (f"psft_jax, one slice, bank of {ANGLE_BANK}", ours, (25, 50, 100, 200), bank),
        ("PyTorch", theirs, (2, 5, 10), {}),
    ]
    found = [
        Series("iterations", label, side, "finetune", "iterations", counts, fixed, listed=True)
        for label, side, counts, fixed in lines
    ]
    found += [
        Series(
            f"slices, {steps} iterations",
            f"psft_jax, bank of {ANGLE_BANK}",
            ours,
            "finetune",
            "slices",
            few,
            {"iterations": [steps], "angle_bank": ANGLE_BANK},
        ),
        Series(
            f"slices, {steps} iterations",
            "psft_jax, continuous angles (a fifth, scaled)",
            ours,
            "finetune",
            "slices",
            few,
            {"iterations": [steps // 5]},
            scale=5,
        ),
        Series(
            f"slices, {steps} iterations",
            "PyTorch (5 iterations, scaled)",
            theirs,
            "finetune",
            "slices",
            few,
            {"iterations": [5]},
            scale=steps / 5,
        ),
    ]
    sampling = f"samples, {volume} slices"
    found += [
        Series(
            sampling,
            f"psft_jax, {masks} masks",
            ours,
            "predict",
            "samples",
            (1, 5, 25, 50),
            {"slices": volume, "masks": masks},
        )
        for masks in ("elementwise", "channel")
    ]
    found += [
        Series(sampling, "PyTorch", theirs, "predict", "samples", (1, 2, 5), {"slices": 1}, scale=volume)
    ]
    tuned: Arguments = {"iterations": [5]}
    patients = "patients, 5 iterations each"
    found += [
        Series(patients, "psft_jax, one by one", ours, "finetune", "patients", few, tuned),
        Series(
            patients, "psft_jax, in one call", ours, "finetune", "patients", few, {**tuned, "one_call": True}
        ),
        Series(patients, "PyTorch", theirs, "finetune", "patients", few[:2], tuned),
    ]
    return found


def measure_growth(size: str, lines: list[Series]) -> dict[str, dict[str, Points]]:
    """The points of each line, by panel and label."""
    points: dict[str, dict[str, Points]] = {}
    with tempfile.TemporaryDirectory() as folder:
        material = Path(folder) / "material.npz"
        save(material, Material(make_scan(SIZES[size]), make_leaves(SIZES[size])))
        for line in lines:
            print(f"{line.panel}: {line.label}", flush=True)
            with Process(line.side, size, material) as process:
                seconds = [(count, process.time(line.job(count)) * line.scale) for count in line.counts]
            points.setdefault(line.panel, {})[line.label] = seconds
    return points


def draw(where: Machine, points: dict[str, dict[str, Points]]) -> Figure:
    """One panel for each thing that grows; time over number, both from zero.

    Where theirs was measured at small numbers only, its line goes on straight.
    """
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels: list[Axes] = list(figure.subplots(2, 2).flat)
    for axes, (panel, lines) in zip(panels, points.items(), strict=True):
        most = max(count for line in lines.values() for count, _ in line)
        for label, line in lines.items():
            counts, seconds = zip(*line, strict=True)
            if label.startswith("PyTorch"):
                axes.plot(counts, seconds, "s", color="0.4", label=label)
                fitted = np.polynomial.Polynomial.fit(counts, seconds, 1)
                axes.plot((counts[0], most), fitted(np.array((counts[0], most))), "--", color="0.4")
            else:
                axes.plot(counts, seconds, "o-", label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        highest = 1.3 * axes.get_ylim()[1]  # room for the legend
        axes.set(xlabel=panel, ylabel="seconds", ylim=(0, highest), xlim=(0, None))
        axes.legend(fontsize="small", frameon=False, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{where['cpu']}, {where['cores']} cores", fontsize="medium")
    return figure


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, to try the measurement itself")
    parser.add_argument("--render", action="store_true", help="draw what was measured before")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"the measured points, usually {KEPT.name} beside this one",
    )
    options = parser.parse_args()
    if options.quick and options.out is None:
        parser.error("--quick needs --out: a small network's times are not for the page")
    out = options.out or KEPT
    if not options.render:
        points = measure_growth("quick" if options.quick else "full", series(quick=options.quick))
        content = json.dumps({"machine": machine(), "points": points}, indent=1)
        write_text(out, content + "\n", overwrite=True)
    try:
        kept = measured(out)
    except InputError as error:
        parser.error(str(error))
    plot = PLOT if out == KEPT else out.with_suffix(".png")
    with atomic_path(plot, overwrite=True) as temporary:
        draw(kept["machine"], kept["points"]).savefig(temporary, dpi=150)


if __name__ == "__main__":
    main()
