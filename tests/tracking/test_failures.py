"""Where W&B cannot help: it says so once, and the run goes on with its own files."""

from __future__ import annotations

import builtins
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from psft_jax.tracking import METRICS, Tracker, TrackingConfig, TrackingMode, read_metrics, session
from tests.tracking.conftest import wandb_processes
from tests.tracking.standin import KEY, StandIn, standing_in

ROOT = Path(__file__).parents[2]
ONLINE = TrackingConfig(TrackingMode.ONLINE, checkpoints=True)
OFFLINE = TrackingConfig(TrackingMode.OFFLINE)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the user has been warned of; W&B's own log stays in its files."""

    def told() -> list[str]:
        own = [record for record in caplog.records if record.name.startswith("psft_jax")]
        return [record.getMessage() for record in own if record.levelno >= logging.WARNING]

    return told


def run(folder: Path, config: TrackingConfig, accident: Callable[[], object] = lambda: None) -> None:
    """A run of two steps with an accident between them; its own file must have both."""
    about: dict[str, Any] = {"name": "run", "job_type": "finetune", "tags": (), "settings": {"seed": 0}}
    with Tracker(folder, config, **about) as track:
        track.log(1, {"loss": 1.0})
        accident()
        track.overlay("overlay", np.zeros((2, 2)), {"mask": np.zeros((2, 2), int)}, {0: "none"}, step=1)
        track.table("results", pd.DataFrame({"value": [0.5]}), step=1)
        track.artifact("network", "model", folder)
        track.log(2, {"loss": 0.5})
        track.summary({"dsc": 0.75})
    assert read_metrics(folder / METRICS) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]


def offline_part(folder: Path) -> Path:
    """The one part of the run that can be synchronised."""
    (file,) = folder.glob("wandb/*run-*/*.wandb")
    assert file.parent.name.startswith("offline-run-")
    return file


def test_without_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **named: Any) -> Any:
        if name == "wandb":
            raise ImportError(name)
        return real(name, *args, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    run(tmp_path, ONLINE)
    assert warnings() == [f"wandb is not installed: the run is recorded in {tmp_path} only"]


def test_without_a_key_it_is_recorded_offline(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    run(tmp_path, ONLINE)
    (said,) = warnings()
    assert "No API key configured" in said
    assert said.endswith("the run is recorded offline, for wandb sync to send")
    assert offline_part(tmp_path).stat().st_size > 500


def test_nobody_is_asked_for_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asked"))
    run(tmp_path, ONLINE)
    assert "No API key configured" in warnings()[0]


def test_without_a_network_it_is_recorded_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(session, "START_SECONDS", 1)
    run(tmp_path, ONLINE)
    (said,) = warnings()
    assert "connection refused" in said
    assert said.endswith("the run is recorded offline, for wandb sync to send")
    assert offline_part(tmp_path).stat().st_size > 500


def test_the_next_run_does_not_wait_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(session, "START_SECONDS", 1)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        run(tmp_path / name, ONLINE)
        assert offline_part(tmp_path / name).stat().st_size > 500
    assert len(warnings()) == 1


def test_the_network_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(session, "FINISH_SECONDS", 1)
    with standing_in() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        run(tmp_path, TrackingConfig(TrackingMode.ONLINE), server.hang_up)
    (said,) = warnings()
    (part,) = tmp_path.glob("wandb/run-*")
    assert said.endswith(f"wandb sync {part} sends the rest")


def test_the_server_answers_oddly(tmp_path: Path, server: StandIn, warnings: Callable[[], list[str]]) -> None:
    server.answers["ArtifactType"] = lambda _: {"unheard": "of"}
    run(tmp_path, ONLINE)
    (said,) = warnings()
    assert said.startswith("W&B failed (1 validation error for ArtifactType")
    assert said.endswith(f"from here on the run is recorded in {tmp_path} only")


def test_the_process_of_wandb_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr("wandb.sdk.lib.service.service_process.get_core_path", lambda: "/bin/false")
    run(tmp_path, OFFLINE)
    (said,) = warnings()
    assert (
        said == f"W&B did not start (wandb-core exited with code 1): the run is recorded in {tmp_path} only"
    )
    assert list(tmp_path.glob("wandb/*run-*")) == []


def test_the_process_of_wandb_dies(tmp_path: Path) -> None:
    # In a process of its own, because W&B would end it with the status of the process that died.
    code = """
import logging, subprocess
from pathlib import Path
from tests.tracking import conftest, test_failures
logging.basicConfig(format="%(name)s: %(message)s")
subprocess.Popen = conftest.Watched
def kill():
    (process,) = conftest.wandb_processes()
    process.kill()
test_failures.run(Path(FOLDER), test_failures.OFFLINE, kill)
""".replace("FOLDER", repr(str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("psft_jax")]
    assert len(said) == 1
    assert said[0].startswith("psft_jax.tracking.mirror: W&B failed (")
    assert said[0].endswith(f"from here on the run is recorded in {tmp_path} only")


def test_no_room_for_pictures(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    def fill() -> None:
        (files,) = tmp_path.glob("wandb/*run-*/files")
        (files / "media").write_text("in the way")

    run(tmp_path, OFFLINE, fill)
    (said,) = warnings()
    assert "Not a directory" in said or "File exists" in said


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="a full disk can be feigned on Linux alone")
def test_no_room_for_the_record(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    def fill() -> None:
        (process,) = wandb_processes()
        (log,) = tmp_path.glob("wandb/*run-*/logs/debug-internal.log")
        size = log.stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size + 2000, size + 2000))

    run(tmp_path, OFFLINE, fill)
    (said,) = warnings()
    assert "file too large" in said


def test_the_environment_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DIR", "/elsewhere")
    before = dict(os.environ)
    run(tmp_path, OFFLINE)
    assert dict(os.environ) == before
