"""The threshold that is best on the baseline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from psft_jax.evaluation.threshold import THRESHOLDS, best_threshold
from psft_jax.scan import Scan, Task

MakeScan = Callable[..., Scan]


@pytest.fixture(scope="module")
def scan(make_scan: MakeScan) -> Scan:
    """One lesion of 2 x 4 x 4 voxels."""
    return make_scan()


def test_of_equally_good_thresholds_the_closest_to_a_half(scan: Scan) -> None:
    assert scan.lesion is not None
    perfect = np.where(scan.lesion, 0.3, 0.0).astype(np.float32)
    # 0.05 to 0.25 cut out the lesion (0.3 itself is 0.30000001 in float32); 0.3 may, and is closer.
    assert best_threshold(perfect, scan, Task.SEGMENTATION, opening=False) == pytest.approx(0.3)
    timid = np.where(scan.lesion, 0.28, 0.0).astype(np.float32)
    assert best_threshold(timid, scan, Task.SEGMENTATION, opening=False) == pytest.approx(0.25)
    bold = np.where(scan.lesion, 0.98, np.where(scan.organ, 0.72, 0.0)).astype(np.float32)
    assert best_threshold(bold, scan, Task.SEGMENTATION, opening=False) == pytest.approx(0.75)


def test_the_task_decides_what_is_best(scan: Scan) -> None:
    """Segmentation wants the whole lesion; detection is content with one voxel of it, and no false object."""
    assert scan.lesion is not None
    probability = np.where(scan.lesion, 0.4, 0.0).astype(np.float32)
    probability[1, 9, 8] = 0.95
    probability[0, 14, 15] = 0.6  # a false positive object of one voxel
    segmentation = best_threshold(probability, scan, Task.SEGMENTATION, opening=False)
    detection = best_threshold(probability, scan, Task.DETECTION, opening=False)
    assert segmentation == pytest.approx(0.4)
    assert detection == pytest.approx(0.65)


def test_a_useless_map_keeps_the_middle(make_scan: MakeScan) -> None:
    empty = make_scan(lesion=np.zeros((4, 24, 20), bool))
    nothing = np.zeros(empty.shape, np.float32)
    assert best_threshold(nothing, empty, Task.DETECTION, opening=True) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="annotated scan"):
        best_threshold(nothing, make_scan(lesion=None), Task.DETECTION, opening=False)


def test_thresholds_are_probabilities() -> None:
    assert len(THRESHOLDS) == 19
    assert THRESHOLDS[0] == 0.05
    assert THRESHOLDS[-1] == 0.95
