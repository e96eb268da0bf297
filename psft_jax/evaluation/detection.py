"""How many lesions were found, and how many that are none (section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from psft_jax.objects import Matching


def true_positive_rate(matching: Matching) -> float:
    """Reference objects hit / reference objects; NaN where there are none."""
    return _share(matching.detected)


def false_positives(matching: Matching) -> int:
    """Predicted objects that touch no reference object: the case's contribution to the FPC."""
    return int(np.count_nonzero(~matching.correct))


def precision(matching: Matching) -> float:
    """Predicted objects that touch a reference object / predicted objects; NaN where there are none."""
    return _share(matching.correct)


def f1(matching: Matching) -> float:
    """``2 TPR precision / (TPR + precision)``.

    0 where lesions exist and none was hit, even if nothing was predicted and the precision is undefined: no
    precision could raise it. NaN where there is no reference object.
    """
    recall = true_positive_rate(matching)
    if not recall > 0:
        return recall
    share = precision(matching)
    return 2.0 * recall * share / (recall + share)


@dataclass(frozen=True)
class RateBySize:
    """TPR among the small and the large lesions of a case, and how many there are (section 4.1.4)."""

    tpr_small: float
    tpr_large: float
    n_small: int
    n_large: int


def rate_by_size(
    matching: Matching, spacing_mm: tuple[float, float, float], small_below_ml: float
) -> RateBySize:
    """TPR of the reference objects below ``small_below_ml``, and of those of that volume or larger.

    Args:
        matching: the case's objects.
        spacing_mm: voxel size along (Z, Y, X).
        small_below_ml: the volume in mL (cm3) from which a lesion is large.

    Returns:
        Rates, NaN for a class without lesions, and the number of reference objects in each class.
    """
    small = matching.reference.volumes_ml(spacing_mm) < small_below_ml
    return RateBySize(
        tpr_small=_share(matching.detected[small]),
        tpr_large=_share(matching.detected[~small]),
        n_small=int(np.count_nonzero(small)),
        n_large=int(np.count_nonzero(~small)),
    )


def _share(hits: Bool[np.ndarray, " n"]) -> float:
    return float(np.mean(hits)) if len(hits) else math.nan
