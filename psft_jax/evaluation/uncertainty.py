"""How sure the network is: the SD over Monte Carlo dropout samples (section 3.6), in numbers of a case."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import ndimage

from psft_jax.evaluation.bins import binned
from psft_jax.objects import Matching
from psft_jax.scan import Mask, Volume

COLUMNS = ("sd", "error")
"""Columns of the mean SD and of the share of wrong voxels."""
LARGEST_SD = 0.5
"""No probability has a larger SD: half of the samples say 0, half 1."""


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


def sd_against_error(sd: Volume, error: Mask, organ: Mask, bins: int = 20) -> pd.DataFrame:
    """The organ's voxels by their SD, and how many of them are wrong: is the network unsure where it errs?

    Bins are of equal width from 0 to ``LARGEST_SD``, and include their upper edge; 0 belongs to the first.

    Args:
        sd: (Z, Y, X) SD of the lesion probability, of the population of samples.
        error: (Z, Y, X) True where prediction and reference differ.
        organ: (Z, Y, X) the voxels that count.
        bins: how many.

    Returns:
        One row a bin: ``lower``, ``upper``, ``voxels``, ``sd`` (mean) and ``error`` (fraction of the voxels
        that are wrong); the last two are NaN in a bin without voxels.
    """
    edges = np.linspace(0.0, LARGEST_SD, bins + 1)
    return binned(sd[organ], error[organ], edges, names=COLUMNS)
