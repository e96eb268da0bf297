"""Files of a liver examination: series on one grid read, and series and masks on another written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from psft_jax.data.assemble import MaskRules, binary_mask, check_same_grid, on_grid_of
from psft_jax.data.nifti import LoadedVolume, count_volumes, read_series, read_volume
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.preprocess.coordinates import Affine
from psft_jax.preprocess.liver_alignment import LESION, LIVER, RawSeries
from psft_jax.scan import Image, Mask

NAMES = ("DCE", "DWI")


def read_examination(
    visit: VisitFiles, *, resample_masks: bool
) -> tuple[RawSeries, RawSeries, dict[str, Mask]]:
    """The phases, the b-values, and the masks that there are by name.

    Args:
        visit: names the files.
        resample_masks: bring masks on another grid onto that of the phases, by the nearest voxel.

    Raises:
        InputError: a file cannot be read, the volumes of a sequence lie on different grids, or a mask lies on
            another than the phases (unless it is to be resampled) or has other labels than 0 and 1.
    """
    dce, first = _read_series(visit.sequences[0])
    dwi, _ = _read_series(visit.sequences[1])
    given = {LIVER: visit.organ, LESION: visit.lesion}
    there = {name: path for name, path in given.items() if path is not None}
    masks = {name: _read_mask(path, first, resample_masks) for name, path in there.items()}
    return dce, dwi, masks


def _read_series(files: Sequence[Path]) -> tuple[RawSeries, LoadedVolume]:
    """All volumes of a sequence, in one file or several, and the first of them as it was read."""
    volumes = [volume for file in files for volume in read_series(file)]
    for other in volumes[1:]:
        check_same_grid(volumes[0], other, remedy="Give the volumes as they were acquired, on one grid.")
    return RawSeries(np.stack([volume.data for volume in volumes]), volumes[0].affine), volumes[0]


def _read_mask(path: Path, first: LoadedVolume, resample: bool) -> Mask:
    return binary_mask(on_grid_of(first, read_volume(path), MaskRules(resample=resample)))


def check_numbers(visits: Sequence[VisitFiles]) -> None:
    """Check that all visits of a subject have as many phases, and as many b-values, before anything long.

    Files whose headers cannot be read are left to the reader.

    Raises:
        InputError: the numbers differ, or there is only one phase.
    """
    for place, name in enumerate(NAMES):
        usual = None
        for visit in visits:
            counts = [count_volumes(file) for file in visit.sequences[place]]
            number = sum(count for count in counts if count is not None)
            if None in counts:
                continue
            usual = usual or number
            least = 2 if name == "DCE" else 1
            if number != usual or number < least:
                raise InputError(
                    ", ".join(map(str, visit.sequences[place])),
                    found=f"{number} volumes of {name}",
                    expected=f"{usual}, as in the subject's first visit"
                    if number != usual
                    else "a series of phases, before and after contrast",
                    remedy="Give all volumes of the sequence, in the order of their acquisition.",
                )


def write_image(path: Path, image: Image, affine: Affine) -> None:
    """Write a series (Z, Y, X, C) as one 4-D NIfTI of scaled 16-bit integers, finer than any scanner's noise.

    Raises:
        InputError: the file exists, or the disk is full.
    """
    _write(path, nib.Nifti1Image(image.transpose(2, 1, 0, 3), affine, dtype=np.int16))


def write_mask(path: Path, mask: Mask, affine: Affine) -> None:
    """Write a mask (Z, Y, X) as NIfTI, 0 and 1.

    Raises:
        InputError: the file exists, or the disk is full.
    """
    _write(path, nib.Nifti1Image(mask.astype(np.uint8).transpose(), affine))


def _write(path: Path, image: nib.Nifti1Image) -> None:
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
