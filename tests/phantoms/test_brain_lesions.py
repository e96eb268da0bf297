"""Lesions: how many are drawn, what they become, and what of them is painted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from psft_jax.phantoms.brain_anatomy import Anatomy, AnatomyParameters, Grid, draw_anatomy, position, tissue
from psft_jax.phantoms.brain_lesions import Lesion, LesionParameters, draw_lesions, follow_up_lesions
from psft_jax.phantoms.brain_painting import paint

FULL = (48, 240, 240)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return draw_anatomy(np.random.default_rng(0), AnatomyParameters())


def ball(radius_mm: float, centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Lesion:
    return Lesion(
        np.array(centre_mm, float), np.full(3, radius_mm), np.eye(3), np.zeros((1, 3)), np.zeros(1), 0.0, 1.0
    )


def grid(shape: tuple[int, int, int] = (13, 41, 41), offset: tuple[float, float, float] = (0, 0, 0)) -> Grid:
    """Voxels of 3 x 1 x 1 mm with the patient's origin at the middle voxel."""
    spacing = (3.0, 1.0, 1.0)
    middle = (np.array(shape) - 1) / 2
    return Grid(shape, spacing, np.diag(spacing), -np.array(spacing) * middle + offset)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_number_and_volume_drawn_lie_in_their_ranges(anatomy: Anatomy, seed: int):
    lesions = draw_lesions(np.random.default_rng(seed), LesionParameters(), anatomy)
    assert 21 <= len(lesions) <= 117
    volume_ml = sum(4 / 3 * np.pi * np.prod(lesion.radius_mm) / 1000 for lesion in lesions)
    assert 1.0 <= volume_ml <= 1.3 * 60.0 + 1e-6  # those at the wall are drawn 1.3 times as large


def test_the_number_of_lesions_has_the_papers_mean(anatomy: Anatomy):
    tiny = replace(LesionParameters(), load_ml=1.0, load_log_sd=0.0)
    counts = [len(draw_lesions(np.random.default_rng(seed), tiny, anatomy)) for seed in range(30)]
    assert np.mean(counts) == pytest.approx(65, abs=3 * 19.8 / np.sqrt(30))  # triangular: SD 19.8


def test_a_fixed_number_of_lesions_is_drawn_as_given(anatomy: Anatomy):
    lesions = draw_lesions(np.random.default_rng(0), LesionParameters(count=(5, 5, 5)), anatomy)
    assert len(lesions) == 5


def test_lesions_keep_their_identity_at_follow_up(anatomy: Anatomy):
    rng, parameters = np.random.default_rng(0), LesionParameters(count=(117, 117, 117))
    growth, new = [], []
    for _ in range(4):
        before = draw_lesions(rng, parameters, anatomy)
        after = follow_up_lesions(rng, parameters, anatomy, before)
        new.append(len(after) - len(before))
        for a, b in zip(before, after[: len(before)], strict=True):
            np.testing.assert_array_equal(a.centre_mm, b.centre_mm)
            np.testing.assert_array_equal(a.waves, b.waves)
            assert a.brightness == b.brightness
            growth.append(3 * np.log(b.radius_mm[0] / a.radius_mm[0]))
    n = len(growth)
    assert np.mean(growth) == pytest.approx(parameters.growth_log_mean, abs=4 * 0.2 / np.sqrt(n))
    assert np.std(growth) == pytest.approx(parameters.growth_log_sd, rel=0.1)
    assert 0.15 < np.mean(np.array(growth) < 0) < 0.4  # some shrink
    assert np.mean(new) == pytest.approx(11.7, abs=4 * np.sqrt(11.7 / 4))


@pytest.mark.parametrize("radius_mm", [6.0, 9.0, 15.0])
def test_a_ball_in_white_matter_is_painted_with_its_volume(radius_mm: float):
    where = grid()
    painted = paint((ball(radius_mm, (0.7, 0.3, -0.2)),), where, np.ones(where.shape, np.float32), 0.0)
    volume = 4 / 3 * np.pi * radius_mm**3
    assert painted.fraction.sum() * 3.0 == pytest.approx(volume, rel=0.02)
    assert (painted.fraction > 0.5).sum() * 3.0 == pytest.approx(volume, rel=0.05)


@settings(deadline=None, max_examples=50)
@given(offset=st.tuples(*[st.floats(-1.5, 1.5)] * 3), radius_mm=st.floats(0.05, 0.5))
def test_a_lesion_smaller_than_a_voxel_is_one_voxel(offset: tuple[float, float, float], radius_mm: float):
    where = grid(offset=offset)
    painted = paint((ball(radius_mm),), where, np.ones(where.shape, np.float32), 0.3)
    mask = painted.fraction > 0.5
    assert mask.sum() == 1
    centre = -where.offset / where.spacing_mm
    assert (np.abs(np.argwhere(mask)[0] - centre) <= 0.5 + radius_mm / np.array(where.spacing_mm)).all()


def test_lesions_are_cut_to_white_matter():
    where = grid()
    wm = np.zeros(where.shape, np.float32)
    wm[:, :, 20:] = 1
    mask = paint((ball(8.0),), where, wm, 0.0).fraction > 0.5
    assert mask.any()
    assert not mask[:, :, :20].any()


def test_where_lesions_overlap_the_mask_is_their_union():
    where = grid()
    wm = np.ones(where.shape, np.float32)
    one, other = ball(7.0, (0, 0, -4)), ball(5.0, (0, 3, 5))
    masks = [paint((lesion,), where, wm, 0.0).fraction > 0.5 for lesion in (one, other)]
    both = paint((one, other), where, wm, 0.0).fraction > 0.5
    np.testing.assert_array_equal(both, masks[0] | masks[1])


def test_a_profile_leaves_the_centre_and_fades_the_surface():
    where = grid()
    wm = np.ones(where.shape, np.float32)
    flat, faded = (paint((ball(12.0),), where, wm, p).brightness for p in (0.0, 0.5))
    centre, surface = (6, 20, 20), (6, 20, 31)
    assert faded[centre] == pytest.approx(flat[centre], abs=0.02)
    assert faded[surface] == pytest.approx(flat[surface] - 0.5 * (11 / 12) ** 2, abs=0.05)


def test_components_of_the_mask_stay_in_the_published_range(anatomy: Anatomy):
    where = position(FULL, np.zeros(3), np.zeros(3))
    content = tissue(anatomy, where)
    for seed in range(2):
        lesions = draw_lesions(np.random.default_rng(seed), LesionParameters(), anatomy)
        mask = paint(lesions, where, content.wm, 0.3).fraction > 0.5
        _, found = ndimage.label(mask, np.ones((3, 3, 3)))
        assert 21 <= found <= 117
        assert 0.6 * len(lesions) <= found <= 1.15 * len(lesions)  # merged, or split by the cortex
        assert (content.brain[mask]).all()
