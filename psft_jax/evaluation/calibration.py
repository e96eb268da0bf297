"""Whether a probability means what it says: of the voxels given 0.7, are 70 % lesion?

References:
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from psft_jax.evaluation.bins import binned, pooled
from psft_jax.scan import Mask, Volume

COLUMNS = ("probability", "lesion")
"""Columns of the mean prediction and of the share of lesion voxels."""


def calibration(probability: Volume, lesion: Mask, organ: Mask, bins: int = 20) -> pd.DataFrame:
    """The organ's voxels by their predicted probability: what a reliability diagram shows.

    Bins are of equal width, and include their upper edge (Guo et al. 2017); 0 belongs to the first.

    Args:
        probability: (Z, Y, X) lesion probability, 0 to 1.
        lesion: (Z, Y, X) reference annotation.
        organ: (Z, Y, X) the voxels that count.
        bins: how many.

    Returns:
        One row a bin: ``lower``, ``upper``, ``voxels``, ``probability`` (mean predicted) and ``lesion``
        (fraction of the voxels that are lesion); the last two are NaN in a bin without voxels.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    return binned(probability[organ], lesion[organ], edges, names=COLUMNS)


def expected_calibration_error(table: pd.DataFrame, *, above: float = 0.0) -> float:
    """Mean distance of probability and lesion fraction over the bins, weighted by their voxels.

    Nearly all of an organ's voxels are plain background that no network gets wrong. They make this number
    small whatever happens in and around the lesions; ``above`` leaves the lowest bins out.

    Args:
        table: rows of ``calibration``, of one case or of many, whose voxels are then pooled.
        above: only bins from this probability upwards.

    Returns:
        0 (each probability is the fraction) to 1; NaN where there are no voxels.
    """
    bins = pooled(table[table["lower"] >= above], names=COLUMNS)
    bins = bins[bins["voxels"] > 0]
    if bins.empty:
        return math.nan
    distance = (bins["probability"] - bins["lesion"]).abs()
    return float(np.average(distance, weights=bins["voxels"]))
