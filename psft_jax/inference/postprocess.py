"""From a probability map to a binary mask, of lesions (section 2.4) or of an organ."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from psft_jax.objects import largest_filled
from psft_jax.scan import Mask, Volume

CUBE = np.ones((3, 3, 3), dtype=bool)
IN_PLANE_PLUS = ndimage.generate_binary_structure(2, 1)[np.newaxis]


def postprocess(probability: Volume, organ: Mask, *, threshold: float = 0.5, opening: bool = False) -> Mask:
    """Organ mask, threshold, 3x3x3 closing and, for detection, an in-plane opening (section 2.4).

    A probability equal to the threshold is a lesion. As in the paper the organ masks the probabilities and
    not the result, so the closing may fill a gap of the organ mask that lies inside a lesion.

    Args:
        probability: (Z, Y, X) probability of lesion.
        organ: (Z, Y, X) True inside the organ.
        threshold: a voxel is a lesion from this probability upwards.
        opening: remove noise with a plus of 3x3 within the slice, as for the liver; not for white matter
            hyperintensities, which often measure one voxel.

    Returns:
        (Z, Y, X) True inside lesions.

    >>> probability = np.zeros((1, 1, 5), np.float32)
    >>> probability[0, 0, [0, 2]] = 0.9
    >>> postprocess(probability, np.ones((1, 1, 5), bool))[0, 0].tolist()
    [True, True, True, False, False]
    """
    lesion = close_holes((probability >= threshold) & organ)
    return remove_noise(lesion) if opening else lesion


def organ_mask(probability: Volume, *, threshold: float = 0.5) -> Mask:
    """The largest object of what reaches the threshold, with its holes filled; empty where nothing does.

    Args:
        probability: (Z, Y, X) probability of organ.
        threshold: a voxel is organ from this probability upwards.
    """
    return largest_filled(probability >= threshold)


def close_holes(mask: Mask) -> Mask:
    """Closing with a cube of 3x3x3 voxels; background lies outside the volume.

    The margin holds what the dilation pushes over the border. Without it the erosion would meet background
    there and eat into lesions that touch the border.
    """
    closed: Bool[np.ndarray, "z2 y2 x2"] = ndimage.binary_closing(np.pad(mask, 1), CUBE)
    return closed[1:-1, 1:-1, 1:-1]


def remove_noise(mask: Mask) -> Mask:
    """Opening with a plus of 3x3 voxels within each slice.

    What lies outside the volume is unknown and never a reason to erode: a lesion cut by the border keeps the
    voxels on it that it would keep if it went on beyond.
    """
    eroded = ndimage.binary_erosion(mask, IN_PLANE_PLUS, border_value=1)
    return ndimage.binary_dilation(eroded, IN_PLANE_PLUS)
