"""What a NIfTI header must say before its voxels are used: how many, how scaled, and where they are.

The sform says where the voxels are, and the qform where there is no sform (NIfTI's own order of preference).
Where both are set they must agree: of two places one is wrong, and programs differ in which of them they use.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError

from psft_jax.errors import InputError

FORMS_DISAGREE = 0.5
"""Voxels, of the smallest side, by which sform and qform may place a corner of the volume differently."""


def volumes_of(path: Path, image: nib.Nifti1Image) -> tuple[tuple[int, int, int], int]:
    """The spatial shape (I, J, K) and the number of volumes of a 3-D file or a 4-D series.

    Raises:
        InputError: the file has another number of dimensions, or a single slice.
    """
    shape = image.shape
    volumes = int(np.prod(shape[3:], dtype=np.int64))
    series = sum(n != 1 for n in shape[3:]) <= 1
    if len(shape) < 3 or not series or min(shape) < 1:
        raise InputError(
            path,
            found=f"an image of shape {shape}",
            expected="one 3-D volume, or a series of them",
            remedy="Split what has more dimensions into one file for each volume.",
        )
    if min(shape[:3]) == 1:
        raise InputError(
            path,
            found=f"a single slice (shape {shape})",
            expected="a volume of several slices",
            remedy="Give the whole volume: this may be a localiser, or one slice of a series.",
        )
    return (shape[0], shape[1], shape[2]), volumes


def check_scaling(path: Path, header: nib.Nifti1Header) -> None:
    """Check the factor and the offset by which stored numbers become intensities.

    A factor of 0 means that they are not scaled (NIfTI), and so does NaN, which nibabel writes; the offset
    then plays no part.

    Args:
        path: the file.
        header: as it is in the file; nibabel's images forget the factor.

    Raises:
        InputError: the factor is infinite, or the offset of a scaled file is not finite.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope):
        wrong = f"the scaling factor {slope:g} (scl_slope)"
    elif slope and not np.isnan(slope) and not np.isfinite(intercept):
        wrong = f"the scaling offset {intercept:g} (scl_inter)"
    else:
        return
    raise InputError(
        path,
        found=f"{wrong} in the header",
        expected="a finite factor and offset, or a factor of 0 for none",
        remedy="Convert the file again from its source: its intensities are lost.",
    )


def checked_affine(path: Path, image: nib.Nifti1Image) -> Float[np.ndarray, "4 4"]:
    """The affine of the file, which must say where the voxels are.

    Raises:
        InputError: there is none, it is not invertible, or sform and qform disagree.
    """
    header = image.header
    coded = header["sform_code"] > 0 or header["qform_code"] > 0
    affine = np.asarray(image.affine, dtype=np.float64)
    if not coded or not np.isfinite(affine).all() or not np.isfinite(io_orientation(affine)).all():
        raise InputError(
            path,
            found="an affine that is not invertible" if coded else "no orientation (qform and sform code 0)",
            expected="an affine from voxels to millimetres, so that left and right are known",
            remedy="Convert the file again from its source with the orientation kept.",
        )
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        _check_forms(path, image, affine)
    return affine


def _check_forms(path: Path, image: nib.Nifti1Image, sform: Float[np.ndarray, "4 4"]) -> None:
    try:
        qform = image.header.get_qform()
    except (HeaderDataError, ValueError):
        qform = np.full((4, 4), np.nan)  # a quaternion that is none
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in image.shape[:3]))])
    with np.errstate(over="ignore", invalid="ignore"):  # of a damaged header
        apart = float(np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max())
        allowed = FORMS_DISAGREE * float(nib.affines.voxel_sizes(sform).min())
    if not apart <= allowed:
        raise InputError(
            path,
            found=f"an sform and a qform that place the voxels up to {apart:.3g} mm apart",
            expected=f"one place: a difference below {allowed:.3g} mm, half a voxel",
            remedy="See which is right (overlay the file on another of the visit), and copy it over the "
            "other, for instance with nibabel: image.set_qform(image.get_sform(), code='aligned').",
        )
