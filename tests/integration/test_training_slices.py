"""Where base training keeps its slices, and that it makes no difference."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments import train_base
from experiments.config import HardwareConfig, SlicesIn
from experiments.training_slices import training_slices
from psft_jax.errors import InputError
from psft_jax.sampling.slices import Slices
from psft_jax.sampling.stored import StoredSlices
from psft_jax.scan import Cohort, Patient, Provenance, Scan, Sequence, Visit
from tests.integration.commands import tiny_training

SLICE_GB = 24 * 20 * 4 * 4 / 1e9
"""Of 24 x 20 pixels, three channels and the mask, float32; each scan has two slices with lesions."""


class Shelf:
    """Three training patients, and what was loaded of them."""

    def __init__(self, make_scan: Callable[..., Scan]) -> None:
        self.loaded: list[str] = []
        self.alive: weakref.WeakSet[Scan] = weakref.WeakSet()
        self.most_alive = 0

        def load(subject: str) -> Scan:
            scan = make_scan(subject=subject)
            self.loaded.append(subject)
            self.alive.add(scan)
            self.most_alive = max(self.most_alive, len(self.alive))
            return scan

        patients = [Patient(s, (Visit(s, "T1", lambda s=s: load(s)),)) for s in "ABC"]
        sequences = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1", "T1C")))
        self.cohort = Cohort("three", Provenance.PHANTOM, sequences, tuple(patients), ())


@pytest.fixture
def shelf(make_scan: Callable[..., Scan]) -> Shelf:
    return Shelf(make_scan)


def the_same(on_disk: Slices | StoredSlices, in_memory: Slices | StoredSlices) -> None:
    assert isinstance(on_disk, StoredSlices)
    assert isinstance(in_memory, Slices)
    found = on_disk.load()
    for a, b in zip((*found.images, found.lesion), (*in_memory.images, in_memory.lesion), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.boxes, in_memory.boxes)
    assert found.names == in_memory.names == ("A_T1:1", "A_T1:2", "B_T1:1", "B_T1:2", "C_T1:1", "C_T1:2")


def test_in_memory_within_the_budget_and_on_disk_beyond_it(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Four slices fit, six do not."""
    caplog.set_level("INFO")
    in_memory = training_slices(shelf.cohort, HardwareConfig(slices_gb=6.5 * SLICE_GB), tmp_path / "a")
    assert "slices in memory: 4.61e-05 GB (hardware.slices=auto)" in caplog.text
    assert not (tmp_path / "a").exists()
    on_disk = training_slices(shelf.cohort, HardwareConfig(slices_gb=5 * SLICE_GB), tmp_path / "b")
    assert "3 of 3 scans make 4.61e-05 GB, hardware.slices_gb is 3.84e-05" in caplog.text
    the_same(on_disk, in_memory)
    assert shelf.loaded == [*"ABC", *"ABC"]  # what was in memory when the budget was spent is not read again
    assert shelf.most_alive == 1


def test_the_disk_at_once_is_one_scan_at_a_time_and_each_scan_once(shelf: Shelf, tmp_path: Path) -> None:
    for _ in range(2):
        on_disk = training_slices(shelf.cohort, HardwareConfig(slices=SlicesIn.DISK), tmp_path / "slices")
    assert shelf.loaded == [*"ABC"]
    assert shelf.most_alive == 1
    the_same(on_disk, training_slices(shelf.cohort, HardwareConfig(slices=SlicesIn.MEMORY), tmp_path / "no"))


def test_an_interrupted_run_goes_on_where_writing_stopped(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    training_slices(shelf.cohort, HardwareConfig(slices_gb=SLICE_GB), tmp_path / "slices")
    (tmp_path / "slices" / "B_T1.json").unlink()
    shelf.loaded.clear()
    training_slices(shelf.cohort, HardwareConfig(slices_gb=SLICE_GB), tmp_path / "slices")
    assert shelf.loaded == ["B"]
    assert "an interrupted run began so" in caplog.text


def test_memory_alone_means_memory_alone(shelf: Shelf, tmp_path: Path) -> None:
    hardware = HardwareConfig(slices=SlicesIn.MEMORY, slices_gb=SLICE_GB)
    assert isinstance(training_slices(shelf.cohort, hardware, tmp_path / "slices"), Slices)
    assert not (tmp_path / "slices").exists()


def test_a_run_from_the_disk_ends_as_one_from_memory(
    trained: tuple[str, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted on its way, its slices are in its folder; finished, they are not."""
    dataset, _, in_memory = trained
    config = tiny_training(dataset, tmp_path, "hardware.slices=disk", "name=from-disk")
    folder = tmp_path / "train_base" / "from-disk"
    with monkeypatch.context() as interrupted:
        interrupted.setattr(train_base, "save_base", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_base.run(config)
    assert len(list((folder / "slices").glob("*.npy"))) == 2
    assert train_base.run(config) == folder
    assert not (folder / "slices").exists()
    losses = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (folder, in_memory)
    ]
    assert [set(line) for line in losses[0]] == [set(line) for line in losses[1]]
    for found, expected in zip(*losses, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


def test_devices_that_are_not_there_are_refused_before_anything_is_written(
    trained: tuple[str, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"hardware\.devices: found 64 devices asked for"):
        train_base.run(tiny_training(trained[0], tmp_path, "hardware.devices=64"))
    assert not (tmp_path / "train_base").exists()
