"""Livers of the phantom as a scanner would give them, in motion: NIfTI files, and a table that names them.

python -m experiments.phantom_raw out=FOLDER dataset=demo_detection
python -m experiments.preprocess dataset=table_liver dataset.path=FOLDER/scans.csv
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from experiments.config import TaskConfig
from experiments.datasets import LiverPhantomDataset
from experiments.launch import errors_as_sentences
from experiments.parsing import parse
from psft_jax.data.table_writing import write_scans
from psft_jax.data.visit_files import Role, VisitFiles, roles_in_order
from psft_jax.errors import InputError
from psft_jax.phantoms.liver import LiverPhantomSettings, liver_cohort
from psft_jax.phantoms.liver_breathing import BreathingSettings, raw_visit
from psft_jax.preprocess.liver_files import NAMES, write_image, write_mask

TABLE = "scans.csv"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RawPhantomRun:
    """``python -m experiments.phantom_raw``.

    Args:
        task: detection, which the dataset sets.
        dataset: a liver phantom; of its channels nothing is used, since a scanner gives all phases.
        breathing: how the patients move.
        out: folder to write to, empty or not there yet.
    """

    task: TaskConfig
    dataset: LiverPhantomDataset
    breathing: BreathingSettings = field(default_factory=BreathingSettings)
    out: str


def run(config: RawPhantomRun) -> Path:
    """Write every visit of the cohort: ``SUBJECT/SESSION/{dce,dwi,liver,lesion}.nii.gz``.

    Returns:
        The table, which ``dataset=table_liver`` reads.

    Raises:
        InputError: the folder is not empty, or the disk is full.
    """
    folder = Path(config.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            folder,
            found="a file" if folder.is_file() else "a folder with something in it",
            expected="an empty folder, or none",
            remedy="Give another out=...",
        )
    visits = list(_visits(config.dataset.phantom))
    for visit in tqdm(visits, desc="writing visits", unit="visit", leave=False):
        _write(config, visit, folder)
    write_scans(folder / TABLE, visits, NAMES)
    return folder / TABLE


def _visits(phantom: LiverPhantomSettings) -> Iterator[VisitFiles]:
    """The visits of a cohort and their files, relative to the table."""
    cohort = liver_cohort(phantom)
    for patient in (*cohort.training, *cohort.test):
        roles = (Role.TRAINING,) if patient in cohort.training else roles_in_order(len(patient.visits))
        for visit, role in zip(patient.visits, roles, strict=True):
            dce, dwi, liver, lesion = (
                Path(visit.subject, visit.session, f"{name}.nii.gz")
                for name in ("dce", "dwi", "liver", "lesion")
            )
            yield VisitFiles(visit.subject, visit.session, role, ((dce,), (dwi,)), liver, lesion)


def _write(config: RawPhantomRun, visit: VisitFiles, folder: Path) -> None:
    raw = raw_visit(config.dataset.phantom, config.breathing, visit.subject, visit.session)
    (dce,), (dwi,) = visit.sequences
    write_image(folder / dce, raw.dce, raw.dce_affine)
    write_image(folder / dwi, raw.dwi, raw.dwi_affine)
    for mask, path in ((raw.organ, visit.organ), (raw.lesion, visit.lesion)):
        assert path is not None  # _visits names both
        write_mask(folder / path, mask, raw.dce_affine)


@hydra.main(version_base="1.3", config_path="../conf", config_name="phantom_raw")
def main(composed: DictConfig) -> None:
    """Write them, and say where the table is."""
    with errors_as_sentences():
        logger.info("table: %s", run(parse(composed, RawPhantomRun)))


if __name__ == "__main__":
    main()
