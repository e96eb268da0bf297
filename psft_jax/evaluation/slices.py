"""Right and wrong voxels slice by slice, to know where to look."""

from __future__ import annotations

import pandas as pd

from psft_jax.scan import Mask


def slice_table(prediction: Mask, reference: Mask) -> pd.DataFrame:
    """Voxels of each slice that has any lesion, annotated or predicted.

    Args:
        prediction: (Z, Y, X) True inside the lesions found.
        reference: (Z, Y, X) True inside the annotated lesions.

    Returns:
        ``slice`` (index along Z), ``true_positive``, ``false_negative`` and ``false_positive``.
    """
    counted = {
        "true_positive": prediction & reference,
        "false_negative": ~prediction & reference,
        "false_positive": prediction & ~reference,
    }
    table = pd.DataFrame({name: mask.sum(axis=(1, 2)) for name, mask in counted.items()})
    table.insert(0, "slice", table.index)
    return table[table[list(counted)].any(axis=1)].reset_index(drop=True)
