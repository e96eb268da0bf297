"""The table of results, on the terminal and in the page; both are made of the same cells."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from rich.table import Table

from bench.machine import Machine
from bench.results import GB, Result, separately, speed
from bench.rows import ONE_RUN, TOGETHER, Kind
from bench.work import Side

HEADER = (
    "work", "psft_jax", "PyTorch", "PyTorch, pages kept", "ratio", "ratio, pages kept", "target", "reached",
    "compiling",
)  # fmt: skip


def cells(result: Result) -> tuple[str, ...]:
    """One line, in the columns of ``HEADER``."""
    measured = result.measured
    compiling = f"{measured.compile_seconds:.0f} s"
    verdict = {True: "yes", False: "no", None: ""}[result.reached]
    if result.kind is Kind.MEMORY:
        theirs = f"{measured.peak_bytes[Side.THEIRS] / GB:.2f} GB"
        ours = f"{result.value:.2f} GB, all compiled and done in {_seconds(result, Side.OURS)}"
        return (result.work, ours, theirs, "", "", "", f"< {result.target:g} GB", verdict, compiling)
    if result.kind is Kind.COST:
        ours = f"{_seconds(result, TOGETHER)} together, {_seconds(result, ONE_RUN)} the longest alone"
        ratio = f"{result.value:.2f}x the longest ({separately(measured):.2f}x separately)"
        return (result.work, ours, "", "", ratio, "", f"<= {result.target:g}x", verdict, compiling)
    target = "" if result.target is None else f">= {result.target:g}x"
    times = [_seconds(result, side) for side in (Side.OURS, Side.THEIRS, Side.THEIRS_KEPT)]
    both = [_ratio(speed(measured, side)) for side in (Side.THEIRS, Side.THEIRS_KEPT)]
    return (result.work, *times, *both, target, verdict, compiling)


def shares(result: Result) -> str:
    """Which share of the work was timed, where it was not all."""
    parts = {name: words for name, words in result.measured.shares.items() if words != "all"}
    if not parts:
        return ""
    named = {Side.OURS: "psft_jax", Side.THEIRS: "PyTorch"}
    said = [f"{named[Side(name)]} {words}" for name, words in parts.items() if name in named]
    return f"{result.work}: " + (", ".join(said) or f"{next(iter(parts.values()))}, all in proportion")


def terminal(results: Iterable[Result]) -> Table:
    """The table for the terminal."""
    table = Table(*HEADER)
    for result in results:
        style = {True: "green", False: "red", None: None}[result.reached]
        table.add_row(*cells(result), style=style)
    return table


def markdown(machine: Machine, results: Iterable[Result]) -> str:
    """The table, its machine and its shares, for the page."""
    results = list(results)
    lines = [_line(HEADER), _line("---" if n == 0 else "---:" for n in range(len(HEADER)))]
    lines += [_line(cells(result)) for result in results]
    days = sorted({result.measured.date for result in results})
    day = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    lines += [
        "",
        f"{machine['cpu']}, {machine['cores']} cores; JAX {machine['jax']}, PyTorch {machine['torch']}, "
        f"Python {machine['python']}; {day}. Medians, with the lowest and the highest of the repeats.",
    ]
    scaled = [words for result in results if (words := shares(result))]
    if scaled:
        lines += ["", "Timed in part and scaled:", "", *(f"- {words}" for words in scaled)]
    return "\n".join(lines)


def progress(result: Result) -> str:
    """One line for a row that is done."""
    _, ours, _, _, ratio, kept, target, verdict, _ = cells(result)
    against = f"{ratio}, pages kept {kept}" if kept else ratio
    wanted = f"wanted {target}: {verdict}" if target else ""
    return f"{result.name}: {'; '.join(filter(None, (ours, against, wanted)))}"


def _seconds(result: Result, name: str) -> str:
    values = result.measured.seconds[name]
    middle = f"{_short(median(values))} s"
    return middle if len(values) == 1 else f"{middle} ({_short(min(values))}-{_short(max(values))})"


def _ratio(values: list[float]) -> str:
    middle = f"{median(values):.2f}x"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f}-{max(values):.2f})"


def _short(seconds: float) -> str:
    """Three digits."""
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
