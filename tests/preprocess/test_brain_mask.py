"""Where the brain mask comes from: the user, a network on the T1, or the FLAIR's background."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from psft_jax.data.nifti import LoadedVolume, read_volume
from psft_jax.errors import InputError
from psft_jax.preprocess.brain_mask import deepbet_mask, find_brain, place_mask
from psft_jax.preprocess.brain_settings import BrainSource
from tests.preprocess.brains import motion, save

AFFINE = motion((10.0, 0.0, 5.0), (3.0, 2.0, 1.0)) @ np.diag([2.0, 2.0, 3.0, 1.0])
T1_AFFINE = AFFINE @ np.diag([0.5, 0.5, 1.0, 1.0])


@pytest.fixture
def flair(tmp_path: Path) -> LoadedVolume:
    return read_volume(save(tmp_path / "flair.nii", _ball((10, 12, 14)), AFFINE))


@pytest.fixture
def t1(tmp_path: Path) -> LoadedVolume:
    return read_volume(save(tmp_path / "t1.nii", _ball((10, 24, 28)), T1_AFFINE, "LPS"))


def _ball(shape: tuple[int, int, int], radius: float = 0.8) -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return np.where(np.sum(np.square(axes), axis=0) < radius**2, np.float32(100), np.float32(0))


def loaded(folder: Path, mask: np.ndarray, affine: np.ndarray) -> LoadedVolume:
    return read_volume(save(folder / "mask é.nii.gz", mask, affine, "LPS"))


def test_a_users_mask_on_the_flair_is_taken_as_it_is(
    flair: LoadedVolume, t1: LoadedVolume, tmp_path: Path
) -> None:
    drawn = _ball((10, 12, 14), radius=0.5) > 0
    given = loaded(tmp_path, drawn, AFFINE)
    brain = find_brain(given, flair, t1, BrainSource.DEEPBET, resample=False, threads=1)
    np.testing.assert_array_equal(brain.data, drawn)
    assert not brain.on_t1


def test_a_mask_on_the_t1_is_refused_unless_asked_for_and_then_stays_there(
    flair: LoadedVolume, t1: LoadedVolume, tmp_path: Path
) -> None:
    drawn = _ball((10, 24, 28), radius=0.5) > 0
    given = loaded(tmp_path, drawn, T1_AFFINE)
    with pytest.raises(
        InputError, match=r"mask é\.nii\.gz: found shape .* Draw it on the FLAIR, or set .*resample"
    ):
        find_brain(given, flair, t1, BrainSource.DEEPBET, resample=False, threads=1)
    brain = find_brain(given, flair, t1, BrainSource.DEEPBET, resample=True, threads=1)
    np.testing.assert_array_equal(brain.data, drawn)
    np.testing.assert_allclose(brain.affine, T1_AFFINE, atol=1e-5)
    assert brain.on_t1


def test_a_mask_on_a_third_grid_comes_onto_the_flairs(
    flair: LoadedVolume, t1: LoadedVolume, tmp_path: Path
) -> None:
    coarse = np.zeros((5, 6, 7), bool)
    coarse[2, 3, 4] = True
    # Each of its voxels is two of the FLAIR's along each axis; its first lies in the middle of the first two.
    affine = AFFINE @ np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1.0]])
    placed, on_t1 = place_mask(loaded(tmp_path, coarse, affine), flair, t1, resample=True)
    expected = np.zeros((10, 12, 14))
    expected[4:6, 6:8, 8:10] = 1
    np.testing.assert_array_equal(placed.data, expected)
    assert not on_t1


def test_an_empty_mask_is_refused(flair: LoadedVolume, t1: LoadedVolume, tmp_path: Path) -> None:
    empty = loaded(tmp_path, np.zeros((10, 12, 14), bool), AFFINE)
    with pytest.raises(InputError, match="found an empty brain mask"):
        find_brain(empty, flair, t1, BrainSource.DEEPBET, resample=False, threads=1)


def test_of_a_stripped_flair_the_brain_is_where_it_is_not_0(
    flair: LoadedVolume, t1: LoadedVolume, tmp_path: Path
) -> None:
    brain = find_brain(None, flair, t1, BrainSource.NONZERO, resample=False, threads=1)
    np.testing.assert_array_equal(brain.data, _ball((10, 12, 14)) > 0)
    noise = np.random.default_rng(0).uniform(1, 5, (10, 12, 14)).astype(np.float32)
    whole = read_volume(save(tmp_path / "whole.nii", noise, AFFINE))
    with pytest.raises(InputError, match=r"whole\.nii: found voxels other than 0 on all sides"):
        find_brain(None, whole, t1, BrainSource.NONZERO, resample=False, threads=1)


def test_without_deepbet_it_says_what_to_do(t1: LoadedVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepbet.bet", None)
    with pytest.raises(InputError, match=r"no deepbet .*pip install 'psft_jax\[preprocess\]'.*brain=nonzero"):
        deepbet_mask(t1, 1)


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module in deepbet's place whose brain is what is brighter than ``brighter_than``."""
    module, torch = ModuleType("deepbet.bet"), ModuleType("torch")
    module.brighter_than = 50.0
    torch.set_num_threads = lambda n: setattr(torch, "threads", n)

    class BrainExtraction:
        def __init__(self, no_gpu: bool) -> None:
            assert no_gpu

        def run(self, image: nib.Nifti1Image) -> tuple[nib.Nifti1Image, nib.Nifti1Image, float]:
            mask = (image.get_fdata() > module.brighter_than).astype(np.uint8)
            if not mask.any():
                raise AssertionError("Not enough foreground to calculate bounding box")
            return image, nib.Nifti1Image(mask, image.affine), float(mask.sum())

    module.BrainExtraction = BrainExtraction
    monkeypatch.setitem(sys.modules, "deepbet", ModuleType("deepbet"))
    monkeypatch.setitem(sys.modules, "deepbet.bet", module)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return module


def test_deepbets_mask_lies_on_the_t1(flair: LoadedVolume, standin: ModuleType, tmp_path: Path) -> None:
    values = _ball((40, 60, 70), radius=0.6)  # 80 x 120 x 140 mm: 1.2 L in the box of 1.3 L around it
    values[:20] = np.where(values[:20] > 0, 40, 0)  # its lower half is darker
    large = read_volume(save(tmp_path / "large.nii", values, np.diag([4.0, 4.0, 4.0, 1.0]), "LPS"))
    brain = find_brain(None, flair, large, BrainSource.DEEPBET, resample=False, threads=3)
    np.testing.assert_array_equal(brain.data, values > 50)
    assert brain.on_t1
    assert sys.modules["torch"].threads == 3


@pytest.mark.parametrize(("brighter_than", "volume"), [(50.0, "4 mL"), (200.0, "0 mL")])
def test_what_is_no_brain_is_refused(
    t1: LoadedVolume, standin: ModuleType, brighter_than: float, volume: str
) -> None:
    standin.brighter_than = brighter_than
    # Voxels of 1 x 1 x 3 mm: 1300 of them in the ball, or none.
    with pytest.raises(InputError, match=rf"t1\.nii: found a brain of {volume}"):
        deepbet_mask(t1, 1)
