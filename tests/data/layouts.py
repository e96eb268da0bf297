"""Small data sets in the layouts that people have: a ball for a brain in a background of 0, with a lesion."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (12, 14, 10)  # (I, J, K) in the files
LAS = np.array([[-1.0, 0, 0, 6], [0, 1, 0, -7], [0, 0, 3, -15], [0, 0, 0, 1]])


def brain(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Positive intensities inside a ball that touches the sides of the volume, 0 outside."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = np.sum(np.square(axes), axis=0) <= 1.02
    values = np.random.default_rng(seed).uniform(50, 150, shape)
    return np.where(inside, values, 0).astype(np.float32)


def lesion(voxels: int = 2) -> np.ndarray:
    """A mask with one lesion of so many voxels along the first axis of the file, near the centre."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[5 : 5 + voxels, 7, 5] = 1
    return mask


def save(path: Path, values: np.ndarray, affine: np.ndarray = LAS) -> Path:
    """Write a file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def bids_visit(
    root: Path, subject: str, session: str, *, mask: bool = True, derivatives: str = "derivatives/manual"
) -> None:
    """FLAIR, T1w and, in derivatives, a lesion mask of one session."""
    place = Path(f"sub-{subject}") / (f"ses-{session}" if session else "") / "anat"
    stem = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    save(root / place / f"{stem}_FLAIR.nii.gz", brain(1))
    save(root / place / f"{stem}_T1w.nii.gz", brain(2))
    if mask:
        save(root / derivatives / place / f"{stem}_label-L_desc-manual_mask.nii.gz", lesion())
