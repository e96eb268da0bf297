"""Base training: the loss of every step, resuming, the best network, and what stops it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from psft_jax import rng
from psft_jax.errors import InputError
from psft_jax.model.network import Network, Variables
from psft_jax.model.precision import Precision
from psft_jax.sampling.patches import PatchConfig, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres, grid_centres
from psft_jax.sampling.slices import Slices, slices_of
from psft_jax.scan import Scan
from psft_jax.training import base
from psft_jax.training.base import TrainingDivergedError, split_slices, train_base
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.checkpoints import TrainingCheckpoints
from psft_jax.training.losses import weighted_cross_entropy

MakeScan = Callable[..., Scan]
SEED = 3


class PowerCutError(Exception):
    """The plug was pulled."""


class Recorder:
    """A log that remembers, and that may pull the plug at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.losses: dict[int, float] = {}
        self.validation: dict[int, float] = {}
        self.stop_at = stop_at

    def __call__(self, step: int, values: dict[str, float]) -> None:
        if step == self.stop_at:
            raise PowerCutError
        ((name, value),) = values.items()
        {"loss": self.losses, "validation_loss": self.validation}[name][step] = value


@pytest.fixture(scope="module")
def config(small_patches: PatchConfig) -> TrainConfig:
    return TrainConfig(
        iterations=10, learning_rate=0.02, validate_every=4, validation_patches=5, patches=small_patches
    )


@pytest.fixture(scope="module")
def slices(make_scan: MakeScan) -> Slices:
    return slices_of(make_scan(shape=(7, 24, 20)), np.arange(7))


@pytest.fixture(scope="module")
def train(tiny: Network, slices: Slices, config: TrainConfig) -> Callable[..., Variables]:
    def run(folder: Path, log: Recorder, *, on: Slices = slices, **changes: Any) -> Variables:
        settings = {"seed": SEED, **changes}
        return train_base(tiny, on, config, TrainingCheckpoints(folder), log=log, **settings)

    return run


@pytest.fixture(scope="module")
def whole(
    train: Callable[..., Variables], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Variables, Recorder, Path]:
    """A run that nothing interrupted: the network, its log, and its checkpoints."""
    folder, log = tmp_path_factory.mktemp("whole"), Recorder()
    return train(folder, log), log, folder


def equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def state_at(tiny: Network, config: TrainConfig, folder: Path, step: int) -> base.TrainState:
    params, stats = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), tuple(tiny.shapes))
    like = base.TrainState(Variables(params, stats), base.adam(config).init(params))
    return TrainingCheckpoints(folder).restore(step, like)


def test_every_step_and_every_validation_is_told(whole: tuple[Variables, Recorder, Path]) -> None:
    _, log, folder = whole
    assert list(log.losses) == list(range(1, 11))
    assert list(log.validation) == [4, 8, 10]  # the last step is validated whatever its number
    kept = {min(log.validation, key=log.validation.__getitem__), 10}
    assert {int(path.name) for path in folder.iterdir()} == kept


def test_the_losses_are_those_of_plain_adam(
    tiny: Network, slices: Slices, config: TrainConfig, whole: tuple[Variables, Recorder, Path]
) -> None:
    """The first steps again: our patches and dropout, but Adam and the update written out in NumPy."""
    training, _ = split_slices(slices, config.validation_fraction, SEED)
    pool = make_pool(training, partial(grid_centres, patch=9))
    cut = jax.jit(extract, static_argnames="config")

    @jax.jit
    def gradient(variables: Variables, batch: Any, key: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            logits, stats = tiny.apply(
                Variables(params, variables.batch_stats), batch.images, train=True, dropout_key=key
            )
            return weighted_cross_entropy(logits, batch.lesion, (1.0, 5.0)), stats

        return jax.value_and_grad(loss, has_aux=True)(variables.params)

    params, stats = tiny.init(rng.key(SEED, "base", "init"))
    m = v = jax.tree.map(lambda leaf: np.zeros(leaf.shape), params)
    for step in range(5):
        of_draw, of_dropout = jax.random.split(jax.random.fold_in(rng.key(SEED, "base", "steps"), step))
        batch = cut(pool, draw(of_draw, pool.n_patches, config.patches), config=config.patches)
        (loss, stats), g = gradient(Variables(params, stats), batch, of_dropout)
        assert whole[1].losses[step + 1] == pytest.approx(float(loss), rel=2e-3)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * np.asarray(g), m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * np.asarray(g) ** 2, v, g)
        rate = 0.02 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        params = jax.tree.map(
            lambda p, m, v, rate=rate: jnp.asarray(p - rate * m / (np.sqrt(v) + 1e-8), jnp.float32),
            params,
            m,
            v,
        )


def test_training_lowers_the_loss(whole: tuple[Variables, Recorder, Path]) -> None:
    losses = list(whole[1].losses.values())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_in_bfloat16_it_follows_float32_and_keeps_float32(
    tiny: Network,
    slices: Slices,
    config: TrainConfig,
    whole: tuple[Variables, Recorder, Path],
    tmp_path: Path,
) -> None:
    """Eight bits of mantissa: a loss may differ by a few percent, more as the steps add up."""
    log, half = Recorder(), replace(tiny, precision=Precision.BFLOAT16)
    variables = train_base(half, slices, config, TrainingCheckpoints(tmp_path), log=log, seed=SEED)
    found, exact = (np.array(list(of.losses.values())) for of in (log, whole[1]))
    np.testing.assert_allclose(found[:3], exact[:3], rtol=0.03)
    np.testing.assert_allclose(found, exact, rtol=0.2)
    assert (found != exact).all()
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("stop_at", [3, 9])
def test_an_interrupted_run_ends_as_one_that_was_not(
    train: Callable[..., Variables],
    tiny: Network,
    config: TrainConfig,
    whole: tuple[Variables, Recorder, Path],
    tmp_path: Path,
    stop_at: int,
) -> None:
    """The power fails before the first checkpoint, or between the second and the last."""
    with pytest.raises(PowerCutError):
        train(tmp_path, Recorder(stop_at=stop_at))
    log = Recorder()
    equal(train(tmp_path, log), whole[0])
    resumed_at = {3: 1, 9: 9}[stop_at]
    assert log.losses == {s: loss for s, loss in whole[1].losses.items() if s >= resumed_at}
    equal(state_at(tiny, config, tmp_path, 10), state_at(tiny, config, whole[2], 10))


def test_a_finished_run_trains_no_more(
    train: Callable[..., Variables], whole: tuple[Variables, Recorder, Path]
) -> None:
    log = Recorder()
    equal(train(whole[2], log), whole[0])
    assert (log.losses, log.validation) == ({}, {})


def test_the_network_of_lowest_validation_loss_is_returned_not_the_last(
    train: Callable[..., Variables],
    tiny: Network,
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, seen = iter([0.5, 0.2, 0.9]), []

    def pretend(_: Network, __: TrainConfig, variables: Variables, *___: Any) -> float:
        seen.append(jax.tree.map(np.array, variables))
        return next(told)

    monkeypatch.setattr(base, "_validation_loss", pretend)
    returned = train(tmp_path, Recorder())
    equal(returned, seen[1])
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (seen[1], seen[2])), strict=True))
    equal(state_at(tiny, config, tmp_path, 10).variables, seen[2])


def test_the_validation_loss_is_that_of_the_held_out_slices(
    tiny: Network, slices: Slices, config: TrainConfig, whole: tuple[Variables, Recorder, Path]
) -> None:
    """One slice of seven is held out: its four corners and centre, unrotated, without dropout; the fifth
    patch makes the last batch together with the first."""
    _, held_out = split_slices(slices, config.validation_fraction, SEED)
    box = tuple(map(int, held_out.boxes[0]))
    losses = []
    apply = jax.jit(tiny.apply)
    for row, column in corner_centres(box, 9).astype(int) - 4:
        piece = np.s_[:, row : row + 9, column : column + 9]
        first, second = (jnp.asarray(image[piece]) for image in held_out.images)
        logits, _ = apply(whole[0], (first, second))
        losses.append(float(weighted_cross_entropy(logits, jnp.asarray(held_out.lesion[piece]), (1.0, 5.0))))
    best = min(whole[1].validation.values())
    assert any(best == pytest.approx((sum(losses) + again) / 6, rel=1e-4) for again in losses)


def test_another_seed_is_another_run(
    train: Callable[..., Variables], whole: tuple[Variables, Recorder, Path], tmp_path: Path
) -> None:
    log = Recorder(stop_at=3)
    with pytest.raises(PowerCutError):
        train(tmp_path, log, seed=SEED + 1)
    assert log.losses[1] != whole[1].losses[1]


def test_steps_of_one_dispatch_are_the_steps_one_by_one(
    train: Callable[..., Variables],
    tiny: Network,
    config: TrainConfig,
    whole: tuple[Variables, Recorder, Path],
    tmp_path: Path,
) -> None:
    """Three to a dispatch; a validation after four steps cuts the second dispatch short."""
    log = Recorder(stop_at=5)
    with pytest.raises(PowerCutError):
        train(tmp_path / "by three", log, steps_per_dispatch=3)
    assert list(log.losses) == [1, 2, 3, 4]
    for step, loss in log.losses.items():
        assert loss == pytest.approx(whole[1].losses[step], rel=1e-4)
    assert log.validation == pytest.approx({4: whole[1].validation[4]}, rel=1e-3)
    with pytest.raises(PowerCutError):
        train(tmp_path / "one by one", Recorder(stop_at=5))
    together, apart = (
        state_at(tiny, config, folder, 4) for folder in (tmp_path / "by three", tmp_path / "one by one")
    )
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3), together.variables, apart.variables
    )


def with_nan(slices: Slices) -> Slices:
    first, second = slices.images
    return replace(slices, images=(np.full_like(first, np.nan), second))


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_state(
    train: Callable[..., Variables],
    tiny: Network,
    config: TrainConfig,
    slices: Slices,
    whole: tuple[Variables, Recorder, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(PowerCutError):
        train(tmp_path, Recorder(stop_at=6))
    log = Recorder()
    with pytest.raises(TrainingDivergedError, match=r"iteration 5.*Iteration 4 is kept"):
        train(tmp_path, log, on=with_nan(slices))
    assert (log.losses, log.validation) == ({}, {})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state_at(tiny, config, tmp_path, 4)))
    equal(train(tmp_path, Recorder()), whole[0])  # and the run goes on from there once the scans are right


def test_a_loss_that_was_never_a_number(
    train: Callable[..., Variables], slices: Slices, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDivergedError, match=r"iteration 1.*No checkpoint was written yet"):
        train(tmp_path, Recorder(), on=with_nan(slices))


def test_a_network_that_broke_in_its_last_step_is_not_written(
    train: Callable[..., Variables], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([0.5, float("nan")])
    monkeypatch.setattr(base, "_validation_loss", lambda *_: next(told))
    with pytest.raises(TrainingDivergedError, match=r"iteration 8.*Iteration 4 is kept"):
        train(tmp_path, Recorder())
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_a_disk_that_fills_up_stops_the_run_and_the_run_resumes(
    train: Callable[..., Variables],
    whole: tuple[Variables, Recorder, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from orbax.checkpoint import CheckpointManager

    save = CheckpointManager.save

    def refuse(self: Any, step: int, *args: Any, **kwargs: Any) -> Any:
        if step == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(self, step, *args, **kwargs)

    with monkeypatch.context() as full:
        full.setattr(CheckpointManager, "save", refuse)
        with pytest.raises(InputError, match="a full disk while writing"):
            train(tmp_path, Recorder())
    log = Recorder()
    equal(train(tmp_path, log), whole[0])
    assert min(log.losses) == 5


@pytest.mark.parametrize(
    ("count", "fraction", "held_out"), [(20, 0.15, 3), (7, 0.15, 1), (3, 0.01, 1), (2, 0.9, 1)]
)
def test_slices_are_split_once(make_scan: MakeScan, count: int, fraction: float, held_out: int) -> None:
    slices = slices_of(make_scan(shape=(count, 24, 20)), np.arange(count))
    training, validation = split_slices(slices, fraction, seed=0)
    assert (len(training), len(validation)) == (count - held_out, held_out)
    assert sorted(training.names + validation.names) == sorted(slices.names)
    again = split_slices(slices, fraction, seed=0)
    assert (again[0].names, again[1].names) == (training.names, validation.names)


def test_another_seed_holds_out_other_slices(make_scan: MakeScan) -> None:
    slices = slices_of(make_scan(shape=(20, 24, 20)), np.arange(20))
    assert len({split_slices(slices, 0.15, seed)[1].names for seed in range(5)}) > 1


def test_one_slice_cannot_be_split(make_scan: MakeScan) -> None:
    with pytest.raises(InputError, match="found 1 slices"):
        split_slices(slices_of(make_scan(), np.array([1])), 0.15, seed=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", 0),
        ("learning_rate", 0.0),
        ("class_weights", (1.0, 0.0)),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1.0),
        ("validate_every", 0),
        ("validation_patches", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"TrainConfig\.{name}"):
        TrainConfig(**{name: value})
