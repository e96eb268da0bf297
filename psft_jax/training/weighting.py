"""Weights of the baseline's voxels by how the base CNN judged them (section 3.5)."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from psft_jax.objects import match
from psft_jax.scan import Mask, Volume


class Weighting(StrEnum):
    """How the loss weighs pixels; a scheme takes the place of the class weights."""

    NONE = "none"
    """By their class alone."""
    SEGMENTATION = "segmentation"
    """What was labelled wrongly counts most."""
    DETECTION = "detection"
    """Missed metastases count most, the outline of detected ones nothing."""


def voxel_weights(scheme: Weighting, lesion: Mask, found: Mask) -> Volume:
    """The weight of every voxel in the loss.

    Segmentation: false positives and false negatives 5, true positives 2, true negatives 1.

    Detection, by objects (26-neighbourhood, detected means an overlap): missed metastases 5, true-positive
    voxels of detected ones 2, false-negative voxels of detected ones and false-positive voxels of objects
    that touch one 0, false-positive objects and background 1.

    Args:
        scheme: segmentation or detection.
        lesion: (Z, Y, X) the baseline's annotation.
        found: (Z, Y, X) the base CNN's result on the baseline, after post-processing.

    Returns:
        (Z, Y, X) float32.

    Raises:
        ValueError: there is no scheme.

    >>> lesion = np.array([[[True, True, False, False]]])
    >>> found = np.array([[[False, True, True, False]]])
    >>> voxel_weights(Weighting.SEGMENTATION, lesion, found).tolist()
    [[[5.0, 2.0, 5.0, 1.0]]]
    >>> voxel_weights(Weighting.DETECTION, lesion, found).tolist()
    [[[0.0, 2.0, 0.0, 1.0]]]
    """
    weights = np.ones(lesion.shape, dtype=np.float32)
    if scheme is Weighting.SEGMENTATION:
        weights[lesion != found] = 5.0
        weights[lesion & found] = 2.0
        return weights
    if scheme is Weighting.DETECTION:
        matching = match(found, lesion)
        missed = np.isin(matching.reference.labels, np.flatnonzero(~matching.detected) + 1)
        hits = np.isin(matching.predicted.labels, np.flatnonzero(matching.correct) + 1)
        weights[(lesion | hits) & ~(lesion & found)] = 0.0
        weights[lesion & found] = 2.0
        weights[missed] = 5.0
        return weights
    raise ValueError("no scheme, no weights")
