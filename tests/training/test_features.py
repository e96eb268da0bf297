"""The bank of the frozen trunk's features: when it is kept, and that it holds what would be computed anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from psft_jax import rng
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig, Pool, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import lesion_slices, slices_of
from psft_jax.scan import Scan
from psft_jax.training import features
from psft_jax.training.features import feature_bank, look_up

Scramble = Callable[[Network, int], Variables]


@pytest.fixture(scope="module")
def pool(make_scan: Callable[..., Scan]) -> Pool:
    """Two slices, ten patches."""
    scan = make_scan()
    return make_pool(slices_of(scan, lesion_slices(scan)), partial(corner_centres, patch=9))


def test_what_is_looked_up_is_what_the_trunk_gives(
    tiny: Network, scrambled: Scramble, pool: Pool, small_patches: PatchConfig
) -> None:
    patches = replace(small_patches, angle_bank=2)
    variables = scrambled(tiny, 0)
    bank = feature_bank(tiny, variables, pool, patches, draws=20)
    assert bank is not None
    assert bank.shape == (10, 2, 9, 9, 16)
    trunk = jax.jit(lambda images: tiny.trunk(variables, images)[0])
    cut = jax.jit(extract, static_argnames="config")
    for seed in range(4):
        chosen = draw(rng.key(seed), pool.n_patches, patches)
        expected = trunk(cut(pool, chosen, config=patches).images)
        np.testing.assert_allclose(look_up(bank, chosen), expected, rtol=1e-4, atol=1e-5)


def test_a_bank_is_kept_only_where_it_saves_work(
    tiny: Network,
    scrambled: Scramble,
    pool: Pool,
    small_patches: PatchConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten patches at one angle: 10 x 81 pixels x 16 features x 4 bytes."""
    still = replace(small_patches, rotation_deg=0.0)
    bank = partial(feature_bank, tiny, scrambled(tiny, 0), pool)
    kept = bank(still, draws=10)
    assert kept is not None
    assert kept.shape == (10, 1, 9, 9, 16)
    assert bank(small_patches, draws=1000) is None  # continuous angles never come again
    assert bank(still, draws=9) is None  # fewer draws than patches
    monkeypatch.setattr(features, "BUDGET_BYTES", 10 * 81 * 16 * 4 - 1)
    assert bank(still, draws=10) is None
