"""The layout of the 3D MR image database of multiple sclerosis patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import open_ms
from psft_jax.errors import InputError


@pytest.fixture
def root(write_nifti: Callable[..., Path], stripped: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two patients in the published layout."""
    lesion = np.zeros((3, 4, 5), dtype=np.uint8)
    lesion[0, 0, 0] = 1
    for number in ("19", "07"):
        folder = f"cross_sectional/MNI/patient{number}"
        write_nifti(f"{folder}/{open_ms.FLAIR}", stripped((3, 4, 5), int(number)))
        write_nifti(f"{folder}/{open_ms.T1}", np.ones((3, 4, 5), dtype=np.float32))
        write_nifti(f"{folder}/{open_ms.LESION}", lesion)
    return tmp_path


def test_patients_have_one_session(root: Path) -> None:
    found = open_ms.patients(root)
    assert [p.subject for p in found] == ["open_ms-patient07", "open_ms-patient19"]
    assert [[v.session for v in p.visits] for p in found] == [["MNI"], ["MNI"]]
    scan = found[1].baseline.load()
    assert scan.name == "open_ms-patient19_MNI"
    assert (scan.sequences[0][scan.organ] == 19).all()
    assert (scan.sequences[1] == 1).all()
    assert scan.lesion is not None
    assert np.argwhere(scan.lesion).tolist() == [[0, 0, 2]]  # the files are LAS


def test_missing_files_are_named(root: Path) -> None:
    (root / "cross_sectional/MNI/patient07" / open_ms.LESION).unlink()
    (root / "cross_sectional/MNI/patient19" / open_ms.T1).unlink()
    with pytest.raises(InputError, match=r"2 missing files: .*patient07/GOLD.*patient19/T1"):
        open_ms.patients(root)


def test_another_folder_is_described(root: Path) -> None:
    with pytest.raises(
        InputError, match="a folder with MNI; expected files in the layout cross_sectional/MNI"
    ):
        open_ms.patients(root / "cross_sectional")
