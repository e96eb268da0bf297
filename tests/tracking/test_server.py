"""What a run tells arrives at the server as it was told: the real client, against a stand-in."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from psft_jax.tracking import Tracker, TrackingConfig, TrackingMode
from tests.tracking.conftest import wandb_processes
from tests.tracking.standin import Recorded, StandIn

SETTINGS = {"seed": 3, "finetune": {"settings": {"iterations": 50, "class_weights": [1.0, 5.0]}}}
GREY = np.linspace(0, 1, 48).reshape(6, 8)
PREDICTION = np.arange(48).reshape(6, 8) % 3
REFERENCE = GREY > 0.5
CLASSES = {0: "background", 1: "lesion", 2: "organ"}
TABLE = pd.DataFrame(
    {"patient": ["P1", "P2"], "seed": [0, 1], "metric": ["dsc", "tpr_small"], "value": [0.75, np.nan]}
)


def tracker(folder: Path, mode: TrackingMode, *, checkpoints: bool = False) -> Tracker:
    folder.mkdir(parents=True, exist_ok=True)
    config = TrackingConfig(mode, project="lesions", group="sweep-1", tags=("mine",), checkpoints=checkpoints)
    tags = ("phantom_brain", "segmentation", "iterations", "phantom")
    return Tracker(folder, config, name="job", job_type="finetune", tags=tags, settings=SETTINGS)


def tell(track: Tracker, picture: Path) -> None:
    """One of everything; checkpoints only as far as they are asked for."""
    matplotlib.image.imsave(picture, GREY, cmap="gray")
    for step in range(1, 6):
        track.log(step, {"loss": 1 / step, "loss/P1": float("nan") if step == 2 else 2.0 * step})
    track.images({"paired": picture}, step=6)
    track.overlay("P1/overlay", GREY, {"prediction": PREDICTION, "reference": REFERENCE}, CLASSES, step=6)
    track.table("results", TABLE, step=6)
    track.artifact("network", "model", picture.parent)
    track.summary({"base/dsc": 0.5, "fine-tuned/dsc": 0.625, "base/tpr_small": float("nan")})


def check_told(run: Recorded, picture: Path) -> None:
    """Everything of ``tell``, with the values that it told."""
    assert {key: run.about[key] for key in ("displayName", "groupName", "jobType", "project")} == {
        "displayName": "job",
        "groupName": "sweep-1",
        "jobType": "finetune",
        "project": "lesions",
    }
    assert run.about["tags"] == ["mine", "phantom_brain", "segmentation", "iterations", "phantom"]
    assert run.config == SETTINGS
    assert run.column("loss") == [(step, 1 / step) for step in range(1, 6)]
    assert str(run.column("loss/P1")) == "[(1, 2), (2, nan), (3, 6), (4, 8), (5, 10)]"
    assert (run.summary["base/dsc"], run.summary["fine-tuned/dsc"]) == (0.5, 0.625)
    assert "base/tpr_small" not in run.summary
    assert run.column("base/dsc") == [(6, 0.5)]

    ((step, paired),) = run.column("paired")
    assert step == 6
    assert run.files[paired["path"]] == picture.read_bytes()

    ((step, overlay),) = run.column("P1/overlay")
    assert step == 6
    assert np.array_equal(pixels(run.files[overlay["path"]]), np.round(255 * GREY))
    masks = {name: pixels(run.files[mask["path"]]) for name, mask in overlay["masks"].items()}
    assert masks.keys() == {"prediction", "reference"}
    assert np.array_equal(masks["prediction"], PREDICTION)
    assert np.array_equal(masks["reference"], REFERENCE)
    labels = run.own["mask/class_labels"]["P1/overlay_wandb_delimeter_prediction"]["value"]
    assert labels == {str(label): name for label, name in CLASSES.items()}

    ((step, table),) = run.column("results")
    assert step == 6
    assert "artifact_path" not in table
    told = json.loads(run.files[table["path"]])
    assert told["columns"] == list(TABLE.columns)
    assert told["data"] == [["P1", 0, "dsc", 0.75], ["P2", 1, "tpr_small", None]]

    assert [line["_step"] for line in run.history] == [1, 2, 3, 4, 5, 6]
    assert run.ended == 0


def pixels(content: bytes) -> np.ndarray:
    """A grey PNG as integers from 0 to 255."""
    image = matplotlib.image.imread(io.BytesIO(content), format="png")
    return np.round(255 * image).astype(int)


def synchronise(*folders: Path) -> None:
    """``wandb sync`` as a user types it."""
    parts = [str(part) for folder in folders for part in sorted(folder.glob("wandb/offline-run-*"))]
    assert parts
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *parts],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr


def moved(folder: Path) -> Path:
    """The run's folder on another disk: nothing is left where it was."""
    place = folder.parent / "elsewhere" / folder.name
    shutil.copytree(folder, place, symlinks=True)
    shutil.rmtree(folder)
    return place


def test_online(server: StandIn, tmp_path: Path) -> None:
    with tracker(tmp_path / "run", TrackingMode.ONLINE) as track:
        tell(track, tmp_path / "paired.png")
        assert len(wandb_processes()) == 1
    (run,) = server.runs.values()
    check_told(run, tmp_path / "paired.png")
    assert server.artifacts == {}


def test_offline_then_copied_and_synchronised(server: StandIn, home: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:  # after each other in one process, and each in a folder of its own
        known = set(tmp_path.rglob("*"))
        with tracker(folder, TrackingMode.OFFLINE) as track:
            tell(track, tmp_path / "paired.png")
        new = set(tmp_path.rglob("*")) - known - {tmp_path / "paired.png"}
        assert all(folder in (path, *path.parents) for path in new)
    assert not any(home.iterdir())
    assert server.runs == {}
    synchronise(*map(moved, folders))
    assert len(server.runs) == 2
    for run in server.runs.values():
        check_told(run, tmp_path / "paired.png")
    assert server.artifacts == {}


@pytest.mark.parametrize("mode", [TrackingMode.OFFLINE, TrackingMode.ONLINE])
def test_a_resumed_run_has_each_step_once(mode: TrackingMode, server: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with suppress(KeyboardInterrupt), tracker(folder, mode) as track:
        for step in range(1, 5):
            track.log(step, {"loss": 1 / step})
        raise KeyboardInterrupt
    interrupted = list(folder.glob("wandb/*run-*/*.wandb"))
    assert len(interrupted) == 1
    interrupted[0].write_bytes(interrupted[0].read_bytes()[:7])  # what a power failure may leave
    with tracker(folder, mode) as track:
        track.rewind(2)  # the last checkpoint
        for step in range(3, 7):
            track.log(step, {"loss": 10 / step})
        track.table("results", TABLE, step=6)
        track.summary({"best": 0.125})
    if mode is TrackingMode.OFFLINE:
        synchronise(moved(folder))
    (run,) = server.runs.values()
    assert run.column("loss") == [(1, 1), (2, 1 / 2), *((step, 10 / step) for step in range(3, 7))]
    assert [step for step, _ in run.column("results")] == [6]
    assert run.summary["best"] == 0.125
    assert run.config == SETTINGS
    assert run.ended == 0


@pytest.mark.parametrize("mode", [TrackingMode.OFFLINE, TrackingMode.ONLINE])
def test_a_repeated_end_replaces_the_first(mode: TrackingMode, server: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for patients in (["P1"], ["P1", "P2"]):  # P2 failed at first
        with tracker(folder, mode) as track:
            track.rewind(0)
            for step in (1, 2):
                track.log(step, {f"loss/{patient}": 0.5 * step for patient in patients})
            track.table("results", TABLE[: len(patients)], step=3)
    if mode is TrackingMode.OFFLINE:
        synchronise(folder)
    (run,) = server.runs.values()
    assert run.column("loss/P1") == run.column("loss/P2") == [(1, 0.5), (2, 1.0)]
    ((_, table),) = run.column("results")
    assert len(json.loads(run.files[table["path"]])["data"]) == 2
    assert len(list(folder.glob("wandb/*run-*"))) == 1


def test_an_interrupted_run_can_be_sent_as_it_is(server: StandIn, tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), tracker(tmp_path / "run", TrackingMode.OFFLINE) as track:
        track.log(1, {"loss": 0.5})
        raise KeyboardInterrupt
    synchronise(tmp_path / "run")
    (run,) = server.runs.values()
    assert run.column("loss") == [(1, 0.5)]
    assert run.ended == 1


def test_what_comes_late_moves_to_the_step_reached(server: StandIn, tmp_path: Path) -> None:
    with tracker(tmp_path / "run", TrackingMode.ONLINE) as track:
        track.log(5, {"loss": 0.25})
        track.table("results", TABLE, step=3)
        track.log(6, {"loss": 0.125})
    (run,) = server.runs.values()
    assert run.column("loss") == [(5, 0.25), (6, 0.125)]
    assert [step for step, _ in run.column("results")] == [5]


@pytest.mark.parametrize("mode", [TrackingMode.OFFLINE, TrackingMode.ONLINE])
def test_checkpoints_are_artifacts_when_asked(
    mode: TrackingMode, server: StandIn, home: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "network"
    (checkpoint / "params").mkdir(parents=True)
    (checkpoint / "params" / "leaf").write_bytes(b"\x00\x01weights")
    (checkpoint / "tree.json").write_text("{}")
    with tracker(tmp_path / "run", mode, checkpoints=True) as track:
        track.artifact("job P1", "model", checkpoint)
    assert not any(home.iterdir())
    if mode is TrackingMode.OFFLINE:
        synchronise(tmp_path / "run")
    artifact = server.artifacts["job_P1"]
    assert artifact.whole
    assert artifact.kind == "model"
    sent = {name: content for name, content in artifact.files.items() if name != "manifest.json"}
    assert sent == {"params/leaf": b"\x00\x01weights", "tree.json": b"{}"}
