"""Which slices of the baseline are fine-tuned on (sections 2.3 and 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int

from psft_jax.errors import check_fields
from psft_jax.sampling.slices import lesion_slices
from psft_jax.scan import Scan, Volume


class Candidates(StrEnum):
    """Which slices may be chosen."""

    LESION = "lesion"
    """Those with a lesion in the annotation."""
    ORGAN = "organ"
    """Those that show the organ: choosing among them needs no annotation beforehand."""


@dataclass(frozen=True)
class SliceSelection:
    """The slices to fine-tune on; the default is the paper's, all slices with lesions.

    Args:
        candidates: which slices may be chosen.
        count: so many of them, those of which the base CNN is least sure (``closest_to_undecided``); all
            without a number.

    Raises:
        InputError: the count is below 1.
    """

    candidates: Candidates = Candidates.LESION
    count: int | None = None

    def __post_init__(self) -> None:
        valid = {"count": (self.count is None or self.count >= 1, "at least 1, or null for all slices")}
        check_fields(self, valid, remedy="The paper tries 1, 2 and all slices.")

    @property
    def words(self) -> str:
        """The selection as tables say it.

        >>> [SliceSelection(Candidates.ORGAN, n).words for n in (1, 2, None)]
        ['1 slice of the organ', '2 slices of the organ', 'all organ slices']
        """
        if self.count is None:
            return f"all {self.candidates} slices"
        of = "the organ" if self.candidates is Candidates.ORGAN else "those with lesions"
        return f"{self.count} slice{'' if self.count == 1 else 's'} of {of}"

    def positions(self, scan: Scan, probability: Volume | None) -> Int[np.ndarray, " n"]:
        """Positions along Z, from inferior to superior.

        Args:
            scan: the annotated baseline.
            probability: (Z, Y, X) lesion probability of the base CNN on it; needed with a ``count``.

        Raises:
            InputError: only slices with lesions may be chosen, and there is none.
            ValueError: the probability is needed and missing.
        """
        if self.candidates is Candidates.LESION:
            candidates = lesion_slices(scan)
        else:
            candidates = np.flatnonzero(scan.organ.any(axis=(1, 2)))
        if self.count is None:
            return candidates
        if probability is None:
            raise ValueError("choosing slices by the base CNN needs its probability on the baseline")
        order = closest_to_undecided(mean_in_organ(scan, probability)[candidates])
        return np.sort(candidates[order[: self.count]])


def mean_in_organ(scan: Scan, probability: Volume) -> Float[np.ndarray, " z"]:
    """Mean lesion probability of each slice within the organ; NaN where a slice shows none of it."""
    voxels = np.count_nonzero(scan.organ, axis=(1, 2))
    sums = np.sum(probability, axis=(1, 2), where=scan.organ, dtype=np.float64)
    return np.divide(sums, voxels, out=np.full(len(voxels), np.nan), where=voxels > 0)


def closest_to_undecided(means: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The order of slices by the distance of their mean probability from 0.5 (section 3.4).

    Equal distances keep the order from inferior to superior; a slice without organ comes last.

    >>> closest_to_undecided(np.array([0.1, 0.7, 0.4, np.nan])).tolist()
    [2, 1, 0, 3]
    """
    return np.argsort(np.abs(means - 0.5), kind="stable")
