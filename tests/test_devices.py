"""How many devices share a batch. What they do with it is told in training/test_sharding.py."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from psft_jax.devices import data_mesh, device_count, split, whole
from psft_jax.errors import InputError


def test_one_device_is_all_there_is_here() -> None:
    assert device_count(None, 4, what="patches") == 1
    assert device_count(1, 4, what="patches") == 1
    assert data_mesh().size == 1


def test_more_devices_than_there_are() -> None:
    with pytest.raises(InputError, match=r"hardware\.devices: found 2 devices asked for where there is 1"):
        device_count(2, 4, what="patches")


def test_devices_that_do_not_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert device_count(None, 4, what="patches") == 4
    assert device_count(2, 4, what="patches") == 2
    with pytest.raises(InputError, match=r"found 3 devices for 4 patches; expected a number .* divides it"):
        device_count(3, 4, what="patches")


def test_an_axis_is_named_by_its_place() -> None:
    mesh = data_mesh()
    array = np.arange(6.0).reshape(2, 3)
    specs = {split(mesh): ("data",), split(mesh, axis=1): (None, "data"), whole(mesh): ()}
    for sharding, spec in specs.items():
        put = jax.device_put(array, sharding)
        assert tuple(put.sharding.spec) == spec
        np.testing.assert_array_equal(put, array)
