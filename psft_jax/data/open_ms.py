"""3D MR image database of multiple sclerosis patients (Ljubljana), as published.

The cross-sectional part in MNI space with consensus lesion masks: skull-stripped, bias-corrected, 1 mm, one
visit a patient. Lesjak et al., Neuroinformatics 16 (2018), https://doi.org/10.1007/s12021-017-9348-7 (CC BY).

The longitudinal part: two visits a patient, as they left the scanner or coregistered, without lesion masks.
Its ``gt.nii.gz`` marks the lesions that changed between the visits. Lesjak et al., Neuroinformatics 14
(2016).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from psft_jax.data.brain import SEQUENCES, published
from psft_jax.data.listing import Listing, layout_error
from psft_jax.data.visit_files import Role, VisitFiles, more_than_one, roles_in_order
from psft_jax.errors import InputError

FLAIR = "FLAIR_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
T1 = "T1_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
LESION = "GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI.nii.gz"
LAYOUT = f"cross_sectional/MNI/patient<nn>/{{{FLAIR}, {T1}, {LESION}}}"
LONGITUDINAL = "longitudinal/<space>/patient<nn>/study<n>_{FLAIR,T1W}.nii.gz"
CHANGES = (
    "gt.nii.gz marks the lesions that changed between the two visits. It is no lesion mask and is not read: "
    "annotate the first visit before fine-tuning on it."
)
_IMAGE = re.compile(r"(?:patient\d+_)?(study\d+)_(FLAIR|T1W)(?:reg)?\.nii(?:\.gz)?")


class Space(StrEnum):
    """Which version of the longitudinal images."""

    RAW = "raw"
    """As they left the scanner: FLAIR and T1 of different grids, not skull-stripped."""
    COREGISTERED = "coregistered"
    """Bias-corrected, both visits on one grid, with a brain mask."""


def find(root: str | Path) -> Listing:
    """The cross-sectional part, each patient with the single session ``MNI``, for training.

    Args:
        root: the folder of the data set, which holds ``cross_sectional``.

    Raises:
        InputError: there are no such patients.
    """
    root = Path(root)
    folder = root / "cross_sectional" / "MNI"
    visits = [
        VisitFiles(
            subject=f"open_ms-{patient.name}",
            session="MNI",
            role=Role.TRAINING,
            sequences=((patient / FLAIR,), (patient / T1,)),
            organ=None,
            lesion=patient / LESION,
        )
        for patient in sorted(folder.glob("patient*"))
        if patient.is_dir()
    ]
    if not visits:
        raise layout_error(root, LAYOUT)
    return published("open_ms", root, visits)


def find_longitudinal(root: str | Path, space: Space) -> Listing:
    """The longitudinal part: the first study of a patient is the baseline, the second the follow-up.

    No visit has a lesion mask. The raw images need preprocessing before a scan can be made of them, since
    FLAIR and T1 have different grids.

    Args:
        root: the folder of the data set, which holds ``longitudinal``.
        space: raw or coregistered.

    Raises:
        InputError: there are no such patients.
    """
    root = Path(root)
    folder = root / "longitudinal" / space.value
    visits: list[VisitFiles] = []
    unusable: list[InputError] = []
    folders = sorted(entry for entry in folder.glob("patient*") if entry.is_dir())
    for patient in folders:
        studies, brains = _studies(patient), sorted(patient.glob("*brainmask.nii*"))
        wrong = _wrong(patient, studies, brains)
        unusable += wrong
        if wrong:
            continue
        brain = brains[0] if brains else None
        for (study, of), role in zip(studies.items(), roles_in_order(len(studies)), strict=True):
            images = ((of["FLAIR"][0],), (of["T1W"][0],))
            visits.append(VisitFiles(f"open_ms-{patient.name}", study, role, images, brain, None))
    if not folders:
        raise layout_error(folder if folder.is_dir() else root, LONGITUDINAL.replace("<space>", space.value))
    return Listing(
        f"open_ms_{space.value}",
        folder,
        SEQUENCES,
        tuple(visits),
        unusable=tuple(unusable),
        notes=(CHANGES,),
        annotated=False,
    )


def _studies(patient: Path) -> dict[str, dict[str, list[Path]]]:
    """The images of each study by sequence, earliest first."""
    studies: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(patient.iterdir()):
        named = _IMAGE.fullmatch(path.name)
        if named:
            studies.setdefault(named[1], {}).setdefault(named[2], []).append(path)
    return studies


def _wrong(patient: Path, studies: dict[str, dict[str, list[Path]]], brains: list[Path]) -> list[InputError]:
    """What is wrong with the files of a patient."""
    images = {
        f"{sequence} of {study}": paths for study, of in studies.items() for sequence, paths in of.items()
    }
    several = {what: paths for what, paths in {**images, "brain mask": brains}.items() if len(paths) > 1}
    problems = [more_than_one(paths, what) for what, paths in several.items()]
    if len(studies) < 2 or any(of.keys() != {"FLAIR", "T1W"} for of in studies.values()):
        found = [path.name for paths in images.values() for path in paths]
        problems.append(
            InputError(
                patient,
                found=", ".join(found) or "no images",
                expected="FLAIR and T1W of two studies",
                remedy="Complete the download, or move the patient out of the folder.",
            )
        )
    return problems
