"""``metrics.jsonl``: one line a step, on disk as it comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psft_jax.files import write_text

METRICS = "metrics.jsonl"


class MetricsFile:
    """The file that a run adds its numbers to.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop the lines of later steps; returns the others."""
        if not self._path.stat().st_size:
            return []
        kept = [line for line in read_metrics(self._path) if line.get("step", 0) <= step]
        self._file.close()
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept), overwrite=True)
        self._file = self._path.open("a", encoding="utf-8")
        return kept

    def close(self) -> None:
        """No more lines."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line that was cut off by an interruption is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
