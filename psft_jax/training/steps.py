"""Steps of fine-tuning for many heads on one trunk: every run of every patient in one call to the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float

from psft_jax import rng
from psft_jax.model.folded import FoldedTrunk
from psft_jax.model.leaves import FROZEN, TRAINED, Scope, label_leaves
from psft_jax.model.network import Network, Tree, Variables
from psft_jax.training.drawing import Inputs
from psft_jax.training.features import Bank
from psft_jax.training.losses import weighted_cross_entropy
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.weighting import Weighting


class State(NamedTuple):
    """What a run trains, its BN statistics, and its optimiser; of one head or, with leading axes, of many."""

    params: Tree
    batch_stats: Tree
    optimiser: Any


class Kind(NamedTuple):
    """What runs must have in common to be stacked: static for the compiler.

    Args:
        scope: which parameters train.
        weighting: of each of the stacked runs.
    """

    scope: Scope
    weighting: tuple[Weighting, ...]


class Numbers(NamedTuple):
    """In what the runs of a stack may differ: learning rate, and weights of background and lesion."""

    learning_rate: Float[Array, " v"]
    class_weights: Float[Array, "v 2"]


def start(base: Variables, run: FinetuneConfig) -> State:
    """The state of one run before its first iteration."""
    params, batch_stats = (trainable(tree, run.scope) for tree in base)
    return State(params, batch_stats, optimiser(params, run.scope, run.learning_rate).init(params))


def trainable(tree: Tree, scope: Scope) -> Tree:
    """The branches of the network that a scope may change."""
    return tree if scope.trains_trunk else {"head": tree["head"]}


def optimiser(
    params: Tree, scope: Scope, learning_rate: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """Adam on what the scope trains; everything else is frozen."""
    patterns = scope.patterns
    if not scope.trains_trunk:
        patterns = {pattern: label for pattern, label in patterns.items() if not pattern.startswith("trunk")}
    transforms = {TRAINED: optax.adam(learning_rate), FROZEN: optax.set_to_zero()}
    return optax.multi_transform(transforms, label_leaves(params, patterns))


def kind_of(runs: Sequence[FinetuneConfig]) -> tuple[Kind, Numbers]:
    """What runs of one scope have in common, and in what they differ."""
    rates = jnp.asarray([run.learning_rate for run in runs], jnp.float32)
    weights = jnp.asarray([run.class_weights for run in runs], jnp.float32)
    return Kind(runs[0].scope, tuple(run.weighting for run in runs)), Numbers(rates, weights)


@partial(jax.jit, static_argnames=("network", "kinds"), donate_argnames="states")
def take_steps(
    network: Network,
    kinds: tuple[Kind, ...],
    base: Variables,
    trunk: FoldedTrunk,
    states: tuple[State, ...],
    numbers: tuple[Numbers, ...],
    bank: Bank | None,
    inputs: Inputs,
) -> tuple[tuple[State, ...], tuple[Float[Array, "n v p"], ...]]:
    """As many steps as there are minibatches.

    Args:
        network: the architecture.
        kinds: what the runs of each stack have in common; all train heads, or all whole networks.
        base: the base CNN.
        trunk: its trunk, folded.
        states: of each stack, (runs, patients, ...); their memory is taken over.
        numbers: in what the runs of each stack differ.
        bank: kept features, if the minibatches have slots in it.
        inputs: of the steps, of all patients.

    Returns:
        The states after the steps, and the losses of each stack.
    """

    def step(states: tuple[State, ...], inputs: Inputs) -> Any:
        features = None if kinds[0].scope.trains_trunk else _features(network, trunk, bank, inputs)
        updated = [
            _update_stack(network, kind, base, state, own, inputs, features)
            for kind, state, own in zip(kinds, states, numbers, strict=True)
        ]
        return tuple(state for state, _ in updated), tuple(loss for _, loss in updated)

    if len(inputs.dropout_keys) == 1:  # a loop of one step is compiled as badly for a CPU as any
        states, losses = step(states, jax.tree.map(lambda leaf: leaf[0], inputs))
        return states, jax.tree.map(lambda leaf: leaf[None], losses)
    return jax.lax.scan(step, states, inputs)


def _features(
    network: Network, trunk: FoldedTrunk, bank: Bank | None, inputs: Inputs
) -> Float[Array, "p n f"]:
    """Features of each patient's pixels: looked up, or one trunk pass for all patients."""
    patients = inputs.lesion.shape[0]
    if bank is not None and inputs.slots is not None:
        return bank[inputs.slots].reshape(patients, -1, bank.shape[-1])
    images = jax.tree.map(lambda image: image.reshape(-1, *image.shape[2:]), inputs.images)
    features = network.folded_trunk(trunk, images)
    return features.reshape(patients, -1, features.shape[-1])


def _update_stack(
    network: Network,
    kind: Kind,
    base: Variables,
    state: State,
    numbers: Numbers,
    inputs: Inputs,
    features: Float[Array, "p n f"] | None,
) -> tuple[State, Float[Array, "v p"]]:
    """One step of every run of every patient."""
    maps = [
        jnp.ones_like(inputs.lesion) if scheme is Weighting.NONE else inputs.weights[scheme]
        for scheme in kind.weighting
    ]
    plain = jnp.asarray([scheme is Weighting.NONE for scheme in kind.weighting])
    by_class = jnp.where(plain[:, None], numbers.class_weights, 1.0)

    def one(
        state: State, rate: Array, by_class: Array, weights: Array, inputs: Inputs, features: Any
    ) -> tuple[State, Array]:
        both = (weights * by_class[0], weights * by_class[1])
        return _update(network, kind.scope, base, state, rate, both, inputs, features)

    over_patients = jax.vmap(one, in_axes=(0, None, None, 0, 0, 0))
    over_runs = jax.vmap(over_patients, in_axes=(0, 0, 0, 0, None, None))
    return over_runs(state, numbers.learning_rate, by_class, jnp.stack(maps), inputs, features)


def _update(
    network: Network,
    scope: Scope,
    base: Variables,
    state: State,
    rate: Float[Array, ""],
    weights: tuple[Float[Array, "b y x"], Float[Array, "b y x"]],
    inputs: Inputs,
    features: Float[Array, "n f"] | None,
) -> tuple[State, Float[Array, ""]]:
    """One step of one head, or of one whole network."""
    dropout_key = jax.random.wrap_key_data(inputs.dropout_keys, impl=rng.IMPLEMENTATION)

    def objective(params: Tree) -> tuple[Float[Array, ""], Tree]:
        variables = Variables({**base.params, **params}, {**base.batch_stats, **state.batch_stats})
        if features is None:
            assert inputs.images is not None
            logits, batch_stats = network.apply(variables, inputs.images, train=True, dropout_key=dropout_key)
        else:
            logits, head_stats = network.head(
                variables, features, train_norm=scope.trains_head_norm, dropout_key=dropout_key
            )
            batch_stats = {"head": head_stats}
        logits = logits.reshape(*inputs.lesion.shape, 2)
        return weighted_cross_entropy(logits, inputs.lesion, weights), batch_stats

    (loss, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    transform = optimiser(state.params, scope, rate)
    updates, moments = transform.update(gradient, state.optimiser, state.params)
    return State(optax.apply_updates(state.params, updates), batch_stats, moments), loss
