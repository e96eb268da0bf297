"""The rows of the table: the work, what each side does of it, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from bench.sizes import Arguments, Job
from bench.work import Side

ITERATIONS, SLICES, SAMPLES = 100, 48, 25
ANGLE_BANK = 8
TABLES = (50, 100, 500, 1000)
"""Iterations of the paper's Table 1; Table 3 adds 100 weighted ones."""
TOGETHER, ONE_RUN, SEPARATELY = "together", "one run", "separately"
TABLES_PART = 50
"""The tables are measured with so many times fewer iterations everywhere, which leaves the ratio as it is."""


class Kind(StrEnum):
    """What a row's target speaks of."""

    SPEED = "times as fast as PyTorch, or more"
    COST = "times the cost of one run, or less"
    MEMORY = "GB resident, or less"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: for ``--rows``.
        work: what is done, in words.
        kind: what the target speaks of.
        target: what is to be reached; None where the number is only reported.
        measured: what is timed, by name: the side, and the jobs whose seconds are summed.
        repeats: how often, in turns.
    """

    name: str
    work: str
    kind: Kind
    target: float | None
    measured: dict[str, tuple[Side, tuple[Job, ...]]]
    repeats: int = 3


def rows(*, quick: bool) -> tuple[Row, ...]:
    """All rows.

    Args:
        quick: ten times fewer iterations and four times fewer slices, for the small network; the targets do
            not hold for it.
    """
    shrink = 10 if quick else 1
    iterations, slices = ITERATIONS // shrink, SLICES // (4 if quick else 1)
    bank = _tuning(iterations, iterations, slices=1, angle_bank=ANGLE_BANK)
    all_rows = (
        Row(
            "finetune",
            f"fine-tuning, {iterations} iterations, all lesion slices, fresh continuous rotations",
            Kind.SPEED,
            1.3,
            _beside(_tuning(iterations // 5, iterations), _tuning(iterations // 20 or 1, iterations)),
        ),
        Row(
            "bank",
            f"fine-tuning, {iterations} iterations, one slice, angle bank of {ANGLE_BANK}",
            Kind.SPEED,
            6.0,
            _beside(
                replace(bank, warm=bank.arguments),  # whether a bank is kept depends on how often it is used
                _tuning(iterations // 20 or 1, iterations, slices=1),
            ),
        ),
        _tables(),
        _volume(
            "elementwise", "25-sample uncertainty of a volume, elementwise masks", 4.0, slices, "elementwise"
        ),
        _volume("channel", "25-sample uncertainty of a volume, channel masks", 12.0, slices, "channel"),
        Row(
            "deterministic",
            "one deterministic pass over a volume",
            Kind.SPEED,
            1.3,
            _beside(_predicting(slices, slices), _predicting(slices // 8, slices)),
        ),
        Row(
            "memory",
            "memory: the volume with 25 samples",
            Kind.MEMORY,
            3.0,
            {
                side: (side, (replace(_predicting(done, slices, SAMPLES), warm={}),))
                for side, done in ((Side.OURS, slices), (Side.THEIRS, 1))
            },
            repeats=1,
        ),
        Row(
            "base",
            "one step of base training",
            Kind.SPEED,
            None,
            _beside(
                Job("train_base", {"steps": 6 // (3 if quick else 1)}, warm={"steps": 1}),
                Job("train_base", {"steps": 4 // (2 if quick else 1)}, warm={"steps": 1}),
            ),
            repeats=2,
        ),
    )
    return tuple(replace(row, repeats=1) for row in all_rows) if quick else all_rows


def _beside(ours: Job, theirs: Job) -> dict[str, tuple[Side, tuple[Job, ...]]]:
    return {
        Side.OURS: (Side.OURS, (ours,)),
        Side.THEIRS: (Side.THEIRS, (theirs,)),
        Side.THEIRS_KEPT: (Side.THEIRS_KEPT, (theirs,)),
    }


def _tuning(done: int, whole: int, **arguments: int) -> Job:
    asked = {"iterations": [done], **arguments}
    return Job("finetune", asked, done, whole, "iterations", warm={**asked, "iterations": [1]})


def _tables() -> Row:
    counts = [n // TABLES_PART for n in TABLES]
    weighted = counts[TABLES.index(100)]

    def job(warm: Arguments, **arguments: list[int]) -> tuple[Job, ...]:
        return (Job("finetune", arguments, counts[-1], TABLES[-1], "iterations", warm=warm),)

    plain: Arguments = {"iterations": [1]}
    apart = [job(plain, iterations=[count])[0] for count in counts]
    return Row(
        "tables",
        "Tables 1 and 3 for one patient: 50, 100, 500 and 1000 iterations, and 100 weighted",
        Kind.COST,
        1.15,
        {
            TOGETHER: (
                Side.OURS,
                job({"iterations": [1, 2], "weighted": [1]}, iterations=counts, weighted=[weighted]),
            ),
            ONE_RUN: (Side.OURS, job(plain, iterations=[counts[-1]])),
            SEPARATELY: (
                Side.OURS,
                (*apart, *job({"iterations": [], "weighted": [1]}, iterations=[], weighted=[weighted])),
            ),
        },
        repeats=2,
    )


def _volume(name: str, work: str, target: float, slices: int, masks: str) -> Row:
    ours = _predicting(slices // 4, slices, SAMPLES, masks=masks)
    return Row(name, work, Kind.SPEED, target, _beside(ours, _predicting(1, slices, SAMPLES)), repeats=2)


def _predicting(done: int, whole: int, samples: int = 0, **arguments: str) -> Job:
    asked = {"slices": done, "samples": samples, **arguments}
    return Job("predict", asked, done, whole, "slices", warm=asked)  # the regions depend on the slices
