"""Patient-specific fine-tuning on the baseline scan (section 2.3), for many variants and patients at once.

Variants that draw the same patches share the frozen trunk's features, variants that differ in nothing but
the number of iterations are snapshots of one run, and patients share the calls to the device. What a variant
of a patient gives does not depend on its company.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Float
from tqdm import tqdm

from psft_jax import rng
from psft_jax.devices import available, data_mesh, most_that_divide, split, whole
from psft_jax.errors import InputError
from psft_jax.model.leaves import Scope
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig, Pool
from psft_jax.sampling.selection import SliceSelection
from psft_jax.training.drawing import Minibatches, cut_all, draw_all, joint_pool
from psft_jax.training.features import FeatureKeeper, Plan, plan_features
from psft_jax.training.material import Annotated, tuning_slices
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.steps import State, kind_of, start, take_steps

logger = logging.getLogger(__name__)

Tree = TypeVar("Tree")
Iterations = dict[FinetuneConfig, frozenset[int]]
"""Settings, and after how many iterations each is asked for."""


class Subject(NamedTuple):
    """Whom a network is fine-tuned to.

    Args:
        name: names the random stream, messages and progress.
        scans: the patient's baseline alone, or all scans to tune to.
    """

    name: str
    scans: Sequence[Annotated]


class Tuned(NamedTuple):
    """A fine-tuned network and the loss of each of its iterations."""

    variables: Variables
    losses: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Execution:
    """How fine-tuning uses the machine; it changes no result but by rounding.

    Args:
        steps_per_dispatch: steps in one call to the device. XLA compiles a loop of steps well for a GPU and
            badly for a CPU, hence 1.
        feature_bytes: memory that kept features may take.
        devices: that may share the patients, each an equal part; none for all there are.
    """

    steps_per_dispatch: int = 1
    feature_bytes: int = 2 * 10**9
    devices: int | None = 1

    def mesh(self, patients: int) -> Mesh:
        """As many devices as may be and as divide the patients; it is logged where there are several.

        Raises:
            InputError: more are asked for than there are.
        """
        there = available(self.devices)
        used = most_that_divide(patients, there)
        if there > 1:
            logger.info("fine-tuning of %d patients together on %d of %d devices", patients, used, there)
        return data_mesh(used)


def finetune(
    network: Network,
    base: Variables,
    name: str,
    scans: Sequence[Annotated],
    variants: Sequence[FinetuneConfig],
    *,
    seed: int,
    execution: Execution = Execution(),
) -> list[Tuned]:
    """Fine-tune the base CNN to one patient's baseline (or, for comparison, to several patients' scans).

    Arguments, result and errors are those of ``finetune_all`` for one subject.
    """
    subject = Subject(name, scans)
    return finetune_all(network, base, [subject], variants, seed=seed, execution=execution)[0]


def finetune_all(
    network: Network,
    base: Variables,
    subjects: Sequence[Subject],
    variants: Sequence[FinetuneConfig],
    *,
    seed: int,
    execution: Execution = Execution(),
) -> list[list[Tuned]]:
    """Fine-tune the base CNN to each of several patients, with each of several settings.

    Args:
        network: the architecture.
        base: the base CNN; left as it is.
        subjects: the patients.
        variants: the settings to tune with.
        seed: of the patches and the dropout; the same for every variant.
        execution: how the machine is used.

    Returns:
        For each patient a network for each variant, in their order. A frozen trunk is the base's own arrays,
        not a copy.

    Raises:
        InputError: a scan has no lesion or other channels than the network, or a loss is not finite.
        ValueError: a variant needs the base CNN's result on a scan, and it is missing.
    """
    for subject in subjects:
        for scan, _ in subject.scans:
            network.check_channels(scan)
    groups: dict[tuple[PatchConfig, SliceSelection, bool], Iterations] = defaultdict(dict)
    for variant in variants:
        group = groups[variant.patches, variant.slices, variant.scope.trains_trunk]
        setting = replace(variant, iterations=0)
        group[setting] = group.get(setting, frozenset()) | {variant.iterations}
    # Whole networks have no trunk in common, so their patients have nothing to share.
    tasks = [
        (part, group)
        for (*_, whole_network), group in groups.items()
        for part in ([[subject] for subject in subjects] if whole_network else [subjects])
    ]

    tuned: dict[FinetuneConfig, list[Tuned]] = defaultdict(list)
    total = sum(max(map(max, group.values())) for _, group in tasks)
    name = subjects[0].name if len(subjects) == 1 else f"{len(subjects)} patients"
    with tqdm(total=total, desc=f"fine-tuning {name}", unit="it", leave=False) as bar:
        for part, group in tasks:
            for variant, found in _train_group(network, base, part, group, seed, execution, bar).items():
                tuned[variant] += found
    return [[tuned[variant][place] for variant in variants] for place in range(len(subjects))]


@dataclass(frozen=True, eq=False)
class _Group:
    """Runs that draw the same patches: what they share."""

    network: Network
    base: Variables
    placed: Variables  # the same, on every device
    config: PatchConfig
    pool: Pool
    drawn: Minibatches
    keeper: FeatureKeeper
    subjects: Sequence[Subject]
    mesh: Mesh

    def take(self, runs: Sequence[_Run], calls: Sequence[tuple[int, slice]], bar: tqdm[Any]) -> None:
        """Take the steps of some calls to the device in some of the runs."""
        stacks = _stacks(runs)
        described = [kind_of([run.setting for run in stack]) for stack in stacks]
        kinds, numbers = tuple(kind for kind, _ in described), tuple(own for _, own in described)
        states = self._by_patient(tuple(_stacked([run.state for run in stack]) for stack in stacks))
        for number, steps in calls:
            drawn = self._by_patient(self.drawn.of(steps)._replace(slots=self.keeper.slots(number)))
            inputs = cut_all(self.pool, drawn, self.config)
            states, losses = take_steps(
                self.network, kinds, self.placed, self.keeper.trunk, states, numbers, self.keeper.bank, inputs
            )
            for stack, of_stack in zip(stacks, losses, strict=True):
                for place, run in enumerate(stack):
                    run.losses.append(np.asarray(of_stack)[:, place])
                    self._check(run.losses[-1], steps.start)
            bar.update(steps.stop - steps.start)
        for stack, state in zip(stacks, states, strict=True):
            for place, run in enumerate(stack):
                run.state = _part(state, place)

    def _by_patient(self, tree: Tree) -> Tree:
        """Arrays whose second axis is the patients, divided among the devices, if there are several."""
        if self.mesh.size == 1:
            return tree
        divided: Tree = jax.device_put(tree, split(self.mesh, axis=1))
        return divided

    def _check(self, losses: Float[np.ndarray, "n p"], first: int) -> None:
        bad = np.argwhere(~np.isfinite(losses))
        if bad.size:
            step, place = bad[0]
            raise InputError(
                f"fine-tuning of {self.subjects[place].name}, iteration {first + step + 1}",
                found="a loss that is not a number",
                expected="a finite loss",
                remedy="Lower finetune.settings.learning_rate, or look at the baseline's intensities.",
            )

    def networks(self, run: _Run) -> list[Tuned]:
        """What a run has made of each patient: copies of what trains, the base's own arrays for the rest."""
        losses = np.concatenate([np.zeros((0, len(self.subjects))), *run.losses])
        found = []
        for place in range(len(self.subjects)):
            params, batch_stats = _part(run.state[:2], place)
            tuned = Variables({**self.base.params, **params}, {**self.base.batch_stats, **batch_stats})
            found.append(Tuned(tuned, losses[:, place]))
        return found


@dataclass(eq=False)
class _Run:
    """A setting in progress, for all patients: its state, leaves (patients, ...), and its losses by call."""

    setting: FinetuneConfig
    iterations: frozenset[int]
    state: State
    losses: list[Float[np.ndarray, "n p"]] = field(default_factory=list)


def _train_group(
    network: Network,
    base: Variables,
    subjects: Sequence[Subject],
    iterations: Iterations,
    seed: int,
    execution: Execution,
    bar: tqdm[Any],
) -> dict[FinetuneConfig, list[Tuned]]:
    """Train runs that draw the same patches, and keep each after the iterations that are asked for."""
    settings = list(iterations)
    config = settings[0].patches
    patches = joint_pool([tuning_slices(subject.scans, settings) for subject in subjects], config)
    keys = jnp.stack([rng.key(seed, "finetune", subject.name) for subject in subjects])
    stops = sorted(frozenset({0}).union(*iterations.values()))
    drawn = draw_all(patches, keys, config, steps=stops[-1])
    if settings[0].scope.trains_trunk:
        calls, plan = list(_calls(stops, execution.steps_per_dispatch)), None
    else:
        calls, plan = _planned(network, config, drawn, stops, execution)
    mesh = execution.mesh(len(subjects))
    placed, trunk, pool = base, network.fold(base), patches.pool
    if mesh.size > 1:  # once, and not in every call
        placed, trunk, pool = jax.device_put((placed, trunk, pool), whole(mesh))
    keeper = FeatureKeeper(network, trunk, pool, config, plan)
    group = _Group(network, base, placed, config, pool, drawn, keeper, subjects, mesh)

    runs = [
        _Run(setting, counts, _stacked([start(base, setting)] * len(subjects)))
        for setting, counts in iterations.items()
    ]
    tuned: dict[FinetuneConfig, list[Tuned]] = {}
    for begin, stop in pairwise([0, *stops]):  # the first is the base CNN itself
        # A run that is over takes no further step: it costs nothing and can no longer fail the others.
        going_on = [run for run in runs if max(run.iterations) >= stop]
        group.take(going_on, [(n, call) for n, call in enumerate(calls) if begin <= call.start < stop], bar)
        for run in going_on:
            if stop in run.iterations:
                tuned[replace(run.setting, iterations=stop)] = group.networks(run)
    return tuned


def _planned(
    network: Network, config: PatchConfig, drawn: Minibatches, stops: Sequence[int], execution: Execution
) -> tuple[list[slice], Plan | None]:
    """The steps of each call to the device, and what is kept of their features.

    All that a call wants is kept at once, so that calls have to be shorter where the budget is small.
    """
    longest = execution.steps_per_dispatch
    while longest:
        calls = list(_calls(stops, longest))
        plan = plan_features(network, config, drawn.draws, calls, budget_bytes=execution.feature_bytes)
        if plan is not None:
            return calls, plan
        longest //= 2
    if config.fixed_angles is not None:
        logger.info("the trunk's features are computed anew in every step")
    return list(_calls(stops, execution.steps_per_dispatch)), None


def _calls(stops: Sequence[int], longest: int) -> Iterator[slice]:
    """The steps of each call to the device: as many as may be, up to the next stop."""
    for begin, stop in pairwise(stops):
        for step in range(begin, stop, longest):
            yield slice(step, min(step + longest, stop))


def _stacks(runs: Iterable[_Run]) -> list[list[_Run]]:
    """Runs that one stack can hold: heads of the same scope. A whole network is a stack of its own."""
    stacks: dict[tuple[Scope, int], list[_Run]] = defaultdict(list)
    for number, run in enumerate(runs):
        scope = run.setting.scope
        stacks[scope, number if scope.trains_trunk else -1].append(run)
    return list(stacks.values())


def _stacked(states: Sequence[State]) -> State:
    stacked: State = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked


def _part(tree: Any, place: int) -> Any:
    """A copy of one of what is stacked."""
    return jax.tree.map(lambda leaf: leaf[place], tree)
