"""Tasks in processes of their own, with tasks from the standard library."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import psutil
import pytest

from psft_jax.data.nifti import read_volume
from psft_jax.errors import InputError
from psft_jax.preprocess.parallel import WORKER, run_all, workers_for
from psft_jax.preprocess.processes import Share, peak_memory
from tests.preprocess.pipelines import peak_after

SHARE = Share(memory_gb=1.0)


def test_each_task_ends_in_its_own_way_and_stops_no_other(tmp_path: Path) -> None:
    tasks = {
        "refused": partial(read_volume, tmp_path / "nowhere.nii"),
        "wrong": partial(int, "twelve"),
        "left": partial(os._exit, 3),
        "killed": partial(signal.raise_signal, signal.SIGKILL),
        "right": partial(pow, 2, 10),
    }
    outcomes = dict(run_all(tasks, workers=2, share=SHARE, logs=tmp_path))
    assert outcomes.keys() == tasks.keys()
    assert outcomes.pop("right") == 1024
    told = {name: str(error) for name, error in outcomes.items() if isinstance(error, InputError)}
    assert told.keys() == outcomes.keys()
    assert told["refused"].startswith(f"{tmp_path / 'nowhere.nii'}: found no such file")
    assert told["wrong"].startswith("wrong: found ValueError: invalid literal for int()")
    assert told["left"].startswith("left: found a process that died (exit code 3)")
    assert "(signal SIGKILL)" in told["killed"]
    assert "where memory runs out: use fewer workers" in told["killed"]
    assert "ValueError: invalid literal" in (tmp_path / "wrong.log").read_text()
    assert not (tmp_path / "right.log").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound a process's memory")
def test_a_task_that_asks_for_more_than_its_share_fails(tmp_path: Path) -> None:
    tasks = {"greedy": partial(bytearray, 3 * 10**9), "modest": partial(peak_after, 3 * 10**8)}
    outcomes = dict(run_all(tasks, workers=1, share=SHARE, logs=tmp_path))
    assert "greedy: found a need for more memory than memory_gb=1" in str(outcomes["greedy"])
    # What the task held, and the interpreter with its libraries.
    assert 3 * 10**8 < outcomes["modest"] < 6 * 10**8


def test_closing_ends_the_processes(tmp_path: Path) -> None:
    tasks = {"quick": os.getpid, "slow": partial(time.sleep, 60), "waiting": partial(time.sleep, 60)}
    begun = time.monotonic()
    with closing(run_all(tasks, workers=2, share=SHARE, logs=tmp_path)) as outcomes:
        name, pid = next(outcomes)
        assert name == "quick"
        assert pid != os.getpid()
        (slow,) = (child for child in psutil.Process().children() if WORKER in child.cmdline())
    assert time.monotonic() - begun < 30
    assert not slow.is_running()
    assert not (tmp_path / "waiting.log").exists()


def test_workers_follow_tasks_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    free = SimpleNamespace(available=20 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert workers_for(100, Share(memory_gb=1.0)) == 16
    assert workers_for(100, Share(memory_gb=1.0, threads=4)) == 4
    assert workers_for(100, Share(memory_gb=6.0)) == 3
    assert workers_for(2, Share(memory_gb=6.0)) == 2
    assert workers_for(100, Share(memory_gb=64.0)) == 1


def test_peak_memory_is_what_the_system_counts() -> None:
    resident = psutil.Process().memory_info().rss
    assert resident <= peak_memory() < 100 * resident
