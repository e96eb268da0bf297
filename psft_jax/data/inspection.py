"""One scan in the numbers that show a mixed-up file: grid, orientation, volumes, intensities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from psft_jax.data.normalise import normalise
from psft_jax.data.visit_files import Role
from psft_jax.errors import InputError
from psft_jax.objects import label_objects
from psft_jax.scan import Image, Mask, Scan, Sequence

REMARKABLE = 0.01
"""Share of the lesions outside the organ, or of the organ below 0, from which on a remark is made."""


@dataclass(frozen=True)
class Intensities:
    """A sequence's values inside the organ, over all its channels: ends, median and 99.8th percentile."""

    minimum: float
    median: float
    p998: float
    maximum: float


@dataclass(frozen=True)
class Inspected:
    """One scan in numbers.

    Args:
        shape: (Z, Y, X).
        spacing_mm: along (Z, Y, X).
        orientation: where the axes of the file point to, such as LAS.
        oblique_deg: largest angle between an axis of the file and that of the body that is closest to it.
        channels: of each sequence.
        organ_ml: volume of the organ mask.
        lesions: number of 26-connected lesions, None without annotation.
        lesion_ml: their volume.
        intensities: by sequence.
        remarks: what may be right and should be looked at.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    oblique_deg: float
    channels: tuple[int, int]
    organ_ml: float
    lesions: int | None
    lesion_ml: float | None
    intensities: Mapping[str, Intensities]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class InspectedVisit:
    """One visit: its scan in numbers, None where it cannot be read, and what is wrong with it."""

    subject: str
    session: str
    role: Role
    scan: Inspected | None
    problems: tuple[InputError, ...] = ()

    @property
    def name(self) -> str:
        """Subject and session."""
        return f"{self.subject} {self.session}"


def inspect_scan(scan: Scan, sequences: tuple[Sequence, Sequence]) -> Inspected:
    """Measure a scan as it was read, before normalisation."""
    affine = scan.affine if scan.file_grid is None else scan.file_grid.affine
    annotated = scan.lesion is not None
    lesion_voxels = int(scan.lesion.sum()) if scan.lesion is not None else 0
    return Inspected(
        shape=scan.shape,
        spacing_mm=scan.spacing_mm,
        orientation="".join(nib.aff2axcodes(affine)),
        oblique_deg=float(np.rad2deg(nib.affines.obliquity(affine)).max()),
        channels=scan.channels,
        organ_ml=int(scan.organ.sum()) * scan.voxel_volume_ml,
        lesions=len(label_objects(scan.lesion)) if scan.lesion is not None else None,
        lesion_ml=lesion_voxels * scan.voxel_volume_ml if annotated else None,
        intensities={
            sequence.name: _intensities(image, scan.organ)
            for sequence, image in zip(sequences, scan.sequences, strict=True)
        },
        remarks=tuple(_remarks(scan, sequences)),
    )


def check_usable(scan: Scan, role: Role) -> None:
    """Check that a scan serves for what its visit is there for.

    Raises:
        InputError: it has no lesion and the network is to learn from it, or its intensities cannot be
            normalised.
    """
    if role is not Role.FOLLOW_UP and scan.lesion is not None and not scan.lesion.any():
        raise InputError(
            scan.name,
            found=f"a lesion mask without a lesion, of a visit for {role}",
            expected="at least one lesion inside the mask: the network learns from slices with lesions",
            remedy="Check the mask's file, or leave the visit out.",
        )
    normalise(scan)


def _intensities(image: Image, organ: Mask) -> Intensities:
    inside = image[organ]
    return Intensities(
        float(inside.min()), float(np.median(inside)), float(np.percentile(inside, 99.8)), float(inside.max())
    )


def _remarks(scan: Scan, sequences: tuple[Sequence, Sequence]) -> list[str]:
    remarks = []
    if scan.lesion is not None and scan.lesion.any():
        outside = float((scan.lesion & ~scan.organ).sum() / scan.lesion.sum())
        if outside >= REMARKABLE:
            remarks.append(f"{100 * outside:.0f} % of the lesions' volume lie outside the organ mask")
    for sequence, image in zip(sequences, scan.sequences, strict=True):
        negative = float((image[scan.organ] < 0).mean())
        if negative >= REMARKABLE:
            remarks.append(f"{100 * negative:.0f} % of {sequence.name} inside the organ are below 0")
    return remarks
