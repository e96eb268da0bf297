"""NIfTI files in and out: canonical (Z, Y, X) arrays inside, the file's own grid and orientation outside."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from jaxtyping import Float, UInt8
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.scan import FileGrid, Mask, Scan, Volume

_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError)
_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])  # file axes i, j, k run along +x, +y, +z: RAS+


@dataclass(frozen=True, eq=False)
class LoadedVolume:
    """One 3-D file, brought to canonical order.

    Args:
        path: the file it came from.
        data: (Z, Y, X) float32.
        affine: 4x4, from voxel indices in the order (x, y, z) of ``data`` to RAS+ mm.
        file_grid: the grid in the file.
    """

    path: Path
    data: Volume
    affine: Float[np.ndarray, "4 4"]
    file_grid: FileGrid

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along (Z, Y, X), in mm."""
        x, y, z = map(float, nib.affines.voxel_sizes(self.affine))
        return z, y, x


def read_volume(path: str | Path) -> LoadedVolume:
    """Read a NIfTI-1 or NIfTI-2 file, in whatever orientation, as a canonical volume.

    The axes are flipped and permuted to the closest RAS+ order, never resampled. A gzipped file is read to
    its end, so that its checksum is tested. Trailing axes of length 1 are dropped.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.

    Returns:
        The volume with its affine and the grid of the file.

    Raises:
        InputError: the file is missing, truncated or corrupt, not 3-D, not of real numbers, without an
            orientation, or holds NaN or infinite values.
    """
    path = Path(path)
    image = _open(path)
    values = _real_3d(path, image)
    affine = _checked_affine(path, image)
    orientation = io_orientation(affine)
    data = np.ascontiguousarray(apply_orientation(values, orientation).transpose())
    canonical_affine = affine @ inv_ornt_aff(orientation, values.shape)
    i, j, k = values.shape
    return LoadedVolume(path, data, canonical_affine, FileGrid((i, j, k), affine))


def write_volume(
    path: str | Path,
    volume: Volume | Mask | UInt8[np.ndarray, "z y x"],
    scan: Scan,
    *,
    overwrite: bool = False,
) -> None:
    """Write a canonical volume that belongs to ``scan`` on the grid of the file that the scan was read from.

    A scan that was generated has no such file; its volumes are written in RAS+ order. Masks become uint8,
    everything else float32.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.
        volume: (Z, Y, X) mask, probability or standard deviation, of the scan's shape.
        scan: the scan that the volume belongs to.
        overwrite: replace a file that is already there.

    Raises:
        InputError: the suffix or the shape is wrong, the file exists, or the disk is full (an earlier file
            is then left as it was).
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(
            path,
            found=f"the file name {path.name}",
            expected="a name that ends in .nii or .nii.gz",
            remedy="Choose such a name.",
        )
    if volume.shape != scan.shape:
        raise InputError(
            path,
            found=f"a volume of shape {volume.shape}",
            expected=f"the shape {scan.shape} of scan {scan.name}",
            remedy="Write each volume with the scan that it was computed from.",
        )
    data = volume.astype(np.uint8 if volume.dtype in (np.bool_, np.uint8) else np.float32).transpose()
    affine = scan.affine
    if scan.file_grid is not None:
        affine = scan.file_grid.affine
        data = apply_orientation(data, ornt_transform(_CANONICAL, io_orientation(affine)))
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path, overwrite=overwrite) as temporary:
        nib.save(image, temporary)


def _open(path: Path) -> nib.Nifti1Image:
    """The image in a file, its bytes all read and, where gzipped, their checksum tested."""
    if not path.is_file():
        raise InputError(
            path,
            found="a folder" if path.is_dir() else "no such file",
            expected="a NIfTI file",
            remedy="Check the path, and that the download is complete.",
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read()
        sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")}
        image_class = nib.Nifti2Image if nib.Nifti2Header.sizeof_hdr in sizes else nib.Nifti1Image
        image = image_class.from_bytes(content)
        expected_bytes = (
            cast(ArrayProxy, image.dataobj).offset + math.prod(image.shape) * image.get_data_dtype().itemsize
        )
        if len(content) < expected_bytes:
            raise EOFError(f"it holds {len(content)} bytes, and its header speaks of {expected_bytes}")
    except _UNREADABLE as error:
        raise InputError(
            path,
            found=f"a file that cannot be read ({error})",
            expected="a complete NIfTI-1 or NIfTI-2 file",
            remedy="It is cut short, corrupt or of another format: copy, download or convert it again.",
        ) from error
    return image


def _real_3d(path: Path, image: nib.Nifti1Image) -> Float[np.ndarray, "i j k"]:
    """The image's values as float32 in the order of the file."""
    shape = image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or min(shape) < 1:
        raise InputError(
            path,
            found=f"an image of shape {shape}",
            expected="one 3-D volume",
            remedy="Split a series into one file for each volume.",
        )
    if image.get_data_dtype().kind not in "biuf":
        raise InputError(
            path,
            found=f"values of type {image.get_data_dtype()}",
            expected="real numbers",
            remedy="Export magnitude images, or label numbers instead of colours.",
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit becomes infinite, and is reported
        values = image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape[:3])
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise InputError(
            path,
            found=f"{bad} values that are NaN, infinite or too large",
            expected="finite values",
            remedy="Export the file again, or set these voxels (often the background) to 0.",
        )
    return values


def _checked_affine(path: Path, image: nib.Nifti1Image) -> Float[np.ndarray, "4 4"]:
    """The affine of the file, which must say where the voxels are."""
    coded = image.header["sform_code"] > 0 or image.header["qform_code"] > 0
    affine = np.asarray(image.affine, dtype=np.float64)
    if coded and np.isfinite(affine).all() and np.isfinite(io_orientation(affine)).all():
        return affine
    raise InputError(
        path,
        found="an affine that is not invertible" if coded else "no orientation (qform and sform code 0)",
        expected="an affine from voxels to millimetres, so that left and right are known",
        remedy="Convert the file again from its source with the orientation kept.",
    )
