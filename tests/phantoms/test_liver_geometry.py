"""Shapes and patient-fixed fields of the liver phantom, against plain geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.phantoms.liver_geometry import (
    Texture,
    capsule,
    ellipsoid,
    frame_of,
    smooth_difference,
    smooth_union,
    spacing_of,
)

SHAPE = (20, 24, 28)


def test_full_size_has_the_papers_spacing() -> None:
    assert spacing_of((100, 256, 256)) == pytest.approx((2.0, 1.543, 1.543))


def test_middle_of_the_field_of_view_is_the_origin() -> None:
    frame = frame_of(SHAPE)
    assert [float(axis.mean()) for axis in (frame.z, frame.y, frame.x)] == pytest.approx([0, 0, 0], abs=1e-3)
    assert frame.z[1] - frame.z[0] == pytest.approx(10.0)


def test_sphere_distance_is_exact() -> None:
    frame = frame_of(SHAPE)
    z, y, x = np.meshgrid(frame.z, frame.y, frame.x, indexing="ij")
    expected = np.sqrt((z - 3) ** 2 + (y + 7) ** 2 + (x - 11) ** 2) - 25
    np.testing.assert_allclose(
        ellipsoid(frame.points, (3.0, -7.0, 11.0), (25.0, 25.0, 25.0), 0.4), expected, atol=1e-3
    )


def test_capsule_distance_agrees_with_dense_sampling() -> None:
    frame = frame_of((8, 9, 10))
    start, end = np.array([-20.0, 5, -30]), np.array([30.0, -10, 25])
    share = np.linspace(0, 1, 4001)
    centres = start + share[:, None] * (end - start)
    voxels = np.stack(np.meshgrid(frame.z, frame.y, frame.x, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    expected = np.linalg.norm(voxels - centres, axis=-1).min(axis=1) - 6
    found = capsule(frame.points, (-20.0, 5.0, -30.0), (30.0, -10.0, 25.0), (6.0, 6.0))
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-2)


@settings(deadline=None, max_examples=30)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 20))
def test_smooth_union_lies_just_below_the_minimum(a: float, b: float, width: float) -> None:
    first, second = np.full((1, 1, 1), a, np.float32), np.full((1, 1, 1), b, np.float32)
    union = smooth_union(first, second, width).item()
    assert min(a, b) - width / 4 - 1e-3 <= union <= min(a, b) + 1e-3
    if abs(a - b) > width + 1e-3:
        assert union == pytest.approx(min(a, b), abs=1e-4)
    assert smooth_difference(first, second, width).item() >= max(a, -b) - 1e-3


def test_coverage_of_a_sphere_adds_up_to_its_volume() -> None:
    frame = frame_of((50, 100, 100))
    filled = frame.coverage(ellipsoid(frame.points, (0.0, 0.0, 0.0), (30.0, 30.0, 30.0)))
    volume = float(filled.sum() * np.prod(spacing_of((50, 100, 100))))
    assert volume == pytest.approx(4 / 3 * np.pi * 30**3, rel=0.02)


def test_box_holds_every_voxel_of_its_shape() -> None:
    frame = frame_of((40, 60, 60))
    inside = frame.coverage(ellipsoid(frame.points, (10.0, -30.0, 60.0), (20.0, 25.0, 15.0))) > 0
    outside = inside.copy()
    outside[frame.box((-10.0, -55.0, 45.0), (30.0, -5.0, 75.0))] = False
    assert inside.any()
    assert not outside.any()


def test_texture_moves_with_the_patient_and_is_the_same_on_every_grid() -> None:
    texture = Texture.draw(np.random.default_rng(0), 15.0)
    coarse, fine = frame_of((10, 20, 20)), frame_of((30, 60, 60))  # every third fine voxel is a coarse one
    np.testing.assert_allclose(texture.on(coarse), texture.on(fine)[1::3, 1::3, 1::3], atol=1e-3)
    moved = fine.moved((200 / 30, 0.0, 0.0))  # the patient is one voxel further up
    np.testing.assert_allclose(texture.on(moved)[1:], texture.on(fine)[:-1], atol=1e-3)


def test_stretch_enlarges_about_the_origin() -> None:
    frame = frame_of(SHAPE).moved((0.0, 0.0, 0.0), (2.0, 1.0, 1.0))
    np.testing.assert_allclose(frame.z, frame_of(SHAPE).z / 2)
    np.testing.assert_allclose(frame.y, frame_of(SHAPE).y)
