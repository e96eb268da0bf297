"""The brain mask: the user's, or that of a network on the T1, or where a stripped image is not 0.

References:
    Fisch et al., "deepbet: fast brain extraction of T1-weighted MRI using convolutional neural networks",
    Comput. Biol. Med. 179, 2024. Its weights are part of its package.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from jaxtyping import Float

from psft_jax.data.assemble import binary_mask, check_background, check_same_grid, nonzero_organ
from psft_jax.data.nifti import LoadedVolume
from psft_jax.data.resample import nearest
from psft_jax.errors import InputError
from psft_jax.preprocess.brain_settings import BrainSource
from psft_jax.scan import Mask

BRAIN_ML = (500.0, 2500.0)
"""Volumes that a brain may have that a network found, in mL; users' own masks may have any."""


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """A mask on the grid of the FLAIR or of the T1.

    Args:
        data: (Z, Y, X).
        affine: from its voxels (x, y, z) to RAS+ mm.
        on_t1: whether it moves with the T1.
    """

    data: Mask
    affine: Float[np.ndarray, "4 4"]
    on_t1: bool


def place_mask(
    mask: LoadedVolume, flair: LoadedVolume, t1: LoadedVolume, *, resample: bool
) -> tuple[LoadedVolume, bool]:
    """A mask that someone has drawn, on the grid of the FLAIR or of the T1.

    Args:
        mask: on any grid.
        flair, t1: the images of its visit.
        resample: whether other grids than the FLAIR's are allowed. A mask on the T1's stays there, to be
            registered with it; one on a third is brought onto the FLAIR's by the nearest voxel.

    Returns:
        The mask, and whether it lies on the T1's grid.

    Raises:
        InputError: it lies on another grid than the FLAIR's and that is not allowed, or elsewhere altogether.
    """
    remedy = (
        "Draw it on the FLAIR, or set brain.resample_masks=true: a mask on the T1's grid then moves with the "
        "T1, one on any other is brought onto the FLAIR's by the nearest voxel."
    )
    try:
        check_same_grid(flair, mask, remedy=remedy)
    except InputError:
        if not resample:
            raise
    else:
        return mask, False
    try:
        check_same_grid(t1, mask)
    except InputError:
        return nearest(mask, flair), False
    return mask, True


def find_brain(
    given: LoadedVolume | None,
    flair: LoadedVolume,
    t1: LoadedVolume,
    source: BrainSource,
    *,
    resample: bool,
    threads: int,
) -> PlacedMask:
    """The brain mask of a visit.

    Args:
        given: the user's own, which is taken where there is one.
        flair, t1: the images.
        source: what to do without one.
        resample: see ``place_mask``.
        threads: of deepbet.

    Raises:
        InputError: as ``place_mask`` and ``deepbet_mask`` do, the user's mask is empty or has other labels
            than 0 and 1, or the FLAIR's background is not 0 where it should have been stripped.
    """
    if given is not None:
        placed, on_t1 = place_mask(given, flair, t1, resample=resample)
        mask = binary_mask(placed)
        if not mask.any():
            raise InputError(
                given.path,
                found="an empty brain mask",
                expected="a brain",
                remedy="Leave the mask out to have the brain found.",
            )
        return PlacedMask(mask, placed.affine, on_t1)
    if source is BrainSource.NONZERO:
        mask = nonzero_organ(flair.data)
        check_background(flair, mask)
        return PlacedMask(mask, flair.affine, on_t1=False)
    return PlacedMask(deepbet_mask(t1, threads), t1.affine, on_t1=True)


def deepbet_mask(t1: LoadedVolume, threads: int) -> Mask:
    """The brain that deepbet finds on a T1, on its grid. It runs on the CPU and takes up to 1.5 GB.

    Raises:
        InputError: deepbet is not installed, or what it finds is not as large as a brain.
    """
    try:
        import torch
        from deepbet.bet import BrainExtraction
    except ImportError as error:
        raise InputError(
            t1.path,
            found=f"no brain mask, and no deepbet to find one ({error})",
            expected="a mask, or the packages of the extra preprocess",
            remedy="Install them: pip install 'psft_jax[preprocess]'; or give masks (docs/layouts.md); or, "
            "where the skull has been stripped, set brain.brain=nonzero.",
        ) from error
    torch.set_num_threads(threads)
    image = nib.Nifti1Image(t1.data.transpose(), t1.affine)
    try:
        _, found, _ = BrainExtraction(no_gpu=True).run(image)
        mask = np.ascontiguousarray(np.asarray(found.dataobj).transpose() > 0)
    except (AssertionError, ValueError):  # what it raises where it finds nothing at all
        mask = np.zeros(t1.data.shape, dtype=bool)
    volume_ml = float(mask.sum() * np.prod(t1.spacing_mm) / 1000)
    if not BRAIN_ML[0] <= volume_ml <= BRAIN_ML[1]:
        raise InputError(
            t1.path,
            found=f"a brain of {volume_ml:.0f} mL",
            expected=f"one of {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} mL",
            remedy="Look at the T1: deepbet knows T1-weighted images of whole heads of adults. For others "
            "give a brain mask.",
        )
    return mask
