"""The receive coil's slow change of intensity over the image, estimated and divided out (N4).

References:
    Tustison et al., "N4ITK: improved N3 bias correction", IEEE Trans. Med. Imaging 29, 2010.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import SimpleITK as sitk

from psft_jax.errors import InputError
from psft_jax.preprocess.brain_settings import BiasFieldSettings

OTSU_BINS = 200


@dataclass(frozen=True, eq=False)
class Corrected:
    """An image without its bias field.

    Args:
        image: float32, on the grid of the original.
        told: parameters, and how far the last level had converged.
    """

    image: sitk.Image
    told: dict[str, Any]


def correct_bias_field(where: str, image: sitk.Image, settings: BiasFieldSettings, threads: int) -> Corrected:
    """Divide an image by the field that N4 finds in the head.

    The head is what Otsu's threshold separates from the air. The field is fitted to the shrunk image, and
    evaluated at all voxels.

    Args:
        where: the image's file, for messages.
        image: float32.
        settings: of N4.
        threads: how many work.

    Raises:
        InputError: the image has one value only, or none above 0.
    """
    shrink = [
        max(1, min(round(settings.voxel_mm / side), n // 4))
        for side, n in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    small = sitk.Shrink(image, shrink)
    # N4 takes logarithms, so values that are not above 0 are left out.
    head = sitk.OtsuThreshold(small, 0, 1, OTSU_BINS) & (small > 0)
    if not sitk.GetArrayViewFromImage(head).any():
        raise InputError(
            where,
            found="an image without a head that is brighter than the air",
            expected="an image of a head",
            remedy="Look at the file: it may be empty, or exported with another scaling.",
        )
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(settings.iterations))
    n4.SetConvergenceThreshold(settings.convergence)
    n4.SetNumberOfThreads(threads)
    n4.Execute(small, head)
    field = sitk.Exp(sitk.Cast(n4.GetLogBiasFieldAsImage(image), sitk.sitkFloat32))
    told = {
        **asdict(settings),
        "method": "N4 inside Otsu's threshold",
        "shrink": shrink,
        "convergence_reached": n4.GetCurrentConvergenceMeasurement(),
    }
    return Corrected(sitk.Divide(image, field), told)
