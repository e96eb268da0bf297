"""The slices that the base CNN is trained on, in memory or on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from experiments.config import GB, HardwareConfig, SlicesIn
from psft_jax.errors import InputError
from psft_jax.sampling.slices import Slices, frame_of, lesion_slices, slices_of, stack
from psft_jax.sampling.stored import StoredScan, StoredSlices, gathered, store, stored
from psft_jax.scan import Cohort, Scan, Visit

logger = logging.getLogger(__name__)

Positions = Callable[[Scan], Int[np.ndarray, " n"]]
"""Which slices of a scan are learnt from: their places along Z."""


def training_slices(
    cohort: Cohort, hardware: HardwareConfig, folder: Path, positions: Positions = lesion_slices
) -> Slices | StoredSlices:
    """The slices of all training patients that are learnt from; one scan at a time is in memory.

    Args:
        cohort: whose training patients they are.
        hardware: says whether the slices stay in memory, or what they may take there.
        folder: where they are written otherwise; what an interrupted run wrote there is used.
        positions: which slices of a scan; those with lesions (section 2.1) without it.

    Raises:
        InputError: the cohort has no training patient, or one without lesions; or the disk is full.
    """
    if not cohort.training:
        raise InputError(
            f"cohort {cohort.name}",
            found="no training patient",
            expected="at least one patient with a single visit, to train the base CNN on",
            remedy="Add such patients, or fine-tune a base CNN that was trained on others: base=FOLDER.",
        )
    visits = [visit for patient in cohort.training for visit in patient.visits]
    if hardware.slices is SlicesIn.DISK:
        return _on_disk(visits, [], positions, folder, "hardware.slices=disk")
    if hardware.slices is SlicesIn.AUTO and folder.exists():
        return _on_disk(visits, [], positions, folder, "an interrupted run began so")

    parts: list[Slices] = []
    for visit in _shown(visits):
        parts.append(_slices_of(visit, positions))
        needed = _stacked_bytes(parts) / GB
        if hardware.slices is SlicesIn.AUTO and needed > hardware.slices_gb:
            break
    else:
        logger.info("slices in memory: %.3g GB (hardware.slices=%s)", needed, hardware.slices)
        return stack(parts)
    why = f"{len(parts)} of {len(visits)} scans make {needed:.3g} GB"
    why = f"{why}, hardware.slices_gb is {hardware.slices_gb:g}"
    return _on_disk(visits, parts, positions, folder, why)


def _on_disk(
    visits: Sequence[Visit], loaded: list[Slices], positions: Positions, folder: Path, why: str
) -> StoredSlices:
    """All slices on disk; those of the first visits are ``loaded`` already, and are taken from there."""
    logger.info("slices on disk, in %s: %s", folder, why)
    scans: list[StoredScan] = []
    for visit in _shown(visits):
        part = loaded.pop(0) if loaded else None
        scan = stored(visit, folder)
        if scan is None:
            scan = store(visit, _slices_of(visit, positions) if part is None else part, folder)
        scans.append(scan)
    return gathered(scans)


def _slices_of(visit: Visit, positions: Positions) -> Slices:
    scan = visit.load()
    return slices_of(scan, positions(scan))


def _stacked_bytes(parts: Sequence[Slices]) -> int:
    """Memory of all slices on their common frame."""
    rows, columns = frame_of(part.size for part in parts)
    first, second = parts[0].images
    per_pixel = (first.shape[-1] + second.shape[-1] + 1) * first.itemsize
    return sum(map(len, parts)) * rows * columns * per_pixel


def _shown(visits: Sequence[Visit]) -> tqdm[Visit]:
    return tqdm(visits, desc="loading training scans", unit="scan", leave=False)
