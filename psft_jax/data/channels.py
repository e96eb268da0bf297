"""The liver's DCE-MRI series: 16 phases, averaged within each breath hold or kept as 16 channels.

Jansen et al. 2020, section 2.1.1: six breath holds of one to five 3-D images each. Which phases belong to
which breath hold is in the first author's published script.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from psft_jax.errors import InputError
from psft_jax.scan import Cohort, Scan, Sequence

BREATH_HOLDS = ((0,), (1, 2, 3, 4, 5), (6, 7, 8, 9), (10, 11), (12, 13, 14), (15,))
N_PHASES = sum(map(len, BREATH_HOLDS))


class DCEChannels(StrEnum):
    """What the first pathway of the liver network sees of the DCE-MRI series."""

    BREATH_HOLDS = "breath_holds"
    ALL_PHASES = "all_phases"


def group_phases(dce: Float[np.ndarray, "z y x phases"]) -> Float[np.ndarray, "z y x 6"]:
    """Average the phases of each breath hold.

    Args:
        dce: (Z, Y, X, 16), the phases in the order of their acquisition.

    Returns:
        (Z, Y, X, 6), one channel for each breath hold.

    Raises:
        InputError: the series has another number of phases.
    """
    _check_phases("DCE-MRI series", dce.shape[-1])
    return np.stack([dce[..., list(phases)].mean(axis=-1) for phases in BREATH_HOLDS], axis=-1)


def select_channels(cohort: Cohort, channels: DCEChannels) -> Cohort:
    """The same liver cohort with the channels that the network is to see, in its scans and in its names.

    Args:
        cohort: a cohort whose first sequence is the DCE-MRI series with all its phases.
        channels: averages over breath holds, or all phases.

    Raises:
        InputError: the first sequence has another number of phases; for a scan that disagrees with its
            cohort, when that scan is loaded.
    """
    dce, dwi = cohort.sequences
    _check_phases(f"sequence {dce.name} of cohort {cohort.name}", len(dce.channels))
    if channels is DCEChannels.ALL_PHASES:
        return cohort.map(_all_phases)
    names = tuple(f"hold{hold}" for hold in range(len(BREATH_HOLDS)))
    return replace(cohort.map(_breath_holds), sequences=(Sequence(dce.name, names), dwi))


def _breath_holds(scan: Scan) -> Scan:
    dce, dwi = _all_phases(scan).sequences
    return scan.with_sequences(group_phases(dce), dwi)


def _all_phases(scan: Scan) -> Scan:
    _check_phases(scan.name, scan.sequences[0].shape[-1])
    return scan


def _check_phases(where: str, found: int) -> None:
    if found != N_PHASES:
        raise InputError(
            where,
            found=f"{found} phases",
            expected=f"{N_PHASES} phases in {len(BREATH_HOLDS)} breath holds",
            remedy="Give all phases of the series in the order in which they were acquired.",
        )
