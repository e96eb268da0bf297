"""Slices that are read ahead from the disk train the same network as slices in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig
from psft_jax.sampling.slices import Slices, slices_of, stack
from psft_jax.sampling.stored import StoredSlices, gathered, store
from psft_jax.scan import Scan, Visit
from psft_jax.training.base import train_base
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.base_feed import AHEAD, prefetched
from psft_jax.training.checkpoints import TrainingCheckpoints

Told = dict[tuple[int, str], float]


class PowerCutError(Exception):
    """The plug was pulled."""


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.fixture(scope="module")
def config(small_patches: PatchConfig) -> TrainConfig:
    return TrainConfig(
        iterations=7, learning_rate=0.02, validate_every=4, validation_patches=5, patches=small_patches
    )


@pytest.fixture(scope="module")
def slices(
    make_scan: Callable[..., Scan], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Slices, StoredSlices]:
    """Of two patients with other frames, in memory and on disk."""
    scans = [make_scan(subject="A", shape=(5, 24, 20)), make_scan(subject="B", shape=(4, 20, 28))]
    parts = [slices_of(scan, np.arange(scan.shape[0])) for scan in scans]
    folder = tmp_path_factory.mktemp("slices")
    visits = [Visit(scan.subject, scan.session, lambda: scan) for scan in scans]  # noqa: B023 - not loaded
    return stack(parts), gathered(store(v, part, folder) for v, part in zip(visits, parts, strict=True))


@pytest.fixture(scope="module")
def train(tiny: Network, config: TrainConfig) -> Callable[..., tuple[Variables, Told]]:
    def run(
        slices: Slices | StoredSlices, folder: Path, *, stop_at: int | None = None, per_dispatch: int = 1
    ) -> tuple[Variables, Told]:
        told: Told = {}

        def log(step: int, values: dict[str, float]) -> None:
            if step == stop_at:
                raise PowerCutError
            told.update({(step, name): value for name, value in values.items()})

        checkpoints = TrainingCheckpoints(folder)
        trained = train_base(
            tiny, slices, config, checkpoints, seed=3, log=log, steps_per_dispatch=per_dispatch
        )
        return trained, told

    return run


@pytest.fixture(scope="module")
def in_memory(
    train: Callable[..., tuple[Variables, Told]],
    slices: tuple[Slices, StoredSlices],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Variables, Told]:
    return train(slices[0], tmp_path_factory.mktemp("memory"))


def test_the_network_is_the_one_trained_from_memory(
    train: Callable[..., tuple[Variables, Told]],
    slices: tuple[Slices, StoredSlices],
    in_memory: tuple[Variables, Told],
    tmp_path: Path,
) -> None:
    variables, told = train(slices[1], tmp_path)
    assert told == pytest.approx(in_memory[1], rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), variables, in_memory[0])


def test_an_interrupted_run_ends_as_one_that_was_not(
    train: Callable[..., tuple[Variables, Told]],
    slices: tuple[Slices, StoredSlices],
    in_memory: tuple[Variables, Told],
    tmp_path: Path,
) -> None:
    """Cut off in its sixth step, it goes on after the fourth; and one that has finished has nothing to do."""
    with pytest.raises(PowerCutError):
        train(slices[1], tmp_path, stop_at=6)
    _, told = train(slices[1], tmp_path)
    assert told == pytest.approx({k: v for k, v in in_memory[1].items() if k[0] > 4}, rel=1e-5)
    _, told = train(slices[1], tmp_path)
    assert told == {}


def test_steps_of_one_dispatch_are_the_steps_one_by_one(
    train: Callable[..., tuple[Variables, Told]],
    slices: tuple[Slices, StoredSlices],
    in_memory: tuple[Variables, Told],
    tmp_path: Path,
) -> None:
    _, told = train(slices[1], tmp_path, per_dispatch=3)
    assert told.keys() == in_memory[1].keys()
    for (step, name), value in told.items():
        if name == "loss":  # that of the validation is not as firm: see test_base
            assert value == pytest.approx(in_memory[1][step, name], rel=1e-3)


def test_slices_that_vanish_stop_the_run_with_a_sentence(
    train: Callable[..., tuple[Variables, Told]],
    make_scan: Callable[..., Scan],
    tmp_path: Path,
) -> None:
    scan = make_scan(shape=(7, 24, 20))
    visit = Visit("P1", "T1", lambda: scan)
    on_disk = gathered([store(visit, slices_of(scan, np.arange(7)), tmp_path / "slices")])
    with pytest.raises(PowerCutError):
        train(on_disk, tmp_path / "run", stop_at=5)
    np.save(tmp_path / "slices" / "P1_T1.npy", np.zeros((1, 24, 20, 4), np.float32))
    with pytest.raises(InputError, match=r"P1_T1\.npy: found slices that cannot be read"):
        train(on_disk, tmp_path / "run")


def test_results_come_in_order_and_no_more_than_so_many_are_made_ahead() -> None:
    made: list[int] = []
    most = 0

    def square(n: int) -> int:
        made.append(n)
        return n * n

    found = []
    for n, result in enumerate(prefetched(square, range(20), AHEAD)):
        found.append(result)
        time.sleep(0.002)
        most = max(most, len(made) - n - 1)
    assert found == [n * n for n in range(20)]
    assert made == list(range(20))
    assert 1 <= most <= AHEAD


def test_fewer_items_than_are_made_ahead() -> None:
    assert list(prefetched(str, [1], AHEAD)) == ["1"]
    assert list(prefetched(str, [], AHEAD)) == []


def test_the_work_is_done_while_the_taker_is_busy() -> None:
    """The next result is begun before it is asked for."""
    begun = threading.Event()

    def make(n: int) -> int:
        if n == 1:
            begun.set()
        return n

    results = prefetched(make, range(3), 2)
    assert next(results) == 0
    assert begun.wait(timeout=10)
    results.close()


def test_an_error_comes_when_its_turn_has_come() -> None:
    def refuse_two(n: int) -> int:
        if n == 2:
            raise InputError("slice 2", found="nothing", expected="a slice", remedy="Look for it.")
        return n

    results = prefetched(refuse_two, range(9), AHEAD)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError, match="slice 2"):
        next(results)


def test_stopping_early_does_not_wait_for_the_rest() -> None:
    made: list[int] = []

    def slow(n: int) -> int:
        made.append(n)
        time.sleep(0.02)
        return n

    results = prefetched(slow, range(1000), AHEAD)
    assert next(results) == 0
    results.close()
    assert len(made) <= AHEAD + 1
