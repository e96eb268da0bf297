"""MSLesSeg: multiple sclerosis lesions in FLAIR and T1 at one to four visits, as published.

Skull-stripped, registered to MNI space, 1 mm. Guarnera et al., Scientific Data 12:920 (2025),
https://doi.org/10.6084/m9.figshare.27919209 (CC BY 4.0). A user's own visits can stand in the same layout;
their follow-up visits need no mask.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from psft_jax.data.brain import SEQUENCES, BrainFiles, check_complete, layout_error
from psft_jax.scan import Cohort, Patient, Provenance

logger = logging.getLogger(__name__)

LAYOUT = "[train/]P<n>/T<n>/P<n>_T<n>_{FLAIR,T1,MASK}.nii.gz"


def patients(root: str | Path) -> tuple[Patient, ...]:
    """All patients of the data set, by number, with their visits in the order of time.

    Only the existence of the files is checked here; they are read when a visit is loaded. A follow-up visit
    without a mask is one that nobody has annotated; a patient's first visit must have its mask.

    Args:
        root: the folder of the data set, or its subfolder ``train``.

    Raises:
        InputError: there are no such patients, or files are missing; it names all of them.
    """
    root = Path(root)
    folder = root / "train" if (root / "train").is_dir() else root
    listed = [_visits(patient) for patient in _numbered(folder, "P")]
    listed = [visits for visits in listed if visits]
    if not listed:
        raise layout_error(root, LAYOUT)
    check_complete(folder, [visit for visits in listed for visit in visits])
    return tuple(Patient(visits[0].subject, tuple(v.visit() for v in visits)) for visits in listed)


def cohort(root: str | Path, also_training: tuple[Patient, ...] = ()) -> Cohort:
    """Patients with one visit train the base CNN; those with two or more are test patients.

    Args:
        root: see ``patients``.
        also_training: patients of another data set with the same sequences, for training.

    Raises:
        InputError: see ``patients``, and ``psft_jax.scan.Cohort``.
    """
    found = patients(root)
    return Cohort(
        name="mslesseg",
        provenance=Provenance.REAL,
        sequences=SEQUENCES,
        training=(*(p for p in found if len(p.visits) == 1), *also_training),
        test=tuple(p for p in found if len(p.visits) > 1),
    )


def _visits(patient: Path) -> list[BrainFiles]:
    """The visits in one patient's folder, earliest first."""
    visits: list[BrainFiles] = []
    for folder in _numbered(patient, "T"):
        stem = f"{patient.name}_{folder.name}"
        mask = folder / f"{stem}_MASK.nii.gz"
        if visits and not mask.is_file():
            logger.info("%s: no %s, so this visit is quantified without a reference", folder, mask.name)
        visits.append(
            BrainFiles(
                subject=f"mslesseg-{patient.name}",
                session=folder.name,
                flair=folder / f"{stem}_FLAIR.nii.gz",
                t1=folder / f"{stem}_T1.nii.gz",
                lesion=mask if mask.is_file() or not visits else None,
            )
        )
    return visits


def _numbered(folder: Path, letter: str) -> list[Path]:
    """The subfolders P1, P2, ... or T1, T2, ... by number, so that T10 follows T9."""
    if not folder.is_dir():
        return []
    named = [entry for entry in folder.iterdir() if re.fullmatch(rf"{letter}\d+", entry.name)]
    return sorted((entry for entry in named if entry.is_dir()), key=lambda entry: int(entry.name[1:]))
