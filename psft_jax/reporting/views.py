"""Axial slices as a radiologist reads them, and the colours laid over them.

Planes are cut from (Z, Y, X) arrays in RAS+ order; a view has the patient's right on the left, anterior up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

from psft_jax.errors import InputError
from psft_jax.scan import Mask, Scan, Volume

# Planes have axis names of their own, because a view is smaller than the slice that it is cut from.
Plane = Float[np.ndarray, "row column"]
PlaneMask = Bool[np.ndarray, "row column"]
RGB = Float[np.ndarray, "row column 3"]
_AnyPlane = Shaped[np.ndarray, "row column"]
_AnyVolume = Shaped[np.ndarray, "z y x"]

# The paper's colours (Fig. 4), with lightness far apart: green and red differ for colour-blind eyes too.
TRUE_POSITIVE = (0.40, 0.95, 0.45)
FALSE_NEGATIVE = (0.85, 0.08, 0.10)
FALSE_POSITIVE = (0.25, 0.50, 1.00)
OUTLINE = (1.00, 0.85, 0.00)
OPACITY = 0.75

_MARGIN_MM = 5.0
_APART_MM = 10.0


def overlay_rgb(image: Plane, prediction: PlaneMask, reference: PlaneMask | None) -> RGB:
    """An image in grey with the prediction in colour over it (the paper's Fig. 4).

    Green is true positive, red is false negative, blue is false positive. Without a reference nothing is true
    or false: the prediction's outermost pixels are yellow.

    Args:
        image: (rows, columns) intensities from 0 (black) to 1 (white).
        prediction: True inside the lesions found.
        reference: True inside the annotated lesions, or None.

    Returns:
        (rows, columns, 3) from 0 to 1.
    """
    if reference is None:
        coloured = {OUTLINE: outline(prediction)}
    else:
        coloured = {
            TRUE_POSITIVE: prediction & reference,
            FALSE_NEGATIVE: ~prediction & reference,
            FALSE_POSITIVE: prediction & ~reference,
        }
    rgb = np.repeat(image[..., None], 3, axis=-1)
    for colour, where in coloured.items():
        rgb[where] = (1 - OPACITY) * rgb[where] + OPACITY * np.asarray(colour)
    return rgb


def outline(mask: PlaneMask) -> PlaneMask:
    """The mask's own pixels that have a side in common with the background or lie at the border."""
    return mask & ~ndimage.binary_erosion(mask)


def radiological(plane: _AnyPlane) -> _AnyPlane:
    """A (Y, X) plane for display with row 0 at the top: anterior up, the patient's right on the left."""
    return plane[::-1, ::-1]


@dataclass(frozen=True)
class AxialView:
    """How the axial slices of one scan are shown: all cropped to the organ and in the same grey.

    Args:
        box: the organ's box along (Y, X) and a margin of 5 mm.
        aspect: height of a pixel over its width.
        window: intensities that are black and white.
    """

    box: tuple[slice, slice]
    aspect: float
    window: tuple[float, float]

    def plane(self, volume: _AnyVolume, z: int) -> _AnyPlane:
        """Slice ``z`` of a volume, mask or map of labels, cropped, in radiological display."""
        return radiological(volume[z][self.box])

    def grey(self, volume: Volume, z: int) -> Plane:
        """Slice ``z`` of an image from 0 (black) to 1 (white)."""
        black, white = self.window
        return np.clip((self.plane(volume, z) - black) / (white - black), 0.0, 1.0)


def shown_image(scan: Scan) -> Volume:
    """What is shown of a scan: the first sequence, and of several channels (DCE phases) the middle one."""
    return scan.sequences[0][..., scan.channels[0] // 2]


def axial_view(scan: Scan) -> AxialView:
    """The view of a scan; grey runs from the 1st to the 99.8th percentile inside the organ."""
    _, height, width = scan.spacing_mm
    margin = [round(_MARGIN_MM / spacing) for spacing in (height, width)]
    box = [slice(max(b.start - m, 0), b.stop + m) for b, m in zip(scan.organ_box[1:], margin, strict=True)]
    black, white = (float(p) for p in np.percentile(shown_image(scan)[scan.organ], (1, 99.8)))
    return AxialView((box[0], box[1]), height / width, (black, white if white > black else black + 1.0))


def informative_slices(scan: Scan, masks: Sequence[Mask], n: int = 3) -> list[int]:
    """The slices to look at: by turns the largest lesion area and the largest disagreement of the masks.

    Slices are at least 10 mm apart, so that each shows something else, and there may be fewer than ``n``.
    Without a lesion in the reference, or without a reference, the area is that of all masks together; where
    nothing was found either, the slice with most of the organ is shown.

    Args:
        scan: the case.
        masks: the predictions to compare.
        n: at most so many slices.

    Returns:
        Indices along Z, from superior to inferior.
    """
    stack = np.stack(masks)
    lesion = stack.any(axis=0) if scan.lesion is None or not scan.lesion.any() else scan.lesion
    area = lesion.sum(axis=(1, 2))
    disagreement = (stack.any(axis=0) & ~stack.all(axis=0)).sum(axis=(1, 2))
    apart = max(_APART_MM / scan.spacing_mm[0], 1.0)
    chosen: list[int] = []
    for turn in range(2 * n):
        free = np.array([all(abs(z - c) >= apart for c in chosen) for z in range(len(area))])
        score = np.where(free, (area, disagreement)[turn % 2], 0)
        if len(chosen) < n and score.any():
            chosen.append(int(score.argmax()))
    return sorted(chosen, reverse=True) or [int(scan.organ.sum(axis=(1, 2)).argmax())]


def check_shapes(scan: Scan, volumes: Mapping[str, Volume | Mask]) -> None:
    """Raise where there is nothing to show, or a volume is not on the scan's grid.

    Raises:
        InputError: it names the volume.
    """
    other = [f"{name} {volume.shape}" for name, volume in volumes.items() if volume.shape != scan.shape]
    if other or not volumes:
        raise InputError(
            scan.name,
            found=", ".join(other) or "no prediction to show",
            expected=f"one or more volumes of the scan's shape {scan.shape}",
            remedy="Give the predictions of this scan, before they are written onto its file's grid.",
        )
