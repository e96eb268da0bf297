"""Which slices of the baseline are chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.sampling.selection import Candidates, SliceSelection, closest_to_undecided, mean_in_organ
from psft_jax.scan import Scan

MakeScan = Callable[..., Scan]


@pytest.fixture(scope="module")
def scan(make_scan: MakeScan) -> Scan:
    """Five slices: no organ in slice 0; lesions in slices 1 and 2."""
    organ = np.zeros((5, 24, 20), bool)
    organ[1:, 4:10, 5:9] = True
    return make_scan(shape=(5, 24, 20), organ=organ)


@pytest.fixture(scope="module")
def probability(scan: Scan) -> np.ndarray:
    """Means within the organ of 0.1, 0.3, 0.45 and 0.9 in slices 1 to 4; 1 everywhere outside the organ."""
    volume = np.ones(scan.shape, np.float32)
    for z, mean in zip((1, 2, 3, 4), (0.1, 0.3, 0.45, 0.9), strict=True):
        volume[z][scan.organ[z]] = mean
    return volume


@pytest.mark.parametrize(
    ("candidates", "count", "expected"),
    [
        (Candidates.LESION, None, [1, 2]),
        (Candidates.ORGAN, None, [1, 2, 3, 4]),
        (Candidates.LESION, 1, [2]),
        (Candidates.ORGAN, 1, [3]),
        (Candidates.ORGAN, 2, [2, 3]),
        (Candidates.ORGAN, 3, [2, 3, 4]),  # 0.1 and 0.9 are as far from 0.5; see the next test
        (Candidates.LESION, 9, [1, 2]),
    ],
)
def test_the_slices_of_which_the_base_is_least_sure(
    scan: Scan, probability: np.ndarray, candidates: Candidates, count: int | None, expected: list[int]
) -> None:
    if expected == [2, 3, 4]:
        probability = probability.copy()
        probability[4][scan.organ[4]] = 0.85
    chosen = SliceSelection(candidates, count).positions(scan, probability)
    np.testing.assert_array_equal(chosen, expected)


def test_equal_distances_go_by_position() -> None:
    np.testing.assert_array_equal(closest_to_undecided(np.array([0.25, 0.75, 0.5])), [2, 0, 1])


def test_the_mean_is_taken_within_the_organ(scan: Scan, probability: np.ndarray) -> None:
    np.testing.assert_allclose(mean_in_organ(scan, probability), [np.nan, 0.1, 0.3, 0.45, 0.9], rtol=1e-6)


def test_choosing_needs_the_probability(scan: Scan) -> None:
    np.testing.assert_array_equal(SliceSelection().positions(scan, None), [1, 2])
    with pytest.raises(ValueError, match="needs its probability"):
        SliceSelection(count=1).positions(scan, None)


def test_slices_with_lesions_need_a_lesion(make_scan: MakeScan) -> None:
    empty = make_scan(lesion=np.zeros((4, 24, 20), bool))
    with pytest.raises(InputError, match="without a lesion"):
        SliceSelection(count=1).positions(empty, np.zeros(empty.shape, np.float32))
    np.testing.assert_array_equal(SliceSelection(Candidates.ORGAN).positions(empty, None), [0, 1, 2, 3])


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"SliceSelection\.count"):
        SliceSelection(count=0)
