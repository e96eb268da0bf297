"""The weights of section 3.5 on hand-made objects, and what they do to the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig
from psft_jax.scan import Scan
from psft_jax.training.finetune import finetune
from psft_jax.training.material import Annotated, BaseResult, tuning_slices
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.weighting import Weighting, voxel_weights

masks = arrays(bool, (3, 5, 5))

# One slice: a detected lesion (a), a missed one (m), a false positive object (f) and, in capitals, what the
# prediction covers.
DRAWN = """
    . . . . . . . . .
    . a A X . . m m .
    . a A X . . m . .
    . . . . . . . . .
    . . . . . . . F F
"""


def drawn(letters: str) -> np.ndarray:
    rows = [line.split() for line in DRAWN.strip().splitlines()]
    return np.isin(np.array(rows), list(letters))[np.newaxis]


LESION, FOUND = drawn("aAm"), drawn("AXF")


def test_detection_by_hand() -> None:
    weights = voxel_weights(Weighting.DETECTION, LESION, FOUND)
    expected = np.ones(LESION.shape)
    expected[drawn("a") | drawn("X")] = 0.0  # the outline of a detected metastasis
    expected[drawn("A")] = 2.0
    expected[drawn("m")] = 5.0
    expected[drawn("F")] = 1.0
    np.testing.assert_array_equal(weights, expected)


def test_segmentation_by_hand() -> None:
    weights = voxel_weights(Weighting.SEGMENTATION, LESION, FOUND)
    expected = np.ones(LESION.shape)
    expected[drawn("a") | drawn("m") | drawn("X") | drawn("F")] = 5.0
    expected[drawn("A")] = 2.0
    np.testing.assert_array_equal(weights, expected)


def test_objects_are_those_of_the_volume_and_not_of_a_slice() -> None:
    """A lesion hit in one slice is detected in the next one too."""
    lesion = np.zeros((2, 3, 3), bool)
    lesion[:, 1, 1] = True
    found = lesion.copy()
    found[1] = False
    weights = voxel_weights(Weighting.DETECTION, lesion, found)
    assert weights[0, 1, 1] == 2.0
    assert weights[1, 1, 1] == 0.0


@settings(max_examples=60, deadline=None)
@given(lesion=masks, found=masks)
def test_weights_agree_with_their_definitions(lesion: np.ndarray, found: np.ndarray) -> None:
    by_pixel = voxel_weights(Weighting.SEGMENTATION, lesion, found)
    np.testing.assert_array_equal(by_pixel == 1.0, ~(lesion | found))
    by_object = voxel_weights(Weighting.DETECTION, lesion, found)
    np.testing.assert_array_equal(by_object == 2.0, lesion & found)
    assert not (by_object[~lesion & ~found] != 1.0).any()
    assert set(np.unique(by_object[lesion])) <= {0.0, 2.0, 5.0}
    assert set(np.unique(by_object[found & ~lesion])) <= {0.0, 1.0}


def test_no_scheme_has_no_weights() -> None:
    with pytest.raises(ValueError, match="no scheme"):
        voxel_weights(Weighting.NONE, LESION, FOUND)


@pytest.fixture(scope="module")
def material(make_scan: Callable[..., Scan]) -> Annotated:
    scan = make_scan()
    assert scan.lesion is not None
    found = np.roll(scan.lesion, 2, axis=2)
    return Annotated(scan, BaseResult(found.astype(np.float32), found))


def test_the_slices_carry_the_weights_of_their_own_voxels(material: Annotated) -> None:
    variants = [FinetuneConfig(weighting=w) for w in (Weighting.NONE, Weighting.SEGMENTATION)]
    slices = tuning_slices([material, material], variants)
    assert set(slices.weights) == {"segmentation"}
    assert material.scan.lesion is not None
    assert material.result is not None
    whole = voxel_weights(Weighting.SEGMENTATION, material.scan.lesion, material.result.found)
    np.testing.assert_array_equal(slices.weights["segmentation"], whole[[1, 2, 1, 2]])


def test_weighting_needs_the_result_of_the_base(material: Annotated) -> None:
    with pytest.raises(ValueError, match="needs the base CNN's result"):
        tuning_slices([Annotated(material.scan)], [FinetuneConfig(weighting=Weighting.DETECTION)])


def test_weights_take_the_place_of_the_class_weights(
    tiny: Network,
    scrambled: Callable[[Network, int], Variables],
    material: Annotated,
    small_patches: PatchConfig,
) -> None:
    """Where the base found all and nothing else, the scheme weighs lesion 2 and background 1."""
    scan = material.scan
    assert scan.lesion is not None
    right = Annotated(scan, BaseResult(scan.lesion.astype(np.float32), scan.lesion))
    plain = FinetuneConfig(iterations=4, learning_rate=0.02, class_weights=(1.0, 2.0), patches=small_patches)
    scheme = replace(plain, class_weights=(1.0, 1.0), weighting=Weighting.SEGMENTATION)
    base = scrambled(tiny, 5)
    by_class, by_scheme = finetune(tiny, base, "P1", [right], [plain, scheme], seed=1)
    np.testing.assert_allclose(by_class.losses, by_scheme.losses, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        by_class.variables.params["head"],
        by_scheme.variables.params["head"],
    )
