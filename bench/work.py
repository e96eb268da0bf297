"""One side in a process of its own: ``python -m bench.work SIDE MATERIAL --size SIZE``.

Each line on its standard input is a JSON object, ``{"work": METHOD, "arguments": {...}}``, and is answered by
one JSON line on its standard output. While it waits it computes nothing, so that two sides can take turns.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bench.material import Material, load
from bench.sizes import SIZES, Size
from psft_jax.allocator import keep_pages

STATUS = Path("/proc/self/status")


class Side(StrEnum):
    """Who does the work, and with which ``malloc``."""

    OURS = "ours"
    """psft_jax; freed pages are kept."""
    THEIRS = "theirs"
    """PyTorch as it comes."""
    THEIRS_KEPT = "theirs-kept"
    """PyTorch with freed pages kept, as on our side."""


class Worker(Protocol):
    """A side: its other methods do work and return seconds."""

    @property
    def compile_seconds(self) -> float: ...


def worker(side: Side, size: Size, material: Material) -> Worker:
    """The side, with its library imported only now: after ``malloc`` was told what to keep."""
    if side is Side.OURS:
        from bench.ours import Ours

        return Ours(size, material)
    from bench.theirs import Theirs

    return Theirs(size, material)


def peak_bytes() -> int:
    """The most memory that this process has held resident.

    Linux says so in kB; ``getrusage`` there counts the parent in, which this process was forked from.
    """
    if STATUS.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", type=Side, choices=list(Side))
    parser.add_argument("material", type=Path)
    parser.add_argument("--size", choices=SIZES, default="full")
    options = parser.parse_args()
    if options.side is not Side.THEIRS:
        keep_pages()
    side = worker(options.side, SIZES[options.size], load(options.material))
    for line in sys.stdin:
        asked = json.loads(line)
        before = side.compile_seconds
        seconds = getattr(side, asked["work"])(**asked["arguments"])
        answer = {
            "seconds": seconds,
            "compile_seconds": side.compile_seconds - before,
            "peak_bytes": peak_bytes(),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
