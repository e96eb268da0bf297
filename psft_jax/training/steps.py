"""Steps of fine-tuning for many heads on one trunk: every run of every patient in one call to the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float, Key

from psft_jax import rng
from psft_jax.model.folded import FoldedTrunk
from psft_jax.model.leaves import FROZEN, TRAINED, Scope, label_leaves
from psft_jax.model.network import Network, Tree, Variables
from psft_jax.sampling.patches import Batch, PatchConfig, Pool, extract
from psft_jax.training.drawing import HostOrDevice, Minibatches
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


@partial(jax.jit, static_argnames=("network", "patches", "kinds"), donate_argnames="states")
def take_steps(
    network: Network,
    patches: PatchConfig,
    kinds: tuple[Kind, ...],
    base: Variables,
    trunk: FoldedTrunk,
    states: tuple[State, ...],
    numbers: tuple[Numbers, ...],
    pool: Pool,
    bank: Bank | None,
    minibatches: Minibatches,
) -> tuple[tuple[State, ...], tuple[Float[Array, "n v p"], ...]]:
    """As many steps as there are minibatches.

    Args:
        network: the architecture.
        patches: how patches are cut.
        kinds: what the runs of each stack have in common; all train heads, or all whole networks.
        base: the base CNN.
        trunk: its trunk, folded.
        states: of each stack, (runs, patients, ...); their memory is taken over.
        numbers: in what the runs of each stack differ.
        pool: the patches of all patients.
        bank: kept features, if the minibatches have slots.
        minibatches: what is drawn.

    Returns:
        The states after the steps, and the losses of each stack.
    """

    def step(states: tuple[State, ...], drawn: Minibatches) -> Any:
        chosen = drawn.draws
        batch = _by_patient(extract(pool, jax.tree.map(jnp.ravel, chosen), patches), chosen.patch.shape)
        dropout_keys = jax.random.wrap_key_data(jnp.asarray(drawn.dropout_keys), impl=rng.IMPLEMENTATION)
        features = None
        if not kinds[0].scope.trains_trunk:
            features = _features(network, trunk, bank, batch, drawn.slots)
        updated = [
            _update_stack(network, kind, base, state, own, batch, features, dropout_keys)
            for kind, state, own in zip(kinds, states, numbers, strict=True)
        ]
        return tuple(state for state, _ in updated), tuple(loss for _, loss in updated)

    if len(minibatches.dropout_keys) == 1:  # a loop of one step is compiled as badly for a CPU as any
        states, losses = step(states, jax.tree.map(lambda leaf: leaf[0], minibatches))
        return states, jax.tree.map(lambda leaf: leaf[None], losses)
    return jax.lax.scan(step, states, minibatches)


def _by_patient(batch: Batch, shape: tuple[int, ...]) -> Batch:
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), batch)


def _features(
    network: Network, trunk: FoldedTrunk, bank: Bank | None, batch: Batch, slots: HostOrDevice | None
) -> Float[Array, "p n f"]:
    """Features of each patient's pixels: looked up, or one trunk pass for all patients."""
    patients = batch.lesion.shape[0]
    if bank is not None and slots is not None:
        return bank[jnp.asarray(slots)].reshape(patients, -1, bank.shape[-1])
    images = jax.tree.map(lambda image: image.reshape(-1, *image.shape[2:]), batch.images)
    features = network.folded_trunk(trunk, images)
    return features.reshape(patients, -1, features.shape[-1])


def _update_stack(
    network: Network,
    kind: Kind,
    base: Variables,
    state: State,
    numbers: Numbers,
    batch: Batch,
    features: Float[Array, "p n f"] | None,
    keys: Key[Array, " p"],
) -> tuple[State, Float[Array, "v p"]]:
    """One step of every run of every patient."""
    maps = [
        jnp.ones_like(batch.lesion) if scheme is Weighting.NONE else batch.weights[scheme]
        for scheme in kind.weighting
    ]
    plain = jnp.asarray([scheme is Weighting.NONE for scheme in kind.weighting])
    by_class = jnp.where(plain[:, None], numbers.class_weights, 1.0)

    def one(
        state: State, rate: Array, by_class: Array, weights: Array, batch: Batch, features: Any, key: Array
    ) -> tuple[State, Array]:
        both = (weights * by_class[0], weights * by_class[1])
        return _update(network, kind.scope, base, state, rate, both, batch, features, key)

    over_patients = jax.vmap(one, in_axes=(0, None, None, 0, 0, 0, 0))
    over_runs = jax.vmap(over_patients, in_axes=(0, 0, 0, 0, None, None, None))
    return over_runs(state, numbers.learning_rate, by_class, jnp.stack(maps), batch, features, keys)


def _update(
    network: Network,
    scope: Scope,
    base: Variables,
    state: State,
    rate: Float[Array, ""],
    weights: tuple[Float[Array, "b y x"], Float[Array, "b y x"]],
    batch: Batch,
    features: Float[Array, "n f"] | None,
    dropout_key: Array,
) -> tuple[State, Float[Array, ""]]:
    """One step of one head, or of one whole network."""

    def objective(params: Tree) -> tuple[Float[Array, ""], Tree]:
        variables = Variables({**base.params, **params}, {**base.batch_stats, **state.batch_stats})
        if scope.trains_trunk:
            logits, batch_stats = network.apply(variables, batch.images, train=True, dropout_key=dropout_key)
        else:
            assert features is not None
            logits, head_stats = network.head(
                variables, features, train_norm=scope.trains_head_norm, dropout_key=dropout_key
            )
            batch_stats = {"head": head_stats}
        return weighted_cross_entropy(
            logits.reshape(*batch.lesion.shape, 2), batch.lesion, weights
        ), batch_stats

    (loss, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    transform = optimiser(state.params, scope, rate)
    updates, moments = transform.update(gradient, state.optimiser, state.params)
    return State(optax.apply_updates(state.params, updates), batch_stats, moments), loss
