"""Voxels in bins of a predicted quantity, with what was observed in each bin, of one case or of many."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float


def binned(
    predicted: Float[np.ndarray, " n"],
    observed: Bool[np.ndarray, " n"],
    edges: Float[np.ndarray, " edges"],
    *,
    names: tuple[str, str],
) -> pd.DataFrame:
    """Mean prediction and share of voxels with the outcome, in each bin.

    A value on an edge belongs to the bin below it, as in Guo et al. (2017); values outside the edges belong
    to the first and last bin.

    Args:
        predicted: what each voxel's bin goes by.
        observed: whether the voxel has the outcome.
        edges: of the bins, ascending.
        names: columns of the mean prediction and of the share.

    Returns:
        One row a bin: ``lower``, ``upper``, ``voxels`` and the two named columns, which are NaN in a bin
        without voxels.
    """
    n = len(edges) - 1
    place = np.searchsorted(edges[1:-1], predicted, side="left")
    voxels = np.bincount(place, minlength=n)
    # Of no values at all, NumPy counts in integers.
    sums = (np.bincount(place, values, minlength=n).astype(float) for values in (predicted, observed))
    means = {name: _ratio(total, voxels) for name, total in zip(names, sums, strict=True)}
    return pd.DataFrame({"lower": edges[:-1], "upper": edges[1:], "voxels": voxels, **means})


def pooled(tables: pd.DataFrame, *, names: tuple[str, str]) -> pd.DataFrame:
    """The rows of several cases as if all their voxels had been put into bins together.

    Args:
        tables: rows of ``binned``, of one case or of many with the same edges.
        names: columns of the mean prediction and of the share.

    Returns:
        One row a bin, in ascending order, with the columns of ``binned``.
    """
    sums = tables[["lower", "upper", "voxels"]].copy()
    for name in names:
        # A bin without voxels adds none, though its mean is undefined.
        sums[name] = (tables[name] * tables["voxels"]).where(tables["voxels"] > 0, 0.0)
    table = sums.groupby(["lower", "upper"], as_index=False).sum()
    voxels = table["voxels"].to_numpy()
    return table.assign(**{name: _ratio(table[name].to_numpy(), voxels) for name in names})


def _ratio(total: Float[np.ndarray, " n"], voxels: np.ndarray) -> Float[np.ndarray, " n"]:
    return np.divide(total, voxels, out=np.full(len(total), np.nan), where=voxels > 0)
