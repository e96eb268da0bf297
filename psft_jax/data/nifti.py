"""NIfTI files in and out: canonical (Z, Y, X) arrays inside, the file's own grid and orientation outside.

A file may have any orientation. Its axes are flipped and permuted into the closest RAS+ order and nothing is
resampled, so the arrays of an oblique acquisition follow its own axes, and its affine keeps the angle.
"""

from __future__ import annotations

import gzip
import io
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

from psft_jax.data.header import check_scaling, checked_affine, volumes_of
from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.scan import FileGrid, Mask, Scan, Volume

_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError)
_NIFTI = (nib.Nifti1Image, nib.Nifti2Image)
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

    A gzipped file is read to its end, so that its checksum is tested. Trailing axes of length 1 are dropped.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.

    Returns:
        The volume with its affine and the grid of the file.

    Raises:
        InputError: as ``read_series`` does, or the file holds several volumes.
    """
    first, *others = read_series(path)
    if others:
        raise InputError(
            path,
            found=f"a series of {1 + len(others)} volumes",
            expected="one 3-D volume",
            remedy="Split the series into one file for each volume, and give the one that is meant.",
        )
    return first


def read_series(path: str | Path) -> tuple[LoadedVolume, ...]:
    """Read a 4-D file (DCE phases, b-values) as its volumes, and a 3-D file as one.

    Raises:
        InputError: the file is missing, truncated or corrupt, neither 3-D nor 4-D, of a single slice, not of
            real numbers, without an orientation or with two that disagree, scaled by an infinite factor or
            offset, or it holds NaN, infinite values or values too large for float32.
    """
    path = Path(path)
    image = _open(path)
    shape, n_volumes = volumes_of(path, image)
    affine = checked_affine(path, image)
    values = _real_values(path, image).reshape(*shape, n_volumes)
    orientation = io_orientation(affine)
    canonical_affine = affine @ inv_ornt_aff(orientation, shape)
    canonical = apply_orientation(values, orientation)
    return tuple(
        LoadedVolume(
            path,
            np.ascontiguousarray(canonical[..., volume].transpose()),
            canonical_affine,
            FileGrid(shape, affine),
        )
        for volume in range(n_volumes)
    )


def count_volumes(path: Path) -> int | None:
    """How many volumes a file's header speaks of; None where it cannot be read, which reading will tell."""
    try:
        image = nib.load(path)
        return volumes_of(path, image)[1] if isinstance(image, _NIFTI) else None
    except (InputError, *_UNREADABLE):
        return None


def no_file(path: Path) -> InputError:
    """The error for a path at which there is no file."""
    return InputError(
        path,
        found="a folder" if path.is_dir() else "no such file",
        expected="a NIfTI file",
        remedy="Check the path, and that the download is complete.",
    )


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
        raise no_file(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read()
        sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")}
        image_class = nib.Nifti2Image if nib.Nifti2Header.sizeof_hdr in sizes else nib.Nifti1Image
        check_scaling(path, image_class.header_class.from_fileobj(io.BytesIO(content), check=False))
        image = image_class.from_bytes(content)
        expected_bytes = (
            cast(ArrayProxy, image.dataobj).offset + math.prod(image.shape) * image.get_data_dtype().itemsize
        )
        if len(content) < expected_bytes:
            raise EOFError(f"it holds {len(content)} bytes, and its header speaks of {expected_bytes}")
    except InputError:
        raise  # a ValueError too, but of a file that can be read
    except _UNREADABLE as error:
        raise InputError(
            path,
            found=f"a file that cannot be read ({error})",
            expected="a complete NIfTI-1 or NIfTI-2 file",
            remedy="It is cut short, corrupt or of another format: copy, download or convert it again.",
        ) from error
    return image


def _real_values(path: Path, image: nib.Nifti1Image) -> Float[np.ndarray, "i j k *volumes"]:
    """The image's values as float32 in the order of the file."""
    if image.get_data_dtype().kind not in "biuf":
        raise InputError(
            path,
            found=f"values of type {image.get_data_dtype()}",
            expected="real numbers",
            remedy="Export magnitude images, or label numbers instead of colours.",
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit becomes infinite, and is reported
        values = image.get_fdata(dtype=np.float32, caching="unchanged")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        proxy = cast(ArrayProxy, image.dataobj)
        scaled = (proxy.slope, proxy.inter) != (1, 0) and bool(np.isfinite(proxy.get_unscaled()).all())
        raise InputError(
            path,
            found=f"{bad} values that are NaN, infinite or too large"
            + (f" once scaled by the header (scl_slope {proxy.slope:g}, scl_inter {proxy.inter:g})" * scaled),
            expected="finite values",
            remedy="Convert the file again from its source: its numbers are finite, their scaling is wrong."
            if scaled
            else "Export the file again, or set these voxels (often the background) to 0.",
        )
    return values
