"""Volumes that were read one by one become a Scan, once their grids and labels have been checked."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from nibabel.orientations import io_orientation

from psft_jax.data.nifti import LoadedVolume
from psft_jax.data.resample import nearest
from psft_jax.errors import InputError
from psft_jax.objects import largest_filled
from psft_jax.scan import Image, Mask, Scan, Volume, bounding_box

AFFINE_TOLERANCE_MM = 1e-3  # what float32 headers and other tools' rounding lose, and far below a voxel
LABEL_TOLERANCE = 1e-3  # masks that were stored as scaled integers or floats hold 0.9999998 for 1
BORDER_SHARE = 0.25
"""An organ covers less than this of at least one face of its bounding box (``check_background``)."""


REGISTER = (
    "Bring them onto one grid: python -m experiments.preprocess does so with scans as they left the scanner "
    "(docs/preprocessing.md)."
)


@dataclass(frozen=True)
class MaskRules:
    """How a layout's masks are read.

    Args:
        resample: bring masks on another grid onto that of the images (``psft_jax.data.resample``); without it
            they are refused.
        ignored_label: a label of the lesion masks that is neither lesion nor scored, such as the other
            pathology (2) of the WMH challenge. Its voxels leave the organ mask.
        whole_image: without an organ mask the whole image is the organ, and not ``nonzero_organ``.
    """

    resample: bool = False
    ignored_label: int | None = None
    whole_image: bool = False


def assemble(
    subject: str,
    session: str,
    sequences: tuple[Listed[LoadedVolume], Listed[LoadedVolume]],
    organ: LoadedVolume | None,
    lesion: LoadedVolume | None,
    rules: MaskRules | None = None,
) -> Scan:
    """Build a scan from volumes that share one grid.

    Args:
        subject: the patient's identifier.
        session: the visit's identifier.
        sequences: for each of the two sequences its volumes, one a channel.
        organ: the organ mask, or None for skull-stripped images, whose organ is ``nonzero_organ`` of the
            first channel of the first sequence (or as the rules have it).
        lesion: the reference annotation, or None where there is none. It may be empty: a visit without
            lesions is a valid annotation.
        rules: how the masks are read, without one as ``MaskRules`` has it.

    Returns:
        The scan on the canonical grid of the first volume, whose file's grid it remembers.

    Raises:
        InputError: the volumes differ in shape or affine, a mask holds other labels than 0 and 1, the organ
            mask is empty, or there is none and the image is 0 everywhere or its background is not 0.
    """
    rules = rules or MaskRules()
    first = sequences[0][0]
    for other in chain(*sequences):
        check_same_grid(first, other)
    if organ is not None:
        organ_mask = binary_mask(on_grid_of(first, organ, rules))
        _check_organ(organ, organ_mask)
    elif rules.whole_image:
        organ_mask = np.ones(first.data.shape, dtype=bool)
    else:
        organ_mask = nonzero_organ(first.data)
        check_background(first, organ_mask)
    lesion_mask = None
    if lesion is not None:
        lesion_mask, ignored = lesion_and_ignored(on_grid_of(first, lesion, rules), rules)
        organ_mask &= ~ignored
    return Scan(
        subject=subject,
        session=session,
        sequences=(_stack(sequences[0]), _stack(sequences[1])),
        organ=organ_mask,
        lesion=lesion_mask,
        spacing_mm=first.spacing_mm,
        affine=first.affine,
        file_grid=first.file_grid,
    )


def check_same_grid(reference: LoadedVolume, other: LoadedVolume, *, remedy: str = REGISTER) -> None:
    """Check that two volumes lie voxel on voxel in their canonical order.

    The files may store them in different orientations.

    Raises:
        InputError: the shapes differ, or an entry of the affines by more than ``AFFINE_TOLERANCE_MM``.
    """
    if other.data.shape != reference.data.shape:
        found, expected = f"shape (Z, Y, X) {other.data.shape}", f"{reference.data.shape}"
    else:
        # As stored where possible: flipping an axis adds its rounding errors up into the origin.
        affines = other.file_grid.affine, reference.file_grid.affine
        if not np.array_equal(*map(io_orientation, affines)):
            affines = other.affine, reference.affine
        difference = float(np.abs(affines[0] - affines[1]).max())
        if difference <= AFFINE_TOLERANCE_MM:
            return
        found = f"an affine with the rows {_rows(affines[0])}"
        expected = f"{_rows(affines[1])} within {AFFINE_TOLERANCE_MM:g} mm"
    raise InputError(
        other.path,
        found=found,
        expected=f"{expected}, as in {reference.path}",
        remedy=remedy,
    )


def on_grid_of(reference: LoadedVolume, mask: LoadedVolume, rules: MaskRules) -> LoadedVolume:
    """A mask on the grid of the images, resampled where it lies on another and the rules ask for it.

    Raises:
        InputError: it lies on another grid, or, resampled, elsewhere altogether.
    """
    try:
        check_same_grid(
            reference,
            mask,
            remedy="Draw or resample the mask on the grid of the images. Layouts with the option "
            "resample_masks do so by the nearest voxel where it is true.",
        )
    except InputError:
        if not rules.resample:
            raise
        return nearest(mask, reference)
    return mask


def lesion_and_ignored(lesion: LoadedVolume, rules: MaskRules) -> tuple[Mask, Mask]:
    """The lesions of a mask, and the voxels with the label that the rules ignore.

    Raises:
        InputError: another label occurs.
    """
    if rules.ignored_label is None:
        return binary_mask(lesion), np.zeros(lesion.data.shape, dtype=bool)
    ignored = np.abs(lesion.data - rules.ignored_label) <= LABEL_TOLERANCE
    return binary_mask(replace(lesion, data=np.where(ignored, np.float32(0), lesion.data))), ignored


def binary_mask(volume: LoadedVolume) -> Mask:
    """The voxels that hold the label 1, in a mask of 0 and 1 or of floats within ``LABEL_TOLERANCE`` of them.

    Raises:
        InputError: another label occurs.
    """
    found = np.unique(volume.data)
    nearest = np.rint(found)
    if np.isin(nearest, (0, 1)).all() and np.abs(found - nearest).max() <= LABEL_TOLERANCE:
        return np.rint(volume.data) == 1
    shown = ", ".join(f"{value:g}" for value in found[:8])
    scaled = "" if not np.isin(nearest, (0, 255)).all() else " Divide a mask of 0 and 255 by 255."
    raise InputError(
        volume.path,
        found=f"the labels {shown}" + (f" and {found.size - 8} more" if found.size > 8 else ""),
        expected="only 0, 1",
        remedy=f"Give the binary mask: not an image, a probability or a map of several structures.{scaled}",
    )


def nonzero_organ(volume: Volume) -> Mask:
    """The organ in an image whose outside was set to 0 (a skull-stripped brain).

    It is the largest 26-connected component of the voxels that are not 0, with its holes filled. It is empty
    where the volume is all 0, which ``check_background`` refuses.

    >>> row = np.array([[[0, 5, 0, 7, 7, 0]]], dtype=np.float32)
    >>> nonzero_organ(row).astype(int).tolist()
    [[[0, 0, 0, 1, 1, 0]]]
    """
    return largest_filled(volume != 0)


def check_background(volume: LoadedVolume, organ: Mask) -> None:
    """Check that ``nonzero_organ`` found an organ in an image, and not its field of view.

    A brain is round: it touches some face of its bounding box with a few voxels, also where the field of view
    cuts it into a slab. Noise, or any other background that is not 0, covers all six faces. (A head whose air
    is 0 is round too. It passes: nothing but its skull tells it from a brain.)

    Args:
        volume: the image.
        organ: (Z, Y, X) its ``nonzero_organ``.

    Raises:
        InputError: there is none, or it covers ``BORDER_SHARE`` or more of every face of its bounding box.
    """
    if not organ.any():
        raise InputError(
            volume.path,
            found="an image that is 0 everywhere",
            expected="a skull-stripped scan whose background is 0",
            remedy="Look at the file, and export it again from its source.",
        )
    box = organ[bounding_box(organ)]
    least = min(float(box.take(end, axis=axis).mean()) for axis in range(3) for end in (0, -1))
    if least >= BORDER_SHARE:
        raise InputError(
            volume.path,
            found=f"voxels other than 0 on all sides: {100 * least:.0f} % or more of each face of their box",
            expected="a skull-stripped scan whose background is 0",
            remedy="Strip the skull, or, where that has been done, set the background to 0.",
        )


def _check_organ(volume: LoadedVolume, organ: Mask) -> None:
    if not organ.any():
        raise InputError(
            volume.path,
            found="an empty organ mask",
            expected="at least one voxel inside the organ",
            remedy="Look at the mask over the image, and draw it again.",
        )


def _stack(channels: Listed[LoadedVolume]) -> Image:
    return np.stack([channel.data for channel in channels], axis=-1)


def _rows(affine: np.ndarray) -> str:
    """The upper three rows of an affine on one line."""
    return " / ".join(" ".join(f"{value:.6g}" for value in row) for row in affine[:3])
