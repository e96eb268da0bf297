"""How sure the network is of a case, in one number: the SD over Monte Carlo dropout samples (section 3.6)."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from psft_jax.objects import Matching
from psft_jax.scan import Mask, Volume


def mean_sd_of_detected(sd: Volume, matching: Matching) -> float:
    """Mean SD of the detected lesions, the measure of the detection task.

    The paper says "the mean SD of the detected metastases" and no more. It defines a detected lesion as an
    annotated one that the prediction overlaps (section 3.1), so the SD is averaged over the annotation's
    voxels of each detected lesion, and then over the lesions, each counting once whatever its size. Going by
    the annotation, two networks that detect the same lesion are compared on the same voxels.

    Args:
        sd: (Z, Y, X) SD of the lesion probability.
        matching: the case's objects.

    Returns:
        The mean, or NaN where no lesion was detected.
    """
    detected = np.flatnonzero(matching.detected) + 1
    if not len(detected):
        return math.nan
    return float(np.mean(ndimage.mean(sd, matching.reference.labels, detected)))


def maximum_sd(sd: Volume, organ: Mask) -> float:
    """Largest SD of all voxels inside the organ, the measure of the segmentation task; NaN for no organ."""
    return float(sd[organ].max()) if organ.any() else math.nan
