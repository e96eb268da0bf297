"""From timings to a table: medians, spreads, ratios, and whether the target was reached."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import page
from bench.machine import Machine
from bench.measure import Measured
from bench.rows import ONE_RUN, SEPARATELY, TOGETHER, Kind, Row
from bench.work import Side
from psft_jax.files import write_text

GB = 1e9
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Result:
    """One line of the table, as it is kept.

    Args:
        work: in words.
        kind: what ratio and target speak of.
        target: what is to be reached, or None.
        value: what was: how many times as fast as PyTorch as it comes, how many times the cost of one run,
            or gigabytes.
        lowest, highest: of the value, over the repeats.
        reached: whether the value reaches the target; None without a target.
        measured: the timings.
    """

    work: str
    kind: Kind
    target: float | None
    value: float
    lowest: float
    highest: float
    reached: bool | None
    measured: Measured

    @property
    def name(self) -> str:
        """The row's name."""
        return self.measured.name


def judge(row: Row, measured: Measured) -> Result:
    """The row's result.

    A ratio is the median over the repeats, each of which timed both sides one right after the other, so that
    a machine that slows down does so for both.
    """
    values = _values(row.kind, measured)
    value = median(values)
    reached = None
    if row.target is not None:
        reached = value >= row.target if row.kind is Kind.SPEED else value <= row.target
    return Result(row.work, row.kind, row.target, value, min(values), max(values), reached, measured)


def speed(measured: Measured, side: Side) -> list[float]:
    """How many times as fast as one of the PyTorch processes, repeat by repeat."""
    return ratios(measured.seconds[side], measured.seconds[Side.OURS])


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Repeat by repeat.

    >>> ratios([4.0, 9.0], [2.0, 3.0])
    [2.0, 3.0]
    """
    return [a / b for a, b in zip(above, below, strict=True)]


def _values(kind: Kind, measured: Measured) -> list[float]:
    if kind is Kind.SPEED:
        return speed(measured, Side.THEIRS)
    if kind is Kind.COST:
        return ratios(measured.seconds[TOGETHER], measured.seconds[ONE_RUN])
    return [measured.peak_bytes[Side.OURS] / GB]


def separately(measured: Measured) -> float:
    """What the tables cost with every setting run by itself, in runs of the longest."""
    return median(ratios(measured.seconds[SEPARATELY], measured.seconds[ONE_RUN]))


def save(path: Path, machine: Machine, results: list[Result]) -> None:
    """Write the results; other rows stay if they were measured on the same machine with the same versions."""
    kept: dict[str, Result] = {}
    if path.exists():
        before, earlier = load(path)
        kept = earlier if before == machine else {}
    rows = {name: asdict(result) for name, result in (kept | {r.name: r for r in results}).items()}
    write_text(path, json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", overwrite=True)


def load(path: Path) -> tuple[Machine, dict[str, Result]]:
    """The machine, and the results by the row's name.

    Raises:
        InputError: the file cannot be read.
    """
    content = page.measured(path)
    results = {
        name: Result(**{**row, "kind": Kind(row["kind"]), "measured": Measured(**row["measured"])})
        for name, row in content["rows"].items()
    }
    return content["machine"], results
