"""What became of each object: its size and place, whether it was hit, how sure the network is of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool
from scipy import ndimage

from psft_jax.objects import Matching, Objects
from psft_jax.scan import Volume

REFERENCE, PREDICTED = "reference", "predicted"


def lesion_table(
    matching: Matching, spacing_mm: tuple[float, float, float], sd: Volume | None = None
) -> pd.DataFrame:
    """One row an object: the reference's, then the predicted ones.

    A reference object with ``hit`` 0 is a missed lesion, a predicted one a false positive. The reference's
    objects bear the same numbers whatever is predicted, so that networks are compared lesion by lesion.

    Args:
        matching: the case's objects.
        spacing_mm: voxel size along (Z, Y, X).
        sd: (Z, Y, X) SD of the lesion probability over Monte Carlo dropout samples.

    Returns:
        ``kind`` (reference or predicted), ``lesion`` (1 to n of its kind), ``volume_ml``, ``slice`` (index
        along Z of the largest cross-section, the lowest of equal ones), ``hit`` (1 where an object of the
        other kind overlaps it, else 0) and ``mean_sd`` over its voxels (NaN without ``sd``).
    """
    kinds = (
        (REFERENCE, matching.reference, matching.detected),
        (PREDICTED, matching.predicted, matching.correct),
    )
    rows = [_rows(kind, objects, hit, spacing_mm, sd) for kind, objects, hit in kinds]
    return pd.concat(rows, ignore_index=True)


def _rows(
    kind: str,
    objects: Objects,
    hit: Bool[np.ndarray, " n"],
    spacing_mm: tuple[float, float, float],
    sd: Volume | None,
) -> pd.DataFrame:
    n = len(objects)
    number = np.arange(1, n + 1)
    return pd.DataFrame(
        {
            "kind": np.full(n, kind, dtype=object),
            "lesion": number,
            "volume_ml": objects.volumes_ml(spacing_mm),
            "slice": _largest_slices(objects),
            "hit": hit.astype(int),
            "mean_sd": np.full(n, np.nan) if sd is None else ndimage.mean(sd, objects.labels, number),
        }
    )


def _largest_slices(objects: Objects) -> np.ndarray:
    z, *_ = np.nonzero(objects.labels)
    area = np.zeros((len(objects), objects.labels.shape[0]), dtype=int)
    np.add.at(area, (objects.labels[objects.labels > 0] - 1, z), 1)
    return area.argmax(axis=1)
