"""How well the lesions' volume and outline were found (section 3.2 and the WMH challenge).

References:
    H. J. Kuijf et al., "Standardized assessment of automatic segmentation of white matter
    hyperintensities and results of the WMH segmentation challenge", IEEE Trans. Med. Imaging 38(11), 2019.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial import KDTree

from psft_jax.objects import Matching
from psft_jax.scan import Mask

IN_PLANE_SQUARE = np.ones((1, 3, 3), dtype=bool)


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice similarity coefficient ``2 |X and Y| / (|X| + |Y|)``, section 3.2.

    1 where both masks are empty: they agree.
    """
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return float(2.0 * np.count_nonzero(prediction & reference) / total) if total else 1.0


def absolute_volume_difference(prediction: Mask, reference: Mask) -> float:
    """``|V(X) - V(Y)| / V(Y)`` in percent of the reference volume, section 3.2; NaN without a reference."""
    found, true = np.count_nonzero(prediction), np.count_nonzero(reference)
    return float(100.0 * abs(found - true) / true) if true else math.nan


def log_volume_difference(prediction: Mask, reference: Mask) -> float:
    """``|ln(V(X) / V(Y))|`` as in the WMH challenge; NaN where either mask is empty.

    Unlike the AVD it treats a volume that is twice too large and one that is half too large alike.
    """
    found, true = np.count_nonzero(prediction), np.count_nonzero(reference)
    return abs(math.log(found / true)) if found and true else math.nan


def h95(prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Modified Hausdorff distance in mm as in the WMH challenge: the larger 95th percentile of the two ways.

    The distances run from each boundary voxel of one mask to the nearest boundary voxel of the other.

    Returns:
        The distance in mm; NaN where either mask has no boundary: it is empty, or fills its slices.
    """
    found, true = (_boundary_mm(mask, spacing_mm) for mask in (prediction, reference))
    if not len(found) or not len(true):
        return math.nan
    distances = KDTree(true).query(found)[0], KDTree(found).query(true)[0]
    return float(max(np.percentile(d, 95) for d in distances))


def _boundary_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> Float[np.ndarray, "n 3"]:
    """Positions in mm of the voxels that an in-plane 3x3 erosion takes away.

    Outside the volume counts as lesion, so the volume's border makes no boundary.
    """
    inner = ndimage.binary_erosion(mask, IN_PLANE_SQUARE, border_value=1)
    return np.argwhere(mask & ~inner) * np.asarray(spacing_mm)


def lesion_recall(matching: Matching) -> float:
    """Share of the reference lesions that were hit, as in the WMH challenge: 1 where there are none."""
    return float(np.mean(matching.detected)) if len(matching.reference) else 1.0


def lesion_f1(matching: Matching) -> float:
    """Harmonic mean of lesion recall and precision as in the WMH challenge.

    Precision is the share of predicted objects that hit the reference, 1 where nothing was predicted; the
    score is 0 where both are 0.
    """
    recall = lesion_recall(matching)
    precision = float(np.mean(matching.correct)) if len(matching.predicted) else 1.0
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0
