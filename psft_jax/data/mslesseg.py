"""MSLesSeg: multiple sclerosis lesions in FLAIR and T1 at one to four visits, as published.

Skull-stripped, registered to MNI space, 1 mm. Guarnera et al., Scientific Data 12:920 (2025),
https://doi.org/10.6084/m9.figshare.27919209 (CC BY 4.0). A user's own visits can stand in the same layout;
their follow-up visits need no mask.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from psft_jax.data.brain import published
from psft_jax.data.listing import Listing, layout_error
from psft_jax.data.visit_files import Role, VisitFiles, as_stored, roles_in_order

logger = logging.getLogger(__name__)

LAYOUT = "[train/]P<n>/T<n>/P<n>_T<n>_{FLAIR,T1,MASK}.nii.gz"


def find(root: str | Path) -> Listing:
    """All visits of the data set, patients by number and their visits in the order of time.

    Patients with one visit train the base CNN; those with two or more are test patients. A follow-up visit
    without a mask is one that nobody has annotated; a patient's first visit must have its mask.

    Args:
        root: the folder of the data set, or its subfolder ``train``.

    Raises:
        InputError: there are no such patients.
    """
    root = Path(root)
    folder = root / "train" if (root / "train").is_dir() else root
    visits = [visit for patient in _numbered(folder, "P") for visit in _visits(patient)]
    if not visits:
        raise layout_error(root, LAYOUT)
    return published("mslesseg", folder, visits)


def _visits(patient: Path) -> list[VisitFiles]:
    """The visits in one patient's folder, earliest first."""
    folders = _numbered(patient, "T")
    visits: list[VisitFiles] = []
    for folder, role in zip(folders, roles_in_order(len(folders)), strict=True):
        stem = f"{patient.name}_{folder.name}"
        flair, t1, mask = (folder / f"{stem}_{what}.nii.gz" for what in ("FLAIR", "T1", "MASK"))
        unannotated = role is Role.FOLLOW_UP and not as_stored(mask).is_file()
        if unannotated:
            logger.info("%s: no %s, so this visit is quantified without a reference", folder, mask.name)
        lesion = None if unannotated else mask
        subject = f"mslesseg-{patient.name}"
        visits.append(VisitFiles(subject, folder.name, role, ((flair,), (t1,)), None, lesion))
    return visits


def _numbered(folder: Path, letter: str) -> list[Path]:
    """The subfolders P1, P2, ... or T1, T2, ... by number, so that T10 follows T9."""
    if not folder.is_dir():
        return []
    named = [entry for entry in folder.iterdir() if re.fullmatch(rf"{letter}\d+", entry.name)]
    return sorted((entry for entry in named if entry.is_dir()), key=lambda entry: int(entry.name[1:]))
