"""Kept features: that they are the right ones, and that no more are computed than need be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp

from psft_jax.model.network import Network, Variables
from psft_jax.model.precision import Precision
from psft_jax.sampling.patches import Draw, PatchConfig, Pool, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import lesion_slices, slices_of
from psft_jax.scan import Scan
from psft_jax.training.features import FeatureKeeper, Plan, _rounds, plan_features

Scramble = Callable[[Network, int], Variables]
ENTRY = 81 * 16 * 4
"""Bytes of the features of one patch of 9x9 pixels in float32."""


@pytest.fixture(scope="module")
def pool(make_scan: Callable[..., Scan]) -> Pool:
    """Two slices, ten patches."""
    scan = make_scan()
    return make_pool(slices_of(scan, lesion_slices(scan)), partial(corner_centres, patch=9))


@pytest.fixture
def banked(small_patches: PatchConfig) -> PatchConfig:
    return replace(small_patches, angle_bank=2)


def draws_of(patch: Any, turn: Any, config: PatchConfig) -> Draw:
    """Patches (steps, batch) of one patient."""
    angles = jnp.zeros(2) if config.fixed_angles is None else jnp.asarray(config.fixed_angles)
    patch, turn = (jnp.asarray(values)[:, None] for values in (patch, turn))
    return Draw(patch, angles[turn], turn)


def plan(network: Network, config: PatchConfig, ids: Sequence[Sequence[int]], slots: float) -> Plan | None:
    """A plan for steps that want ``2 patch + turn``, one a call, with memory for some float32 features."""
    wanted = np.array(ids)
    draws = draws_of(wanted // 2, wanted % 2, config)
    calls = [slice(n, n + 1) for n in range(len(ids))]
    return plan_features(network, config, draws, calls, budget_bytes=int(slots * ENTRY))


@pytest.mark.parametrize(
    ("slots", "dtype", "tolerance"),
    [(4, jnp.float32, 1e-5), (3, jnp.float32, 1e-5), (1.5, jnp.bfloat16, 2e-2), (1, jnp.bfloat16, 2e-2)],
)
def test_what_is_looked_up_is_what_the_trunk_gives(
    tiny: Network,
    scrambled: Scramble,
    pool: Pool,
    banked: PatchConfig,
    slots: float,
    dtype: Any,
    tolerance: float,
) -> None:
    """All in float32, three at a time, and, where two in float32 do not fit, three and two in bfloat16."""
    ids = [[3, 4], [4, 3], [4, 3], [3, 4], [11, 4], [18, 3], [3, 11], [11, 3], [3, 11], [11, 3], [3, 11]]
    variables = scrambled(tiny, 0)
    made = plan(tiny, banked, ids, slots)
    assert made is not None
    assert made.dtype == dtype
    keeper = FeatureKeeper(tiny, tiny.fold(variables), pool, banked, made)
    trunk = jax.jit(lambda images: tiny.trunk(variables, images)[0])
    cut = jax.jit(extract, static_argnames="config")
    for call, step in enumerate(ids):
        where = keeper.slots(call)
        assert where is not None
        assert keeper.bank is not None
        turn = jnp.asarray(step) % 2
        chosen = Draw(jnp.asarray(step) // 2, jnp.asarray(banked.fixed_angles)[turn], turn)
        expected = trunk(cut(pool, chosen, config=banked).images).reshape(2, 81, 16)
        np.testing.assert_allclose(
            np.asarray(keeper.bank[where[0, 0]], np.float32), expected, rtol=tolerance, atol=1e-5
        )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_a_plan_holds_what_is_wanted_and_drops_what_is_wanted_last(ids: list[list[int]], slots: int) -> None:
    """Played through: every slot holds what the step wants, and no order of dropping computes fewer."""
    wanted = np.array(ids)[:, None]
    capacity = max(slots, 2)
    calls = [slice(n, n + 1) for n in range(len(ids))]
    held: dict[int, int] = {}
    computed = 0
    for step, made in zip(wanted, _rounds(wanted, calls, capacity, angles=1), strict=True):
        held |= {slot: patch for patch, _, slot in made.fills}
        computed += len(made.fills)
        assert [held[int(slot)] for slot in made.slots.ravel()] == step.ravel().tolist()
        assert max(held) < capacity
    assert computed == fewest(tuple(map(frozenset, ids)), capacity)


def fewest(steps: tuple[frozenset[int], ...], capacity: int) -> int:
    """The fewest computations possible, by trying everything."""
    states = {frozenset[int](): 0}
    for step in steps:
        after: dict[frozenset[int], int] = {}
        for held, cost in states.items():
            paid = cost + len(step - held)
            others = held - step
            keep = capacity - len(step)
            for chosen in combinations_up_to(sorted(others), keep):
                state = step | chosen
                after[state] = min(paid, after.get(state, paid))
        states = after
    return min(states.values())


def combinations_up_to(items: list[int], size: int) -> list[frozenset[int]]:
    return [frozenset(chosen) for chosen in combinations(items, min(size, len(items)))]


def test_features_are_kept_only_where_it_saves_work(tiny: Network, banked: PatchConfig) -> None:
    again = [[0, 1], [0, 2], [0, 1], [1, 2]]
    kept = plan(tiny, banked, again, 3)
    assert kept is not None
    assert kept.shape == (3, 81, 16)
    assert kept.dtype == jnp.float32
    assert plan(tiny, replace(banked, angle_bank=0), again, 3) is None  # continuous angles never come again
    assert plan(tiny, banked, [[0, 1], [2, 3]], 9) is None  # no patch comes again
    assert plan(tiny, banked, [[0, 1], [2, 3], [4, 0]], 2) is None  # one does, when others have its place
    rounded = plan(tiny, banked, again, 99)
    assert rounded is not None
    assert rounded.shape == (16, 81, 16)
    halved = plan(tiny, banked, again, 1.5)
    assert halved is not None
    assert (halved.shape, halved.dtype) == ((3, 81, 16), jnp.bfloat16)
    assert plan(tiny, banked, again, 0.9) is None  # not even one step fits
    # 24 drawn, four of them different: two in float32 leave all to compute, four in bfloat16 leave 4 (4.8)
    # and 24 to look up (9.6). A network that computes in bfloat16 looks them up for nothing.
    rarely = [[0, 1], [2, 3]] * 6
    for precision, slots, expected in (
        (Precision.FLOAT32, 2.5, jnp.bfloat16),
        (Precision.FLOAT32, 4, jnp.float32),
        (Precision.BFLOAT16, 2, jnp.bfloat16),
    ):
        chosen = plan(replace(tiny, precision=precision), banked, rarely, slots)
        assert chosen is not None
        assert chosen.dtype == expected


def test_few_in_float32_can_be_less_work_than_all_in_bfloat16(tiny: Network, banked: PatchConfig) -> None:
    """Nine patches of which two come nearly always: a CPU looks those up in float32."""
    ids = [[0, 1]] * 20 + [[0, other] for other in range(2, 9)]
    chosen = plan(tiny, banked, ids, 4.5)
    assert chosen is not None
    assert (chosen.dtype, chosen.shape[0]) == (jnp.float32, 4)


def test_what_is_kept_is_logged(tiny: Network, banked: PatchConfig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        plan(tiny, banked, [[0, 1], [0, 2], [0, 1], [1, 2]], 1.5)
    assert "3 of 3 different patches kept in bfloat16 (0.00 GiB): 3 computed, 8 drawn" in caplog.text
