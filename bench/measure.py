"""Taking turns: each side waits in its own process, and the repeats alternate between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from bench.rows import Row
from bench.sizes import Arguments, Job
from bench.work import Side

COMPILED_SHARE = 0.01
"""A measurement in which compiling took more than this share of the time is taken again."""
ATTEMPTS = 3


class Process:
    """One side, in a process that computes only when it is asked.

    Args:
        side: which one.
        size: name of the size.
        material: file of scan and weights.
    """

    def __init__(self, side: Side, size: str, material: Path) -> None:
        command = [sys.executable, "-m", "bench.work", side, str(material), "--size", size]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TQDM_DISABLE": "1"},
        )
        self.side = side
        self.compile_seconds = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # the end of its input ends it

    def ask(self, work: str, arguments: Arguments) -> float:
        """Seconds of one piece of work, of which compiling took ``self.last_compile_seconds``.

        Raises:
            RuntimeError: the process ended; what went wrong is on its standard error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        if self._process.poll() is None:
            self._process.stdin.write(json.dumps({"work": work, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.side} ended during {work} {arguments}")
        answer = json.loads(line)
        self.last_compile_seconds = float(answer["compile_seconds"])
        self.compile_seconds += self.last_compile_seconds
        self.peak_bytes = int(answer["peak_bytes"])
        return float(answer["seconds"])

    def warm_up(self, job: Job) -> None:
        """What the job needs only once."""
        if job.warm:
            self.ask(job.work, job.warm)

    def time(self, job: Job) -> float:
        """Seconds of the whole that the job is a share of, without any compilation."""
        for _ in range(ATTEMPTS):
            seconds = self.ask(job.work, job.arguments)
            if not job.warm or self.last_compile_seconds <= COMPILED_SHARE * seconds:
                break
        return seconds * job.scale


@dataclass(frozen=True)
class Measured:
    """What was measured of a row.

    Args:
        name: the row's.
        seconds: by name, one number a repeat; of the whole work, scaled where a share was timed.
        shares: by name, the share that was timed.
        compile_seconds: that our process spent on compiling, in all.
        peak_bytes: by side, the most memory held resident.
        date: the day of the measurement.
    """

    name: str
    seconds: dict[str, list[float]]
    shares: dict[str, str]
    compile_seconds: float
    peak_bytes: dict[str, int]
    date: str


def measure(row: Row, size: str, material: Path, repeats: int | None = None) -> Measured:
    """Measure one row.

    Args:
        row: what is measured.
        size: name of the size.
        material: file of scan and weights.
        repeats: instead of the row's own number.
    """
    with ExitStack() as stack:
        sides = dict.fromkeys(side for side, _ in row.measured.values())
        processes = {side: stack.enter_context(Process(side, size, material)) for side in sides}
        for side, jobs in row.measured.values():
            for job in jobs:
                processes[side].warm_up(job)
        seconds: dict[str, list[float]] = {str(name): [] for name in row.measured}
        for _ in range(repeats or row.repeats):
            for name, (side, jobs) in row.measured.items():
                seconds[name].append(sum(processes[side].time(job) for job in jobs))
        return Measured(
            row.name,
            seconds,
            {str(name): jobs[0].words for name, (_, jobs) in row.measured.items()},
            processes[Side.OURS].compile_seconds,
            {str(side): process.peak_bytes for side, process in processes.items()},
            datetime.now(UTC).date().isoformat(),
        )
