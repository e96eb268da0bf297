"""A mask drawn on another grid of the same space, where the user asks for it to be resampled."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

from psft_jax.data.nifti import LoadedVolume
from psft_jax.errors import InputError


def nearest(mask: LoadedVolume, reference: LoadedVolume) -> LoadedVolume:
    """A mask on the grid of a reference: each voxel has the label nearest to it; 0 outside the mask's grid.

    The two must lie in one space, for this is no registration. Lesions that are smaller than a voxel of the
    reference may be lost.

    Raises:
        InputError: the mask has labels, and none of them lies inside the reference.
    """
    image = nib.Nifti1Image(mask.data.transpose(), mask.affine)
    grid = (reference.data.shape[::-1], reference.affine)
    # A voxel ends half its side beyond its centre: what lies there still has its label.
    resampled = resample_from_to(image, grid, order=0, mode="grid-constant")
    moved = np.asarray(resampled.dataobj, dtype=np.float32).transpose()
    if mask.data.any() and not moved.any():
        raise InputError(
            mask.path,
            found="a mask that shares no voxel with the scan",
            expected=f"a mask in the space of {reference.path}",
            remedy="Register it first: resampling moves no anatomy.",
        )
    data = np.ascontiguousarray(moved)
    return replace(mask, data=data, affine=reference.affine, file_grid=reference.file_grid)
