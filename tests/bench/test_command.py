"""The bench itself, with a small network: one row from the command to the file."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import growth
from bench.__main__ import main
from bench.results import load
from bench.rows import Kind
from bench.work import Side


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--quick"], r"no PyTorch.*\[bench\]"),
        (["--repeats", "0"], "--repeats: found 0, expected at least 1"),
        (["--render", "--quick"], "--render measures nothing: leave out --quick"),
    ],
)
def test_what_it_cannot_do_it_says_at_once(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        main()
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize("content", [None, "not JSON"])
@pytest.mark.parametrize("command", [main, growth.main])
def test_without_measurements_there_is_nothing_to_render(
    command: Callable[[], None],
    content: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "none.json"
    if content is not None:
        out.write_text(content)
    monkeypatch.setattr(sys, "argv", ["bench", "--render", "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        command()
    assert re.search(r"none\.json: found no file of measurements", capsys.readouterr().err + str(end.value))


@pytest.mark.slow
def test_one_row_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is an extra: pip install -e '.[bench]'")
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
