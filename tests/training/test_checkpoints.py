"""Checkpoints on the disk: whole or not at all, and never another network's."""

from __future__ import annotations

import errno
import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from psft_jax.errors import InputError
from psft_jax.model.config import PNetConfig
from psft_jax.model.network import Network, Variables
from psft_jax.training.checkpoints import TrainingCheckpoints, restore_tree, save_tree

Scramble = Callable[[Network, int], Variables]


def equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def state(value: float) -> dict[str, jax.Array]:
    return {"w": jnp.full((3, 2), value), "count": jnp.asarray(int(value))}


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir())


def test_a_network_comes_back_as_it_was(tiny: Network, scrambled: Scramble, tmp_path: Path) -> None:
    variables = scrambled(tiny, 0)
    save_tree(tmp_path / "a", variables._asdict())
    restored = restore_tree(tmp_path / "a", tiny.shapes._asdict(), what="the tiny network")
    assert jax.tree.structure(restored) == jax.tree.structure(variables._asdict())
    equal(restored, variables._asdict())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_run_that_goes_on_may_write_again(tmp_path: Path) -> None:
    save_tree(tmp_path / "a", state(1))
    save_tree(tmp_path / "a", state(2))
    equal(restore_tree(tmp_path / "a", state(0), what="a state"), state(2))


@pytest.mark.parametrize(
    ("config", "channels", "named"),
    [
        (PNetConfig(dilations=((1,), (2,)), width=4, head_width=9), (1, 2), r"head/norm/mean: \(8,\)"),
        (
            PNetConfig(dilations=((1,), (2,)), width=4, head_width=8),
            (1, 3),
            r"1 of its arrays differ, first params/trunk/pathway2/block1_conv1/conv/kernel: \(3, 3, 2, 4\)",
        ),
        (PNetConfig(dilations=((1,), (2, 2)), width=4, head_width=8), (1, 2), "block2_conv2.*: missing"),
    ],
)
def test_another_networks_checkpoint_is_refused_by_the_name_of_an_array(
    tiny: Network, tmp_path: Path, config: PNetConfig, channels: tuple[int, int], named: str
) -> None:
    save_tree(tmp_path / "a", jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), tiny.shapes._asdict()))
    with pytest.raises(InputError, match=named):
        restore_tree(tmp_path / "a", Network(config, channels).shapes._asdict(), what="the network")


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no checkpoint"):
        restore_tree(tmp_path / "a", state(0), what="a state")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="intact checkpoint of a state"):
        restore_tree(tmp_path / "empty", state(0), what="a state")


@pytest.mark.filterwarnings("ignore")  # what Orbax leaves behind when reading fails
@pytest.mark.parametrize("damage", ["index", "data", "missing data"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    tree = {"large": jnp.asarray(np.random.default_rng(0).random((200, 100)), jnp.float32)}
    save_tree(tmp_path / "a", tree)
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    data = max(files, key=lambda path: path.stat().st_size)
    victim = tmp_path / "a" / "_METADATA" if damage == "index" else data
    if damage == "missing data":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be read") as refusal:
        restore_tree(tmp_path / "a", tree, what="the large one")
    assert refusal.value.where == str(tmp_path / "a")
    del refusal
    gc.collect()


def test_a_fresh_run_has_no_step(tmp_path: Path) -> None:
    assert TrainingCheckpoints(tmp_path / "new" / "folder").latest_step() is None


def test_the_latest_and_the_best_stay(tmp_path: Path) -> None:
    checkpoints = TrainingCheckpoints(tmp_path)
    for step, loss in [(10, 0.5), (20, 0.2), (30, 0.4), (40, 0.3)]:
        checkpoints.save(step, state(step), loss)
    assert steps_in(tmp_path) == [20, 40]
    again = TrainingCheckpoints(tmp_path)  # as an interrupted run would open it
    for opened in (checkpoints, again):
        assert (opened.latest_step(), opened.best_step()) == (40, 20)
        equal(opened.restore(20, state(0)), state(20))
    again.save(50, state(50), 0.1)
    assert steps_in(tmp_path) == [50]


def test_the_optimiser_comes_back_with_its_types(tmp_path: Path) -> None:
    import optax

    params = state(3.0)["w"]
    full = (params, optax.adam(0.1).init(params))
    TrainingCheckpoints(tmp_path).save(1, full, 0.5)
    restored = TrainingCheckpoints(tmp_path).restore(1, jax.tree.map(jnp.zeros_like, full))
    assert jax.tree.structure(restored) == jax.tree.structure(full)
    equal(restored, full)


def test_a_full_disk_is_a_sentence_and_spares_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = TrainingCheckpoints(tmp_path)
    checkpoints.save(1, state(1), 0.5)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", refuse)
    with pytest.raises(InputError, match=r"a full disk while writing.*Make room"):
        checkpoints.save(2, state(2), 0.4)
    again = TrainingCheckpoints(tmp_path)
    assert again.latest_step() == 1
    equal(again.restore(1, state(0)), state(1))


def test_tensorstores_long_complaint_about_a_full_disk_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = TrainingCheckpoints(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError(
            f"RESOURCE_EXHAUSTED: Error writing {'x' * 500}: No space left on device [os_error_code='28']"
        )

    monkeypatch.setattr(checkpoints._manager, "save", refuse)
    with pytest.raises(InputError, match="a full disk while writing"):
        checkpoints.save(2, state(2), 0.4)


def test_a_mistake_of_ours_is_not_blamed_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = TrainingCheckpoints(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no such handler")

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(ValueError, match=r"^no such handler$"):
        checkpoints.save(2, state(2), 0.4)


def test_what_a_killed_run_left_half_written_is_passed_over(tmp_path: Path) -> None:
    checkpoints = TrainingCheckpoints(tmp_path)
    checkpoints.save(1, state(1), 0.5)
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    again = TrainingCheckpoints(tmp_path)
    assert (again.latest_step(), again.best_step()) == (1, 1)
    again.save(2, state(2), 0.4)
    equal(TrainingCheckpoints(tmp_path).restore(2, state(0)), state(2))


@pytest.mark.filterwarnings("ignore")  # what Orbax leaves behind when reading fails
@pytest.mark.parametrize("like", [{"w": jnp.zeros((3, 5)), "count": jnp.asarray(0)}, {"other": jnp.zeros(1)}])
def test_resuming_with_another_model_is_refused(tmp_path: Path, like: Any) -> None:
    checkpoints = TrainingCheckpoints(tmp_path)
    checkpoints.save(1, state(1), 0.5)
    with pytest.raises(InputError, match=r"cannot be read.*Resume with the model="):
        checkpoints.restore(1, like)
    gc.collect()
