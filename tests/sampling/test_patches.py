"""Patches: what is drawn, and what is cut out, against NumPy slicing and SciPy's interpolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp
from scipy import ndimage, stats

from psft_jax import rng
from psft_jax.errors import InputError
from psft_jax.sampling.patches import Batch, Draw, PatchConfig, Pool, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import Slices, slices_of, stack
from psft_jax.scan import Scan

MakeScan = Callable[..., Scan]
ODD = PatchConfig(size=9, batch=1)
cut = jax.jit(extract, static_argnames="config")


@pytest.fixture(scope="module")
def slices(make_scan: MakeScan) -> Slices:
    return slices_of(make_scan(shape=(4, 31, 27)), np.array([0, 1, 2]))


def pool_at(slices: Slices, centres: list[tuple[float, float]]) -> Pool:
    """The pool with patches at centres of our choice, the same in every slice."""
    return make_pool(slices, lambda _: np.array(centres, dtype=np.float32))


def one(pool: Pool, patch: int, degrees: float, config: PatchConfig = ODD) -> Batch:
    angle = jnp.asarray([np.deg2rad(degrees)], jnp.float32)
    return cut(pool, Draw(jnp.asarray([patch]), angle, jnp.zeros(1, jnp.int32)), config=config)


@pytest.mark.parametrize(("size", "half"), [(9, 4.0), (8, 3.5)])
def test_an_unrotated_patch_is_a_piece_of_the_slice(slices: Slices, size: int, half: float) -> None:
    pool = pool_at(slices, [(5 + half, 3 + half), (0 + half, 27 - size + half)])
    config = PatchConfig(size=size, batch=1)
    for z in range(3):
        for place, (row, column) in enumerate([(5, 3), (0, 27 - size)]):
            batch = one(pool, 2 * z + place, 0.0, config)
            piece = np.s_[z, row : row + size, column : column + size]
            for found, whole in zip(batch.images, slices.images, strict=True):
                np.testing.assert_array_equal(found[0], whole[piece])
            np.testing.assert_array_equal(batch.lesion[0], slices.lesion[piece])


def test_every_corner_patch_is_a_piece_of_its_slice_when_unrotated(make_scan: MakeScan) -> None:
    """Also where box and patch differ by an odd number of pixels."""
    slices = slices_of(make_scan(), np.array([1, 2]))  # a box of 14 x 13
    pool = make_pool(slices, partial(corner_centres, patch=9))
    for patch in range(10):
        found = np.asarray(one(pool, patch, 0.0).images[0][0])
        windows = np.lib.stride_tricks.sliding_window_view(slices.images[0][patch // 5], (9, 9, 1))
        assert (windows.reshape(-1, 9, 9, 1) == found).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, -1), (180.0, 2), (-90.0, 1)])
def test_a_positive_angle_turns_the_patch_clockwise(slices: Slices, degrees: float, turns: int) -> None:
    """Clockwise on the page, with row 0 above."""
    pool = pool_at(slices, [(12.0, 13.0)])
    still, turned = one(pool, 1, 0.0), one(pool, 1, degrees)
    for a, b in zip((*still.images, still.lesion), (*turned.images, turned.lesion), strict=True):
        np.testing.assert_allclose(b[0], np.rot90(a[0], turns), atol=1e-4)
        assert (np.asarray(a) != np.asarray(b)).any()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2),
    st.tuples(st.floats(-3, 33, width=32), st.floats(-3, 29, width=32)),
    st.floats(-180, 180, width=32),
)
def test_patches_are_those_of_scipy(
    slices: Slices, z: int, centre: tuple[float, float], degrees: float
) -> None:
    """One resampling of the whole slice: the corners of a rotated patch hold what lies there."""
    batch = one(pool_at(slices, [centre]), z, degrees)
    down, right = np.mgrid[-4:5, -4:5]
    turn = np.deg2rad(degrees)
    where = [
        centre[0] + np.cos(turn) * down - np.sin(turn) * right,
        centre[1] + np.sin(turn) * down + np.cos(turn) * right,
    ]
    for found, whole in zip(batch.images, slices.images, strict=True):
        for channel in range(whole.shape[-1]):
            expected = ndimage.map_coordinates(whole[z, ..., channel], where, order=1, mode="nearest")
            np.testing.assert_allclose(found[0, ..., channel], expected, atol=1e-4)
    between = np.abs(np.asarray(where) % 1 - 0.5).min(axis=0) < 1e-4  # where rounding may go either way
    nearest = ndimage.map_coordinates(slices.lesion[z], where, order=0, mode="nearest")
    np.testing.assert_array_equal(np.asarray(batch.lesion[0])[~between], nearest[~between])


@pytest.mark.parametrize("degrees", [0.0, 17.0, 45.0])
def test_there_is_no_blank_corner(make_scan: MakeScan, degrees: float) -> None:
    flat = np.full((4, 31, 27, 1), 3.5, np.float32)
    slices = slices_of(make_scan(shape=(4, 31, 27), sequences=(flat, flat)), np.array([1]))
    for centre in [(15.0, 13.0), (0.0, 0.0), (30.0, 26.0)]:
        np.testing.assert_allclose(one(pool_at(slices, [centre]), 0, degrees).images[0], 3.5, rtol=1e-6)


def test_labels_stay_labels_or_become_fractions_on_demand(slices: Slices) -> None:
    pool = pool_at(slices, [(10.0, 9.0)])
    nearest = np.asarray(one(pool, 1, 30.0).lesion)
    linear = np.asarray(one(pool, 1, 30.0, PatchConfig(size=9, batch=1, linear_labels=True)).lesion)
    assert set(np.unique(nearest)) == {0.0, 1.0}
    assert ((linear > 0.05) & (linear < 0.95)).any()
    assert linear.min() >= 0
    assert linear.max() <= 1 + 1e-6
    np.testing.assert_array_equal(linear > 0.8, nearest * (linear > 0.8) > 0)


def draws(config: PatchConfig, patches: int, *names: str | int) -> Draw:
    return draw(rng.key(0, *names), jnp.asarray(patches), config)


def test_padding_is_never_drawn(slices: Slices) -> None:
    """3 slices in a pool with room for 16; only their 15 patches may come, and all of them do."""
    pool = make_pool(slices, partial(corner_centres, patch=9), room=16)
    assert pool.lesion.shape[0] == 16
    assert len(pool.slice_index) == len(pool.centres) == 80
    assert int(pool.n_patches) == 15
    drawn = draw(rng.key(0), pool.n_patches, PatchConfig(size=9, batch=3000)).patch
    counts = np.bincount(drawn, minlength=80)
    assert counts[15:].sum() == 0
    assert stats.chisquare(counts[:15]).pvalue > 1e-3
    np.testing.assert_array_equal(pool.slice_index[:15], np.repeat([0, 1, 2], 5))


@pytest.mark.parametrize("room", [0, 2, 3])
def test_a_pool_that_needs_no_padding(slices: Slices, room: int) -> None:
    pool = make_pool(slices, partial(corner_centres, patch=9), room)
    assert pool.lesion.shape == (3, 31, 27)
    assert int(pool.n_patches) == len(pool.centres) == 15


def test_a_larger_frame_changes_no_patch(make_scan: MakeScan) -> None:
    """Patches at the border and beyond it, rotated, with a lesion and a weight that touch the border."""
    lesion = np.zeros((4, 31, 27), bool)
    lesion[:, 28:, 20:] = True
    scan = make_scan(shape=(4, 31, 27), lesion=lesion)
    alone = replace(slices_of(scan, np.array([1])), weights={"w": lesion[1:2] * np.float32(2.5)})
    framed = stack([alone], (40, 64))
    for degrees in (0.0, 30.0):
        one_way, other = (one(pool_at(some, [(29.0, 25.0)]), 0, degrees) for some in (alone, framed))
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), one_way, other)
        assert 0 < np.mean(one_way.lesion) < 1


def test_a_draw_is_a_function_of_its_key() -> None:
    config = PatchConfig(batch=50)
    jax.tree.map(np.testing.assert_array_equal, draws(config, 15, 3), draws(config, 15, 3))
    assert (np.asarray(draws(config, 15, 3).patch) != np.asarray(draws(config, 15, 4).patch)).any()
    assert (np.asarray(draws(config, 15, 3).angle) != np.asarray(draws(config, 15, 4).angle)).all()


def test_angles_are_uniform_within_45_degrees_and_each_patch_has_its_own() -> None:
    drawn = draws(PatchConfig(batch=3000), 25)
    degrees = np.rad2deg(np.asarray(drawn.angle, np.float64))
    assert stats.kstest(degrees, stats.uniform(-45, 90).cdf).pvalue > 1e-3
    assert np.abs(degrees).max() <= 45
    assert abs(stats.spearmanr(degrees, drawn.patch).statistic) < 4 / np.sqrt(3000)


def test_the_first_patch_stays_unrotated_on_demand() -> None:
    for seed in range(5):
        angle = np.asarray(draws(PatchConfig(first_unrotated=True), 25, seed).angle)
        assert angle[0] == 0
        assert (angle[1:] != 0).all()


@pytest.mark.parametrize(
    ("config", "degrees"),
    [
        (PatchConfig(), None),
        (PatchConfig(rotation_deg=0.0), [0.0]),
        (PatchConfig(angle_bank=1), [0.0]),
        (PatchConfig(angle_bank=2), [-22.5, 22.5]),
        (PatchConfig(angle_bank=3), [-30.0, 0.0, 30.0]),
        (PatchConfig(angle_bank=4, rotation_deg=180.0), [-135.0, -45.0, 45.0, 135.0]),
    ],
)
def test_fixed_angles(config: PatchConfig, degrees: list[float] | None) -> None:
    if degrees is None:
        assert config.fixed_angles is None
    else:
        assert config.fixed_angles is not None
        np.testing.assert_allclose(np.rad2deg(config.fixed_angles), degrees, atol=1e-5)


def test_a_bank_draws_its_angles_alone_and_says_which() -> None:
    config = PatchConfig(batch=3000, angle_bank=4)
    drawn = draws(config, 25)
    assert config.fixed_angles is not None
    np.testing.assert_array_equal(drawn.angle, config.fixed_angles[np.asarray(drawn.turn)])
    assert stats.chisquare(np.bincount(drawn.turn)).pvalue > 1e-3


def test_no_rotation_draws_zero() -> None:
    drawn = draws(PatchConfig(batch=20, rotation_deg=0.0), 25)
    assert (np.asarray(drawn.angle) == 0).all()
    assert (np.asarray(drawn.turn) == 0).all()


def test_a_batch_is_its_patches_one_by_one(slices: Slices) -> None:
    config = PatchConfig(size=9, batch=3)
    pool = make_pool(slices, partial(corner_centres, patch=9))
    chosen = draw(rng.key(2), pool.n_patches, config)
    batch = extract(pool, chosen, config)
    assert batch.lesion.shape == (3, 9, 9)
    for b in range(3):
        alone = one(pool, int(chosen.patch[b]), float(np.rad2deg(chosen.angle[b])))
        jax.tree.map(
            partial(np.testing.assert_allclose, atol=1e-4),
            Batch(*jax.tree.map(lambda x, b=b: x[b], tuple(batch))),
            Batch(*jax.tree.map(lambda x: x[0], tuple(alone))),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 7},
        {"batch": 0},
        {"rotation_deg": -1.0},
        {"rotation_deg": 181.0},
        {"angle_bank": -1},
        {"angle_bank": 4097},
        {"first_unrotated": True, "angle_bank": 2},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"PatchConfig\.{next(iter(changes))}"):
        PatchConfig(**changes)
