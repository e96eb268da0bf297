"""Intensity normalisation, each channel's 3-D volume by itself."""

from __future__ import annotations

import numpy as np

from psft_jax.errors import InputError
from psft_jax.scan import Image, Scan, Volume

PERCENTILE = 99.8


def normalise(scan: Scan) -> Scan:
    """Normalise every channel of a scan as ``normalise_volume`` does.

    Raises:
        InputError: a channel is constant, or has no positive values to scale by.
    """
    first, second = (_normalise_channels(scan, i) for i in range(2))
    return scan.with_sequences(first, second)


def normalise_volume(volume: Volume) -> Volume:
    """Scale the 99.8th percentile to 1, clip below 0, then shift and scale to zero mean and unit variance.

    All voxels count, those outside the organ too. Since nothing is clipped from above, the first scaling
    cancels in the last step: what acts is the clipping at 0.

    Args:
        volume: (Z, Y, X) intensities.

    Returns:
        (Z, Y, X) float32.

    Raises:
        ValueError: the 99.8th percentile is not positive, or the clipped volume is constant.
    """
    reference = float(np.percentile(volume, PERCENTILE))
    if reference <= 0:
        raise ValueError(f"a {PERCENTILE}th percentile of {reference:g}")
    clipped = np.maximum(volume / reference, 0, dtype=np.float64)
    deviation = float(clipped.std())
    if deviation < np.finfo(np.float32).eps:
        raise ValueError(f"the constant value {float(volume.flat[0]):g}")
    return ((clipped - clipped.mean()) / deviation).astype(np.float32)


def _normalise_channels(scan: Scan, sequence: int) -> Image:
    """One sequence of a scan, normalised channel by channel."""
    image = scan.sequences[sequence]
    normalised = np.empty(image.shape, dtype=np.float32)
    for channel in range(image.shape[-1]):
        try:
            normalised[..., channel] = normalise_volume(image[..., channel])
        except ValueError as error:
            raise InputError(
                f"{scan.name}, channel {channel} of sequence {sequence}",
                found=str(error),
                expected="an image whose brightest voxels are positive and that varies",
                remedy="Look at the file: the image may be empty, or exported with another scaling.",
            ) from error
    return normalised
