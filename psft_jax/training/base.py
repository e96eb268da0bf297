"""Training the base CNN on many patients (section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh
from tqdm import tqdm

from psft_jax import rng
from psft_jax.devices import data_mesh, split, whole
from psft_jax.errors import InputError
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import Drawn
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import Slices
from psft_jax.sampling.stored import StoredSlices
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.base_feed import PatchPlaces, fed
from psft_jax.training.base_steps import TrainState, adam, loss_of
from psft_jax.training.checkpoints import TrainingCheckpoints

Log = Callable[[int, dict[str, float]], None]
"""Called with the step and what was measured there."""


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


def split_slices(
    slices: Slices | StoredSlices, fraction: float, seed: int
) -> tuple[Slices | StoredSlices, Slices | StoredSlices]:
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
    slices: Slices | StoredSlices,
    config: TrainConfig,
    checkpoints: TrainingCheckpoints,
    *,
    seed: int,
    log: Log,
    steps_per_dispatch: int = 1,
    mesh: Mesh | None = None,
) -> Variables:
    """Train the base CNN, or go on where an interrupted run stopped.

    Every draw depends on the seed and the step alone, so a run that was interrupted ends with the same
    variables as one that was not; and one on slices that are read from the disk, or on several devices, with
    those of one in memory on one device but for rounding.

    Args:
        network: the architecture.
        slices: all slices with lesions of the training patients; split here.
        config: the training.
        checkpoints: where states are kept; a run resumes from the latest.
        seed: of the split, the initialisation, the patches and the dropout.
        log: told the loss of every step, and the validation loss.
        steps_per_dispatch: steps in one call to the device. XLA compiles a loop of steps well for a GPU and
            badly for a CPU (about five times slower than one call a step), hence 1.
        mesh: devices that share the patches of a minibatch, which their number divides; one without it.

    Returns:
        The variables of lowest validation loss.

    Raises:
        TrainingDivergedError: the loss is no longer finite; the checkpoints written before are kept.
        InputError: slices cannot be read, or the disk is full.
    """
    mesh = mesh or data_mesh()
    training, validation = split_slices(slices, config.validation_fraction, seed)
    held_out = _validation_patches(validation, config, seed, mesh)

    variables = network.init(rng.key(seed, "base", "init"))
    state = jax.device_put(TrainState(variables, adam(config).init(variables.params)), whole(mesh))
    step = checkpoints.latest_step()
    if step is None:
        step = 0
    else:
        state = checkpoints.restore(step, state)

    planned = list(_dispatches(config, step, steps_per_dispatch))
    key = jax.device_put(rng.key(seed, "base", "steps"), whole(mesh))
    with (
        tqdm(total=config.iterations, initial=step, desc="base training", unit="it") as bar,
        closing(fed(network, training, config, mesh, key, planned)) as dispatches,
    ):
        shown: dict[str, float] = {}
        for advance in dispatches:
            state, losses = advance(state)
            for loss in np.asarray(losses):
                step += 1
                if not math.isfinite(loss):
                    raise TrainingDivergedError(step, checkpoints.latest_step())
                log(step, {"loss": float(loss)})
            shown["loss"] = float(loss)
            if step % config.validate_every == 0 or step == config.iterations:
                shown["validation"] = _validation_loss(network, config, state.variables, mesh, held_out)
                if not math.isfinite(shown["validation"]):
                    raise TrainingDivergedError(step, checkpoints.latest_step())
                log(step, {"validation_loss": shown["validation"]})
                checkpoints.save(step, state, shown["validation"])
            bar.update(len(losses))
            bar.set_postfix({name: f"{value:.4f}" for name, value in shown.items()}, refresh=False)
    best = checkpoints.restore(checkpoints.best_step(), state).variables
    return jax.tree.map(jnp.asarray, jax.device_get(best))  # no longer bound to the devices of the mesh


def _dispatches(config: TrainConfig, step: int, at_most: int) -> Iterator[tuple[int, int]]:
    """The first step of each call to the device, and the number of its steps; none goes past a validation."""
    while step < config.iterations:
        until_validation = config.validate_every - step % config.validate_every
        count = min(at_most, until_validation, config.iterations - step)
        yield step, count
        step += count


def _validation_patches(
    validation: Slices | StoredSlices, config: TrainConfig, seed: int, mesh: Mesh
) -> list[Drawn]:
    """Fixed minibatches of unrotated patches at the corners and the centre of the organ."""
    places = PatchPlaces.of(validation, partial(corner_centres, patch=config.patches.size))
    order = rng.generator(seed, "base", "validation").permutation(len(places))[: config.validation_patches]
    batch = config.patches.batch
    rounded = np.resize(order, math.ceil(len(order) / batch) * batch).reshape(-1, batch)
    still = np.zeros(batch, dtype=np.float32)
    return [places.read(patches, still, split(mesh)) for patches in rounded]


def _validation_loss(
    network: Network, config: TrainConfig, variables: Variables, mesh: Mesh, held_out: list[Drawn]
) -> float:
    losses = [loss_of(network, config, mesh, variables, drawn) for drawn in held_out]
    return float(np.mean([float(loss) for loss in losses]))
