"""metrics.jsonl, which every run has."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from psft_jax.tracking import METRICS, Tracker, TrackingConfig, TrackingMode, read_metrics

OFF = TrackingConfig(mode=TrackingMode.OFF)


def tracker(folder: Path, config: TrackingConfig = OFF) -> Tracker:
    return Tracker(folder, config, name="run", job_type="train_base", tags=("phantom",), settings={"seed": 0})


def test_numbers_are_on_disk_as_they_come(tmp_path: Path) -> None:
    with tracker(tmp_path) as track:
        track.log(1, {"loss": 0.5})
        assert read_metrics(tmp_path / METRICS) == [{"step": 1, "loss": 0.5}]
        track.log(2, {"loss": 0.25})
    assert read_metrics(tmp_path / METRICS) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    with tracker(tmp_path) as track:
        for step in (1, 2, 3):
            track.log(step, {"loss": 1 / step})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a power failure
    with tracker(tmp_path) as track:
        track.rewind(2)
        track.log(3, {"loss": 9.0})
    assert [line["loss"] for line in read_metrics(tmp_path / METRICS)] == [1.0, 0.5, 9.0]


def test_a_run_from_the_start_has_nothing_to_forget(tmp_path: Path) -> None:
    with tracker(tmp_path) as track:
        track.rewind(0)
        track.log(1, {"loss": 1.0})
    assert len(read_metrics(tmp_path / METRICS)) == 1


def test_off_never_imports_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with tracker(tmp_path) as track:
        track.log(1, {"loss": 1.0})
        track.summary({"dsc": 0.8})
        track.images({"overlay": tmp_path / "none.png"}, step=1)
        track.table("results", pd.DataFrame(), step=1)
        track.overlay("overlay", np.zeros((2, 2)), {"mask": np.zeros((2, 2), int)}, {0: "none"}, step=1)
        track.artifact("network", "model", tmp_path)
    assert "wandb" not in sys.modules
