"""Small NIfTI files for the tests of the readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

LAS = np.array([[-1.0, 0, 0, 4], [0, 2, 0, -6], [0, 0, 3, 10], [0, 0, 0, 1]])


@pytest.fixture
def stripped() -> Callable[..., np.ndarray]:
    """An image of one value, with as much of a background of 0 as a skull-stripped image must have."""

    def fill(shape: tuple[int, int, int], value: float) -> np.ndarray:
        image = np.full(shape, value, dtype=np.float32)
        image[..., -1].flat[1:] = 0
        return image

    return fill


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Write an array in file order (i, j, k) under tmp_path; in LAS orientation unless told otherwise."""

    def write(name: str, values: np.ndarray, affine: np.ndarray = LAS) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, affine), path)
        return path

    return write
