"""Features of the frozen trunk that are wanted again: kept under a budget, and filled as they are needed.

A minibatch is a function of seed and step, so a run knows all its draws before it begins. What does not fit
is therefore dropped in the best order: first what will be wanted last (Belady, IBM Systems Journal 5, 1966).
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from psft_jax.model.folded import FoldedTrunk
from psft_jax.model.network import Network
from psft_jax.model.pnet import Images
from psft_jax.sampling.patches import Draw, PatchConfig, Pool, extract
from psft_jax.training.drawing import room_for

logger = logging.getLogger(__name__)

ALONE = 1.2
"""What the features of a patch cost that is computed alone, in those of one among as many as a minibatch."""
FROM_BFLOAT16 = 0.4
"""What it costs a CPU to look features up in bfloat16 and compute in float32, likewise; elsewhere nothing."""

Bank = Float[Array, "slots pp f"]
"""Kept features: a row of slots, each with the pixels of one patch at one angle."""


@dataclass(frozen=True)
class Round:
    """What one call to the device needs: which features to compute into which slot, and where all lie.

    Args:
        fills: (patch, turn, slot) of the features that are computed before it.
        slots: the slot of every drawn patch.
    """

    fills: tuple[tuple[int, int, int], ...]
    slots: Int[np.ndarray, "n p b"]


@dataclass(frozen=True)
class Plan:
    """How a run's features are kept.

    Args:
        rounds: one for each call to the device.
        shape: of the bank.
        dtype: of the bank.
    """

    rounds: tuple[Round, ...]
    shape: tuple[int, int, int]
    dtype: DTypeLike


def plan_features(
    network: Network, patches: PatchConfig, draws: Draw, calls: Sequence[slice], *, budget_bytes: int
) -> Plan | None:
    """Decide whether features are kept, how many and in which format, and log what is kept.

    In the network's precision or in bfloat16, as many as fit the budget: whichever takes the least work, the
    passes through the trunk that are left and what looking up costs; or not at all, where that takes less.

    Args:
        network: the architecture.
        patches: how patches are cut; only those at fixed angles come again.
        draws: all patches of the run, (steps, patients, batch).
        calls: the steps of each call to the device.
        budget_bytes: memory that kept features may take.

    Returns:
        The plan, or None where keeping saves nothing: angles are continuous, patches seldom come twice, or
        the budget is smaller than what a single call needs.
    """
    angles = patches.fixed_angles
    if angles is None:
        return None
    ids = np.asarray(draws.patch, np.int64) * len(angles) + np.asarray(draws.turn)
    wanted = np.unique(ids).size
    pixels, channels = patches.size**2, network.config.fused_channels
    full, half = jnp.dtype(network.precision.dtype), jnp.dtype(jnp.bfloat16)

    at_once = max(np.unique(ids[call]).size for call in calls)
    looked_up = FROM_BFLOAT16 if jax.default_backend() == "cpu" else 0.0
    plans: list[tuple[float, Plan]] = []
    for dtype, of_look_up in {full: 0.0, half: 0.0 if half == full else looked_up}.items():
        slots = int(min(room_for(wanted), budget_bytes // (pixels * channels * dtype.itemsize)))
        if slots >= at_once:
            rounds = _rounds(ids, calls, slots, len(angles))
            work = sum(_work(len(r.fills), patches.batch) for r in rounds) + of_look_up * ids.size
            plans.append((work, Plan(rounds, (slots, pixels, channels), dtype)))
    work, plan = min(plans, key=lambda one: one[0], default=(np.inf, None))
    if plan is None or work >= ids.size:
        return None
    slots, *_ = plan.shape
    logger.info(
        "the trunk's features of %d of %d different patches kept in %s (%.2f GiB): %d computed, %d drawn",
        min(slots, wanted), wanted, jnp.dtype(plan.dtype).name,
        slots * pixels * channels * jnp.dtype(plan.dtype).itemsize / 2**30,
        sum(len(r.fills) for r in plan.rounds), ids.size,
    )  # fmt: skip
    return plan


def _work(fills: int, batch: int) -> float:
    """What it costs to compute the features of so many patches, as many at once as a minibatch has."""
    alone = fills % batch
    return fills - alone + ALONE * alone


def _rounds(
    ids: Int[np.ndarray, "n p b"], calls: Sequence[slice], capacity: int, angles: int
) -> tuple[Round, ...]:
    """Fills and slots of each call: all before the first, where they fit; else what is wanted last gives way
    first."""
    per_call = [np.unique(ids[call]) for call in calls]
    if (all_wanted := np.unique(ids)).size <= capacity:
        at_first = tuple((int(i) // angles, int(i) % angles, slot) for slot, i in enumerate(all_wanted))
        where = np.searchsorted(all_wanted, ids).astype(np.int32)
        return tuple(Round(() if number else at_first, where[call]) for number, call in enumerate(calls))
    never = len(calls)
    next_use: list[dict[int, int]] = []
    following: dict[int, int] = {}
    for number in range(len(calls) - 1, -1, -1):
        next_use.append({int(i): following.get(int(i), never) for i in per_call[number]})
        following |= dict.fromkeys(next_use[-1], number)
    next_use.reverse()

    slot_of: dict[int, int] = {}
    free = list(range(capacity - 1, -1, -1))
    latest: list[tuple[int, int]] = []  # (-next use, id); the first is wanted last, entries may be outdated
    wanted_at: dict[int, int] = {}
    rounds = []
    for call, uses in zip(calls, next_use, strict=True):
        fills = []
        wanted_at |= uses
        missing = [i for i in uses if i not in slot_of]
        while len(free) < len(missing):
            use, victim = heapq.heappop(latest)
            # What this call needs is not in the heap yet, or there with a use that has passed.
            if victim in slot_of and victim not in uses and wanted_at[victim] == -use:
                free.append(slot_of.pop(victim))
        for i in missing:
            slot_of[i] = free.pop()
            fills.append((i // angles, i % angles, slot_of[i]))
        for i, use in uses.items():
            heapq.heappush(latest, (-use, i))
        places, inverse = np.unique(ids[call], return_inverse=True)
        slots = np.array([slot_of[int(i)] for i in places], dtype=np.int32)[inverse].reshape(ids[call].shape)
        rounds.append(Round(tuple(fills), slots))
    return tuple(rounds)


class FeatureKeeper:
    """The frozen trunk of a run, and what is kept of its features between calls to the device.

    Args:
        network: the architecture.
        trunk: of the base CNN, folded.
        pool: the patches; what is kept lies on the same devices.
        patches: how they are cut.
        plan: what is kept when, or None to keep nothing.
    """

    def __init__(
        self, network: Network, trunk: FoldedTrunk, pool: Pool, patches: PatchConfig, plan: Plan | None
    ) -> None:
        self.trunk = trunk
        # Bound to devices only if all else is: else the step would be compiled for each way.
        where = pool.lesion.sharding if pool.lesion.committed else None
        self.bank: Bank | None = None if plan is None else jnp.zeros(plan.shape, plan.dtype, device=where)
        self._batch = patches.batch
        self._images = partial(_images, patches, pool)
        self._fill = partial(_filled, network, trunk)
        self._rounds = () if plan is None else plan.rounds

    def slots(self, call: int) -> Int[np.ndarray, "n p b"] | None:
        """Where the features of a call's patches lie, after those that were missing have been computed."""
        if self.bank is None:
            return None
        fills = np.array(self._rounds[call].fills, np.int32).reshape(-1, 3)
        together = len(fills) // self._batch * self._batch
        for part in (*fills[:together].reshape(-1, self._batch, 3), *fills[together:, None]):
            patch, turn, slot = part.T
            self.bank = self._fill(self.bank, self._images(patch, turn), slot)
        return self._rounds[call].slots


@partial(jax.jit, static_argnames="patches")
def _images(patches: PatchConfig, pool: Pool, patch: Int[Array, " k"], turn: Int[Array, " k"]) -> Images:
    chosen = Draw(patch, jnp.asarray(patches.fixed_angles)[turn], turn)
    return extract(pool, chosen, patches).images


@partial(jax.jit, static_argnames="network", donate_argnames="bank")
def _filled(
    network: Network, trunk: FoldedTrunk, bank: Bank, images: Images, slots: Int[Array, " k"]
) -> Bank:
    features = network.folded_trunk(trunk, images)
    for place in range(len(slots)):  # one stretch of the bank each
        bank = bank.at[slots[place]].set(features[place].reshape(bank.shape[1:]).astype(bank.dtype))
    return bank
