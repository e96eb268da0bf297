"""Patient-specific fine-tuning on the baseline scan (section 2.3), for a list of variants at once.

Variants that draw the same patches share the frozen trunk's features, and variants that differ in nothing but
the number of iterations are snapshots of one run. What a variant gives does not depend on its company.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from psft_jax import rng
from psft_jax.errors import InputError
from psft_jax.model.leaves import FROZEN, TRAINED, Scope, label_leaves
from psft_jax.model.network import Network, Tree, Variables
from psft_jax.sampling.patches import Batch, PatchConfig, Pool, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.selection import SliceSelection
from psft_jax.training.features import feature_bank, look_up
from psft_jax.training.losses import weighted_cross_entropy
from psft_jax.training.material import Annotated, tuning_slices
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.weighting import Weighting


class Tuned(NamedTuple):
    """A fine-tuned network and the loss of each of its iterations."""

    variables: Variables
    losses: Float[np.ndarray, " n"]


class _State(NamedTuple):
    """One run in progress: what it trains, its BN statistics, and its optimiser."""

    params: Tree
    batch_stats: Tree
    optimiser: Any


def finetune(
    network: Network,
    base: Variables,
    name: str,
    scans: Sequence[Annotated],
    variants: Sequence[FinetuneConfig],
    *,
    seed: int,
) -> list[Tuned]:
    """Fine-tune the base CNN to one patient's baseline (or, for comparison, to several patients' scans).

    Args:
        network: the architecture.
        base: the base CNN; left as it is.
        name: the patient; names the random stream, messages and progress.
        scans: the patient's baseline alone, or all scans to tune to.
        variants: the settings to tune with.
        seed: of the patches and the dropout; the same for every variant.

    Returns:
        A network for each variant, in their order. A frozen trunk is the base's own arrays, not a copy.

    Raises:
        InputError: a scan has no lesion or other channels than the network, or a loss is not finite.
        ValueError: a variant needs the base CNN's result on a scan, and it is missing.
    """
    for scan, _ in scans:
        network.check_channels(scan)
    runs: dict[FinetuneConfig, list[int]] = defaultdict(list)
    for variant in variants:
        runs[replace(variant, iterations=0)].append(variant.iterations)
    groups: dict[tuple[PatchConfig, SliceSelection], list[FinetuneConfig]] = defaultdict(list)
    for run in runs:
        groups[run.patches, run.slices].append(run)

    tuned: dict[FinetuneConfig, Tuned] = {}
    total = sum(max(max(runs[run]) for run in group) for group in groups.values())
    with tqdm(total=total, desc=f"fine-tuning {name}", unit="it", leave=False) as bar:
        for (patches, _), group in groups.items():
            pool = make_pool(tuning_slices(scans, group), partial(corner_centres, patch=patches.size))
            snapshots = {run: frozenset(runs[run]) for run in group}
            tuned |= _train_group(network, base, pool, snapshots, seed, name, bar)
    return [tuned[variant] for variant in variants]


def _train_group(
    network: Network,
    base: Variables,
    pool: Pool,
    snapshots: dict[FinetuneConfig, frozenset[int]],
    seed: int,
    name: str,
    bar: tqdm[Any],
) -> dict[FinetuneConfig, Tuned]:
    """Train runs that draw the same patches, and keep each after the iterations that are asked for."""
    patches = next(iter(snapshots)).patches
    lengths = {run: max(counts) for run, counts in snapshots.items()}
    longest = max(lengths.values())
    bank = None
    if not all(run.scope.trains_trunk for run in snapshots):
        bank = feature_bank(network, base, pool, patches, draws=longest * patches.batch)
    key = rng.key(seed, "finetune", name)
    states = {run: _start(base, run) for run in snapshots}
    losses: dict[FinetuneConfig, list[float]] = {run: [] for run in snapshots}
    tuned: dict[FinetuneConfig, Tuned] = {}
    for step in range(longest + 1):
        for run, state in states.items():
            if step in snapshots[run]:
                tuned[replace(run, iterations=step)] = Tuned(_whole(base, state), np.array(losses[run]))
        # A run that is over takes no further step: it costs nothing and can no longer fail the others.
        states = {run: state for run, state in states.items() if lengths[run] > step}
        if not states:
            break
        runs = tuple(states)
        stepped, new = _step(network, runs, base, tuple(states.values()), pool, bank, key, step)
        states = dict(zip(runs, stepped, strict=True))
        for run, loss in zip(runs, np.asarray(new), strict=True):
            losses[run].append(float(loss))
        if not np.isfinite(new).all():
            raise InputError(
                f"fine-tuning of {name}, iteration {step + 1}",
                found="a loss that is not a number",
                expected="a finite loss",
                remedy="Lower finetune.settings.learning_rate, or look at the baseline's intensities.",
            )
        bar.update()
    return tuned


def _start(base: Variables, run: FinetuneConfig) -> _State:
    """The state before the first iteration: copies, because the steps donate their buffers."""
    params = jax.tree.map(jnp.copy, _trainable(base.params, run.scope))
    batch_stats = jax.tree.map(jnp.copy, _trainable(base.batch_stats, run.scope))
    return _State(params, batch_stats, _optimiser(params, run).init(params))


def _trainable(tree: Tree, scope: Scope) -> Tree:
    """The branches of the network that a scope may change."""
    return tree if scope.trains_trunk else {"head": tree["head"]}


def _whole(base: Variables, state: _State) -> Variables:
    """The tuned network: a copy of what was trained, and the base's own arrays for the rest."""
    params, batch_stats = jax.tree.map(jnp.copy, (state.params, state.batch_stats))
    return Variables({**base.params, **params}, {**base.batch_stats, **batch_stats})


def _optimiser(params: Tree, run: FinetuneConfig) -> optax.GradientTransformation:
    """Adam on what the scope trains; everything else is frozen."""
    patterns = run.scope.patterns
    if not run.scope.trains_trunk:
        patterns = {pattern: label for pattern, label in patterns.items() if not pattern.startswith("trunk")}
    transforms = {TRAINED: optax.adam(run.learning_rate), FROZEN: optax.set_to_zero()}
    return optax.multi_transform(transforms, label_leaves(params, patterns))


@partial(jax.jit, static_argnames=("network", "runs"), donate_argnames="states")
def _step(
    network: Network,
    runs: tuple[FinetuneConfig, ...],
    base: Variables,
    states: tuple[_State, ...],
    pool: Pool,
    bank: Float[Array, "n k p p f"] | None,
    key: Array,
    step: int | Int[Array, ""],
) -> tuple[tuple[_State, ...], Float[Array, " runs"]]:
    """One minibatch for every run: the trunk once, then each run's own head (or its own whole network)."""
    draw_key, dropout_key = jax.random.split(jax.random.fold_in(key, step))
    patches = runs[0].patches
    chosen = draw(draw_key, pool.n_patches, patches)
    batch = extract(pool, chosen, patches)
    features = network.trunk(base, batch.images)[0] if bank is None else look_up(bank, chosen)
    updated, losses = [], []
    for run, state in zip(runs, states, strict=True):
        state, loss = _update(network, run, base, state, batch, features, dropout_key)
        updated.append(state)
        losses.append(loss)
    return tuple(updated), jnp.stack(losses)


def _update(
    network: Network,
    run: FinetuneConfig,
    base: Variables,
    state: _State,
    batch: Batch,
    features: Float[Array, "b p p f"],
    dropout_key: Array,
) -> tuple[_State, Float[Array, ""]]:
    scope = run.scope

    def objective(params: Tree) -> tuple[Float[Array, ""], Tree]:
        variables = Variables({**base.params, **params}, {**base.batch_stats, **state.batch_stats})
        if scope.trains_trunk:
            logits, batch_stats = network.apply(variables, batch.images, train=True, dropout_key=dropout_key)
        else:
            logits, head_stats = network.head(
                variables, features, train_norm=scope.trains_head_norm, dropout_key=dropout_key
            )
            batch_stats = {"head": head_stats}
        weights = run.class_weights if run.weighting is Weighting.NONE else batch.weights[run.weighting]
        return weighted_cross_entropy(logits, batch.lesion, weights), batch_stats

    (loss, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, optimiser = _optimiser(state.params, run).update(gradient, state.optimiser, state.params)
    return _State(optax.apply_updates(state.params, updates), batch_stats, optimiser), loss
