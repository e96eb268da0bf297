"""Training the base CNN on many patients (section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from psft_jax import rng
from psft_jax.errors import InputError, check_fields
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import Batch, Draw, PatchConfig, Pool, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres, grid_centres
from psft_jax.sampling.slices import Slices
from psft_jax.training.checkpoints import TrainingCheckpoints
from psft_jax.training.losses import weighted_cross_entropy

Log = Callable[[int, dict[str, float]], None]
"""Called with the step and what was measured there."""


@dataclass(frozen=True)
class TrainConfig:
    """Base training; the defaults are the paper's (section 2.2).

    Args:
        iterations: optimiser steps.
        learning_rate: of Adam.
        class_weights: of background and lesion in the loss.
        validation_fraction: part of the slices that is held out.
        validate_every: steps between two validations, each of which writes a checkpoint.
        validation_patches: fixed, unrotated patches that make the validation loss.
        patches: how patches are cut.

    Raises:
        InputError: a number is out of its range.
    """

    iterations: int = 10_000
    learning_rate: float = 1e-4
    class_weights: tuple[float, float] = (1.0, 5.0)
    validation_fraction: float = 0.15
    validate_every: int = 250
    validation_patches: int = 64
    patches: PatchConfig = field(default_factory=PatchConfig)

    def __post_init__(self) -> None:
        background, lesion = self.class_weights
        check_fields(
            self,
            {
                "iterations": (self.iterations >= 1, "at least 1"),
                "learning_rate": (self.learning_rate > 0, "more than 0"),
                "class_weights": (background > 0 and lesion > 0, "two weights of more than 0"),
                "validation_fraction": (0 < self.validation_fraction < 1, "a fraction between 0 and 1"),
                "validate_every": (self.validate_every >= 1, "at least 1 iteration"),
                "validation_patches": (self.validation_patches >= 1, "at least 1"),
            },
            remedy="See conf/train/paper.yaml for the paper's values.",
        )


class TrainState(NamedTuple):
    """Everything that a training run needs to go on as if it had never stopped."""

    variables: Variables
    optimiser: Any


class TrainingDivergedError(InputError):
    """The loss is no longer a number."""

    def __init__(self, step: int, kept: int | None) -> None:
        super().__init__(
            f"base training, iteration {step}",
            found="a loss that is not a number",
            expected="a finite loss",
            remedy="Lower train.learning_rate, or look at the intensities of the training scans. "
            + ("No checkpoint was written yet." if kept is None else f"Iteration {kept} is kept."),
        )


def split_slices(slices: Slices, fraction: float, seed: int) -> tuple[Slices, Slices]:
    """Training and validation slices, at random (section 2.1: 85% and 15% of the slices).

    Raises:
        InputError: there are fewer than two slices.
    """
    if len(slices) < 2:
        raise InputError(
            "training slices",
            found=f"{len(slices)} slices with lesions",
            expected="at least two, one to train on and one to validate on",
            remedy="Give more annotated training patients.",
        )
    order = rng.generator(seed, "base", "split").permutation(len(slices))
    held_out = min(max(1, round(fraction * len(slices))), len(slices) - 1)
    return slices.take(np.sort(order[held_out:])), slices.take(np.sort(order[:held_out]))


def train_base(
    network: Network,
    slices: Slices,
    config: TrainConfig,
    checkpoints: TrainingCheckpoints,
    *,
    seed: int,
    log: Log,
    steps_per_dispatch: int = 1,
) -> Variables:
    """Train the base CNN, or go on where an interrupted run stopped.

    Every draw depends on the seed and the step alone, so a run that was interrupted ends with the same
    variables as one that was not.

    Args:
        network: the architecture.
        slices: all slices with lesions of the training patients; split here.
        config: the training.
        checkpoints: where states are kept; a run resumes from the latest.
        seed: of the split, the initialisation, the patches and the dropout.
        log: told the loss of every step, and the validation loss.
        steps_per_dispatch: steps in one call to the device. XLA compiles a loop of steps well for a GPU and
            badly for a CPU (about five times slower than one call a step), hence 1.

    Returns:
        The variables of lowest validation loss.

    Raises:
        TrainingDivergedError: the loss is no longer finite; the checkpoints written before are kept.
    """
    training, validation = split_slices(slices, config.validation_fraction, seed)
    pool = make_pool(training, partial(grid_centres, patch=config.patches.size))
    held_out = _validation_draws(validation, config, seed)

    variables = network.init(rng.key(seed, "base", "init"))
    state = TrainState(variables, _adam(config).init(variables.params))
    step = checkpoints.latest_step()
    if step is None:
        step = 0
    else:
        state = checkpoints.restore(step, state)

    key = rng.key(seed, "base", "steps")
    with tqdm(total=config.iterations, initial=step, desc="base training", unit="it") as bar:
        shown: dict[str, float] = {}
        while step < config.iterations:
            until_validation = config.validate_every - step % config.validate_every
            count = min(steps_per_dispatch, until_validation, config.iterations - step)
            state, losses = _train_steps(network, config, state, pool, key, step, count)
            for loss in np.atleast_1d(np.asarray(losses)):
                step += 1
                if not math.isfinite(loss):
                    raise TrainingDivergedError(step, checkpoints.latest_step())
                log(step, {"loss": float(loss)})
            shown["loss"] = float(loss)
            if step % config.validate_every == 0 or step == config.iterations:
                shown["validation"] = float(_validation_loss(network, config, state.variables, *held_out))
                if not math.isfinite(shown["validation"]):
                    raise TrainingDivergedError(step, checkpoints.latest_step())
                log(step, {"validation_loss": shown["validation"]})
                checkpoints.save(step, state, shown["validation"])
            bar.update(count)
            bar.set_postfix({name: f"{value:.4f}" for name, value in shown.items()}, refresh=False)
    return checkpoints.restore(checkpoints.best_step(), state).variables


def _adam(config: TrainConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)


@partial(jax.jit, static_argnames=("network", "config", "count"), donate_argnames="state")
def _train_steps(
    network: Network,
    config: TrainConfig,
    state: TrainState,
    pool: Pool,
    key: Array,
    first: int | Int[Array, ""],
    count: int,
) -> tuple[TrainState, Float[Array, "*n"]]:
    """``count`` steps from step ``first`` on, and their losses."""

    def step(state: TrainState, number: Array) -> tuple[TrainState, Float[Array, ""]]:
        draw_key, dropout_key = jax.random.split(jax.random.fold_in(key, number))
        batch = extract(pool, draw(draw_key, pool.n_patches, config.patches), config.patches)
        return _update(network, config, state, batch, dropout_key)

    if count == 1:
        return step(state, jnp.asarray(first))
    return jax.lax.scan(step, state, first + jnp.arange(count))


def _update(
    network: Network, config: TrainConfig, state: TrainState, batch: Batch, dropout_key: Array
) -> tuple[TrainState, Float[Array, ""]]:
    variables, optimiser = state

    def objective(params: Any) -> tuple[Float[Array, ""], Any]:
        logits, batch_stats = network.apply(
            Variables(params, variables.batch_stats), batch.images, train=True, dropout_key=dropout_key
        )
        return weighted_cross_entropy(logits, batch.lesion, config.class_weights), batch_stats

    (loss, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(variables.params)
    updates, optimiser = _adam(config).update(gradient, optimiser, variables.params)
    params = optax.apply_updates(variables.params, updates)
    return TrainState(Variables(params, batch_stats), optimiser), loss


def _validation_draws(validation: Slices, config: TrainConfig, seed: int) -> tuple[Pool, list[Draw]]:
    """Fixed minibatches of unrotated patches at the corners and the centre of the organ."""
    pool = make_pool(validation, partial(corner_centres, patch=config.patches.size))
    count = int(pool.n_patches)
    order = rng.generator(seed, "base", "validation").permutation(count)[: config.validation_patches]
    batch = config.patches.batch
    rounded = np.resize(order, math.ceil(len(order) / batch) * batch).reshape(-1, batch)
    still = np.zeros(batch, dtype=np.float32)
    return pool, [Draw(jnp.asarray(p), jnp.asarray(still), jnp.zeros(batch, jnp.int32)) for p in rounded]


def _validation_loss(
    network: Network, config: TrainConfig, variables: Variables, pool: Pool, draws: list[Draw]
) -> float:
    losses = [_loss_of(network, config, variables, pool, chosen) for chosen in draws]
    return float(np.mean([float(loss) for loss in losses]))


@partial(jax.jit, static_argnames=("network", "config"))
def _loss_of(
    network: Network, config: TrainConfig, variables: Variables, pool: Pool, chosen: Draw
) -> Float[Array, ""]:
    batch = extract(pool, chosen, config.patches)
    logits, _ = network.apply(variables, batch.images)
    return weighted_cross_entropy(logits, batch.lesion, config.class_weights)
