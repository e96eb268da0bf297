"""Training on eight devices is training on one: of the base CNN, and of heads for eight patients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("eight_devices.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process with eight devices wrote; this one has a single device."""
    out = tmp_path_factory.mktemp("eight")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), str(out)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def placed(folder: Path) -> Mapping[str, Any]:
    return json.loads((folder / "placed.json").read_text())


def results(folder: Path, run: str) -> dict[str, np.ndarray]:
    """Losses and variables by name."""
    with np.load(folder / f"{run}.npz") as saved:
        return dict(saved)


@pytest.mark.parametrize("run", ["eight", "disk"])
def test_losses_and_variables_are_those_of_one_device(folder: Path, run: str) -> None:
    expected, found = results(folder, "one"), results(folder, run)
    assert found.keys() == expected.keys()
    assert {"loss 1", "loss 12", "validation_loss 4", "validation_loss 12"} < expected.keys()
    assert sum("mean" in name for name in expected) >= 3  # averages over the whole minibatch
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert expected["validation_loss 12"] < expected["validation_loss 4"]


def test_a_run_goes_on_with_another_number_of_devices(folder: Path) -> None:
    """Eight steps on eight devices, a power cut, and four more on one."""
    expected, found = results(folder, "one"), results(folder, "moved")
    earlier = {f"loss {step}" for step in range(1, 9)} | {"validation_loss 4", "validation_loss 8"}
    assert expected.keys() - found.keys() == earlier
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_each_device_holds_its_patches_and_all_parameters(placed: Mapping[str, Any]) -> None:
    assert placed["sent"] == [[2, 1, 24, 20, 2]] * 8  # of two steps
    assert placed["images"] == [[1, 9, 9, 2]] * 8
    assert placed["lesion"] == [[1, 9, 9]] * 8
    assert placed["logits"] == [[1, 9, 9, 2]] * 8
    assert placed["kernel"] == [[1, 1, 16, 8]] * 8


def test_as_many_devices_as_divide_the_batch(placed: Mapping[str, Any]) -> None:
    assert placed["counts"] == {"1": 1, "4": 4, "8": 8, "12": 6, "20": 5}


def test_eight_patients_are_tuned_alike_on_one_device_and_on_eight(folder: Path) -> None:
    tuned = json.loads((folder / "tuned.json").read_text())
    one, eight = (np.array(tuned["losses"][count]) for count in ("1", "8"))
    assert one.shape == (8, 2, 12)  # patients, variants, iterations
    np.testing.assert_allclose(eight, one, rtol=1e-4)
    assert tuned["kept"]["1"] == tuned["kept"]["8"] == [256] * 12
    assert len(np.unique(one[:, 0, 0])) == 8
    assert tuned["meshes"] == [1, 8, 6]
    assert tuned["shared"]["8"] == [[1], [8]]  # a whole network is trained on one device
