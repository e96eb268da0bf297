"""The bench itself, with a small network: one row from the command to the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.results import load
from bench.rows import Kind
from bench.work import Side

pytest.importorskip("torch", reason="PyTorch is an extra: pip install -e '.[bench]'")


@pytest.mark.slow
def test_one_row_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--quick", "--rows", "finetune", "--out", str(out)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    machine, results = load(out)
    result = results["finetune"]
    assert machine["cores"] in range(1, 1025)
    assert result.kind is Kind.SPEED
    assert result.measured.compile_seconds > 0
    for side in Side:
        (seconds,) = result.measured.seconds[side]
        assert 0 < seconds < 60
        assert result.measured.peak_bytes[side] > 50e6
    seconds_of = result.measured.seconds
    assert result.value == pytest.approx(seconds_of[Side.THEIRS][0] / seconds_of[Side.OURS][0])
    assert "[1/1] fine-tuning" in told
