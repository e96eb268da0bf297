"""The threshold on the probability that fits one annotated scan best: a control of fine-tuning."""

from __future__ import annotations

import numpy as np

from psft_jax.evaluation.detection import f1
from psft_jax.evaluation.segmentation import dice
from psft_jax.inference.postprocess import postprocess
from psft_jax.objects import match
from psft_jax.scan import Mask, Scan, Task, Volume

THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)


def best_threshold(probability: Volume, scan: Scan, task: Task, *, opening: bool) -> float:
    """The threshold of ``THRESHOLDS`` with the best DSC (segmentation) or F1 score (detection) on a scan.

    Of equally good ones, the closest to 0.5, and of two such the lower.

    Args:
        probability: (Z, Y, X) lesion probability.
        scan: the annotated scan; lesions outside the organ's box play no part.
        task: which measure.
        opening: as in ``postprocess``.

    Raises:
        ValueError: the scan has no annotation.
    """
    if scan.lesion is None:
        raise ValueError("a threshold is tuned on an annotated scan")
    box = scan.organ_box
    lesion, organ, inside = scan.lesion[box], scan.organ[box], probability[box]

    def score(threshold: float) -> float:
        found: Mask = postprocess(inside, organ, threshold=threshold, opening=opening)
        return dice(found, lesion) if task is Task.SEGMENTATION else f1(match(found, lesion))

    scores = np.array([score(float(t)) for t in THRESHOLDS])
    best = THRESHOLDS[scores == np.nanmax(scores)] if np.isfinite(scores).any() else THRESHOLDS
    return float(best[np.abs(best - 0.5).round(6).argmin()])
