"""The atlas without a network, the deformation and its inverse, and a visit's grid."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from psft_jax.phantoms.brain_anatomy import (
    CENTRE_MM,
    FIELD_OF_VIEW_MM,
    Anatomy,
    AnatomyParameters,
    Grid,
    atlas_positions,
    draw_anatomy,
    position,
    tissue,
)
from psft_jax.phantoms.brain_atlas import load_atlas

SMALL = (24, 120, 120)
STILL = (np.zeros(3), np.zeros(3))


def anatomy(seed: int = 0, **parameters: object) -> Anatomy:
    return draw_anatomy(np.random.default_rng(seed), AnatomyParameters(**parameters))


def undeformed() -> Anatomy:
    return Anatomy(np.ones(3), np.zeros_like(anatomy().displacement), 1.0)


def test_the_atlas_comes_with_nilearn_and_needs_no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the atlas opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    load_atlas.cache_clear()
    atlas = load_atlas()
    # MNI coordinates (z, y, x) of structures that any atlas of the brain places there.
    centrum_semiovale, caudate, ventricle = (30.0, -20.0, 26.0), (10.0, 12.0, 13.0), (22.0, -5.0, 11.0)
    points = np.array([centrum_semiovale, caudate, ventricle]).T
    assert atlas.sample(atlas.wm, points)[0] > 0.9
    assert atlas.sample(atlas.gm, points)[1] > 0.9
    assert atlas.sample(atlas.ventricle_mm, points)[2] < -1


def test_shares_of_tissue_fill_the_brain_and_nothing_else():
    atlas = load_atlas()
    csf = atlas.brain - atlas.wm - atlas.gm
    for share in (atlas.wm, atlas.gm, csf):
        assert share.min() > -1e-4
        assert share.max() < 1 + 1e-4
    ml = {name: share.sum() / 1000 for name, share in (("wm", atlas.wm), ("gm", atlas.gm), ("csf", csf))}
    assert 400 < ml["wm"] < 700  # an adult brain of the template's large size
    assert 700 < ml["gm"] < 1200
    inside = atlas.ventricle_mm < 0
    assert 10 < inside.sum() / 1000 < 30
    assert csf[inside].mean() > 0.8


def test_deforming_back_and_forth_returns_to_the_same_place():
    patient = anatomy()
    rng = np.random.default_rng(1)
    atlas_mm = np.stack([rng.uniform(-30, 60, 200), rng.uniform(-80, 50, 200), rng.uniform(-50, 50, 200)])
    patient_mm = patient.to_patient(atlas_mm)
    again = to_atlas(patient, patient_mm)
    assert np.median(np.linalg.norm(patient_mm - atlas_mm, axis=0)) > 2  # it moved at all
    assert np.percentile(np.linalg.norm(again - atlas_mm, axis=0), 95) < 0.2


def to_atlas(patient: Anatomy, patient_mm: np.ndarray) -> np.ndarray:
    """Atlas positions of patient positions, by visits of one voxel each."""
    visits = [Grid((1, 1, 1), (1.0, 1.0, 1.0), np.eye(3), point) for point in patient_mm.T]
    return np.stack([atlas_positions(patient, visit).ravel() for visit in visits], axis=1)


@pytest.mark.parametrize("shape", [SMALL, (48, 240, 240), (36, 100, 90)])
def test_the_field_of_view_stays_whatever_the_number_of_voxels(shape: tuple[int, int, int]):
    grid = position(shape, *STILL)
    np.testing.assert_allclose(np.array(grid.spacing_mm) * shape, FIELD_OF_VIEW_MM)
    middle = (np.array(shape) - 1) / 2
    np.testing.assert_allclose(grid.matrix @ middle + grid.offset, CENTRE_MM)
    assert aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(grid.affine @ [*middle[::-1], 1], [*CENTRE_MM[::-1], 1])


def test_a_head_shifted_by_one_voxel_shows_the_same_brain_one_voxel_on():
    still, spacing = position(SMALL, *STILL), np.array(FIELD_OF_VIEW_MM) / SMALL
    shifted = position(SMALL, np.zeros(3), spacing)
    patient = anatomy()
    a, b = tissue(patient, still), tissue(patient, shifted)
    np.testing.assert_allclose(b.wm[:-1, :-1, :-1], a.wm[1:, 1:, 1:], atol=1e-3)


def test_turning_the_head_keeps_lengths():
    grid = position(SMALL, np.array([5.0, -3.0, 8.0]), np.array([1.0, 2.0, 3.0]))
    rotation = grid.matrix / grid.spacing_mm
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_an_undeformed_brain_keeps_the_atlas_volumes():
    atlas, grid = load_atlas(), position(SMALL, *STILL)
    content = tissue(undeformed(), grid)
    voxel_ml = np.prod(grid.spacing_mm) / 1000
    # Of the atlas, the part inside the field of view in z.
    z = atlas.origin_mm[0] + np.arange(atlas.brain.shape[0])
    seen = np.abs(z - CENTRE_MM[0]) <= FIELD_OF_VIEW_MM[0] / 2
    assert content.wm.sum() * voxel_ml == pytest.approx(atlas.wm[seen].sum() / 1000, rel=0.01)
    assert content.brain.sum() * voxel_ml == pytest.approx(atlas.brain[seen].sum() / 1000, rel=0.02)


def test_wider_ventricles_and_sulci_hold_more_fluid():
    grid, none = position(SMALL, *STILL), {"shape_sd_mm": 0.0, "fold_sd_mm": 0.0, "size": (1.0, 1.0)}

    def content(push_mm: float, sulci: float):
        return tissue(anatomy(ventricle_mm=(push_mm, push_mm), sulci=(sulci, sulci), **none), grid)

    young, ventricles, sulci = content(0.0, 1.0), content(4.0, 1.0), content(0.0, 2.5)
    assert (ventricles.ventricle_mm < 0).sum() > 2 * (young.ventricle_mm < 0).sum()
    assert sulci.csf.sum() > 1.3 * young.csf.sum()
    np.testing.assert_array_equal(sulci.brain, young.brain)


def test_the_widest_ventricles_do_not_fold():
    widest = AnatomyParameters().ventricle_mm[1]
    patient = anatomy(ventricle_mm=(widest, widest), shape_sd_mm=0.0, fold_sd_mm=0.0)
    lattice_mm = 4.0
    gradient = np.stack([np.stack(np.gradient(d, lattice_mm)) for d in patient.displacement])
    jacobian = np.eye(3) + np.moveaxis(gradient, (0, 1), (-2, -1))
    assert np.linalg.det(jacobian).min() > 0
