"""How well an organ was outlined."""

from __future__ import annotations

import numpy as np

from psft_jax.evaluation.segmentation import absolute_volume_difference, dice, h95
from psft_jax.scan import Mask, Scan

AGREEMENT = ("dsc", "avd_percent", "h95_mm")
"""The measures that need a mask to compare with, by their names in ``psft_jax.evaluation.measures``."""


def evaluate_organ(found: Mask, given: Mask | None, scan: Scan) -> dict[str, float]:
    """The measures of one organ mask (section 3.2 has them for lesions).

    Args:
        found: (Z, Y, X) the mask that was made.
        given: the mask to compare with, or None where there is none.
        scan: whose organ it is.

    Returns:
        Name to value, NaN where a measure is undefined; without a mask to compare with only the volume.
    """

    def volume_ml(mask: Mask) -> float:
        return float(np.count_nonzero(mask) * scan.voxel_volume_ml)

    values = {"volume_ml": volume_ml(found)}
    if given is None:
        return values
    return values | {
        "reference_volume_ml": volume_ml(given),
        "dsc": dice(found, given),
        "avd_percent": absolute_volume_difference(found, given),
        "h95_mm": h95(found, given, scan.spacing_mm),
    }
