"""Pipelines that take no time, for tests of what runs pipelines; spawned processes import them from here."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from psft_jax.data.bids_names import bids_path
from psft_jax.data.nifti import read_series
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.preprocess.outputs import Prepared
from psft_jax.preprocess.processes import peak_memory

STEPS = {"copy": {"factor": 1.0}}


def copying(visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
    """Copies what can be read, and writes a line for each visit beside the originals' folder."""
    return [_copied(visit, folder) for visit in visits]


def _copied(visit: VisitFiles, folder: Path) -> Prepared:
    def copy(source: Path, suffix: str, **entities: str) -> Path:
        read_series(source)
        target = folder / bids_path(visit.subject, visit.session, suffix, **entities)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        return target

    first, second = visit.sequences
    sequences = (
        tuple(copy(file, "FLAIR", desc=f"preproc{n}") for n, file in enumerate(first)),
        tuple(copy(file, "T1w", desc=f"preproc{n}") for n, file in enumerate(second)),
    )
    organ = visit.organ and copy(visit.organ, "mask", label="brain")
    lesion = visit.lesion and copy(visit.lesion, "mask", label="lesion")
    files = replace(visit, sequences=sequences, organ=organ, lesion=lesion)
    return Prepared(files, dict.fromkeys(files.files, STEPS))


def failing(visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
    """Fails on a subject by its name: with an error of either kind, by asking for memory, or by dying."""
    name = visits[0].subject
    print("words of", name)
    copied = copying(visits, folder)
    if "refused" in name:
        raise InputError(visits[0].files[0], found="a pear", expected="an apple", remedy="Look again.")
    if "error" in name:
        raise RuntimeError("ITK ERROR: too few samples")
    if "greedy" in name:
        np.ones(300_000_000)
    if "killed" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    return copied


def slow(visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
    """Subjects whose name has ``slow`` in it take a minute, when half of their files are there."""
    prepared = copying(visits, folder)
    if "slow" in visits[0].subject:
        time.sleep(60)
    return prepared


def peak_after(size: int) -> int:
    """Hold so many bytes for a moment, and tell the peak of memory."""
    held = np.ones(size, np.uint8)
    del held
    return peak_memory()
