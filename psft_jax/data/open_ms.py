"""3D MR image database of multiple sclerosis patients with consensus lesion masks (Ljubljana), as published.

The cross-sectional part in MNI space: skull-stripped, bias-corrected, 1 mm, one visit a patient. Lesjak et
al., Neuroinformatics 16 (2018), https://doi.org/10.1007/s12021-017-9348-7 (CC BY).
"""

from __future__ import annotations

from pathlib import Path

from psft_jax.data.brain import BrainFiles, check_complete, layout_error
from psft_jax.scan import Patient

FLAIR = "FLAIR_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
T1 = "T1_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
LESION = "GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI.nii.gz"
LAYOUT = f"cross_sectional/MNI/patient<nn>/{{{FLAIR}, {T1}, {LESION}}}"


def patients(root: str | Path) -> tuple[Patient, ...]:
    """All patients of the cross-sectional part, each with the single session ``MNI``.

    Only the existence of the files is checked here; they are read when a visit is loaded.

    Args:
        root: the folder of the data set, which holds ``cross_sectional``.

    Raises:
        InputError: there are no such patients, or files are missing; it names all of them.
    """
    root = Path(root)
    folder = root / "cross_sectional" / "MNI"
    visits = [
        BrainFiles(f"open_ms-{patient.name}", "MNI", patient / FLAIR, patient / T1, patient / LESION)
        for patient in sorted(folder.glob("patient*"))
        if patient.is_dir()
    ]
    if not visits:
        raise layout_error(root, LAYOUT)
    check_complete(root, visits)
    return tuple(Patient(visit.subject, (visit.visit(),)) for visit in visits)
