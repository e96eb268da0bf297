"""The optimiser steps of base training, compiled: from slices on the device, or from slices sent to it.

Both draw the same patches: a draw depends on the key and the number of the step alone. The patches of a
minibatch are split among the devices of a mesh, and everything else lies whole on each; sums over the
minibatch (batch normalisation, the loss, the gradient) are those of the whole minibatch.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from psft_jax.devices import split, whole
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import Batch, Draw, Drawn, Pool, cut, draw, gather
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.losses import weighted_cross_entropy


class TrainState(NamedTuple):
    """Everything that a training run needs to go on as if it had never stopped."""

    variables: Variables
    optimiser: Any


def adam(config: TrainConfig) -> optax.GradientTransformation:
    """The optimiser."""
    return optax.adam(config.learning_rate)


@partial(jax.jit, static_argnames=("network", "config", "mesh", "count"), donate_argnames="state")
def steps_from_pool(
    network: Network,
    config: TrainConfig,
    mesh: Mesh,
    state: TrainState,
    key: Array,
    first: int | Int[Array, ""],
    pool: Pool,
    count: int,
) -> tuple[TrainState, Float[Array, " n"]]:
    """``count`` steps from step ``first`` on, and their losses."""

    def step(state: TrainState, number: Array) -> tuple[TrainState, Float[Array, ""]]:
        drawn = gather(pool, _draw(key, number, pool.n_patches, config))
        return _step(network, config, mesh, state, key, number, drawn)

    return _repeat(step, state, first + jnp.arange(count))


@partial(jax.jit, static_argnames=("network", "config", "mesh"), donate_argnames="state")
def steps_from_slices(
    network: Network,
    config: TrainConfig,
    mesh: Mesh,
    state: TrainState,
    key: Array,
    first: int | Int[Array, ""],
    drawn: Drawn,
) -> tuple[TrainState, Float[Array, " n"]]:
    """The same, one for each minibatch of ``drawn`` (N, B), whose second axis is split among the devices."""

    def step(state: TrainState, inputs: tuple[Array, Drawn]) -> tuple[TrainState, Float[Array, ""]]:
        number, drawn = inputs
        return _step(network, config, mesh, state, key, number, drawn)

    count, _ = drawn.angle.shape
    return _repeat(step, state, (first + jnp.arange(count), drawn))


@partial(jax.jit, static_argnames="config")
def draws_of(key: Array, numbers: Int[Array, " n"], patches: Int[Array, ""], config: TrainConfig) -> Draw:
    """The draws of many steps at once, (N, B)."""
    return jax.vmap(lambda number: _draw(key, number, patches, config))(numbers)


@partial(jax.jit, static_argnames=("network", "config", "mesh"))
def loss_of(
    network: Network, config: TrainConfig, mesh: Mesh, variables: Variables, drawn: Drawn
) -> Float[Array, ""]:
    """The loss of a minibatch with the running averages of batch normalisation, and without dropout."""
    batch = minibatch(drawn, config, mesh)
    logits, _ = network.apply(variables, batch.images)
    return weighted_cross_entropy(logits, batch.lesion, config.class_weights)


def minibatch(drawn: Drawn, config: TrainConfig, mesh: Mesh) -> Batch:
    """The patches, each cut on the device that it belongs to."""
    return cut(jax.lax.with_sharding_constraint(drawn, split(mesh)), config.patches)


def _draw(key: Array, number: Int[Array, ""], patches: Int[Array, ""], config: TrainConfig) -> Draw:
    of_draw, _ = jax.random.split(jax.random.fold_in(key, number))
    return draw(of_draw, patches, config.patches)


def _repeat(step: Any, state: TrainState, inputs: Any) -> tuple[TrainState, Float[Array, " n"]]:
    """A step for each of the inputs; XLA compiles a loop badly for a CPU, so that one step stands alone."""
    if len(jax.tree.leaves(inputs)[0]) > 1:
        return jax.lax.scan(step, state, inputs)
    state, loss = step(state, jax.tree.map(lambda leaf: leaf[0], inputs))
    return state, loss[None]


def _step(
    network: Network,
    config: TrainConfig,
    mesh: Mesh,
    state: TrainState,
    key: Array,
    number: Int[Array, ""],
    drawn: Drawn,
) -> tuple[TrainState, Float[Array, ""]]:
    variables, optimiser = state
    batch = minibatch(drawn, config, mesh)
    _, of_dropout = jax.random.split(jax.random.fold_in(key, number))

    def objective(params: Any) -> tuple[Float[Array, ""], Any]:
        logits, batch_stats = network.apply(
            Variables(params, variables.batch_stats), batch.images, train=True, dropout_key=of_dropout
        )
        return weighted_cross_entropy(logits, batch.lesion, config.class_weights), batch_stats

    (loss, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(variables.params)
    updates, optimiser = adam(config).update(gradient, optimiser, variables.params)
    params = optax.apply_updates(variables.params, updates)
    updated = TrainState(Variables(params, batch_stats), optimiser)
    return jax.lax.with_sharding_constraint(updated, whole(mesh)), loss
