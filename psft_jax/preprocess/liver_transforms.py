"""A liver's transforms as text files of ITK's, which SimpleITK and ITK resample images and masks with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from psft_jax.data.bids_names import bids_path
from psft_jax.files import atomic_path
from psft_jax.preprocess.itk_images import affine_to_itk, to_itk
from psft_jax.preprocess.liver_alignment import Aligned
from psft_jax.preprocess.liver_diffusion import RigidThenDeformed
from psft_jax.preprocess.liver_elastix import Deformation

SPLINE_ORDER = 3


def write_transforms(
    folder: Path, subject: str, session: str, aligned: Aligned
) -> dict[Path, dict[str, Any]]:
    """Write a text file for each phase (from 0) and one for the diffusion scan.

    As everywhere in ITK, a file takes points of the prepared images to points of the scan as it was acquired,
    in LPS+ mm: what resampling that scan onto the prepared grid needs. It holds coefficients of B-splines, so
    that its size depends on their lattice and not on the voxels.

    Args:
        folder: of the pipeline.
        subject, session: whose examination it is.
        aligned: the examination.

    Returns:
        The files, each with what moves, what it moves to, and what is known of the motion.
    """
    moving: dict[str, sitk.Transform] = {
        f"phase{number:02d}": deformation_to_itk(phase) for number, phase in enumerate(aligned.to_phases)
    }
    moving["DWI"] = rigid_then_deformed_to_itk(aligned.to_dwi)
    written = {}
    for (name, transform), motion in zip(moving.items(), aligned.motion, strict=True):
        suffix = f"from-{name}_to-DCE_mode-image_xfm"
        path = folder / bids_path(subject, session, suffix, extension=".txt")
        with atomic_path(path) as temporary:
            sitk.WriteTransform(transform, str(temporary))
        written[path] = {"from": name, "to": "DCE", **motion}
    return written


def deformation_to_itk(deformation: Deformation) -> sitk.Transform:
    """A deformation as SimpleITK has it."""
    signs = np.array([-1.0, -1.0, 1.0])  # the coefficients are displacements too
    along = [
        to_itk(sign * component, deformation.affine)
        for sign, component in zip(signs, deformation.coefficients, strict=True)
    ]
    return sitk.BSplineTransform(along, SPLINE_ORDER)


def rigid_then_deformed_to_itk(transform: RigidThenDeformed) -> sitk.Transform:
    """The diffusion scan's transform as SimpleITK has it."""
    rigid = affine_to_itk(transform.rigid.matrix)
    if transform.deformation is None:
        return rigid
    # Of a composite, ITK applies the last one first.
    return sitk.CompositeTransform([deformation_to_itk(transform.deformation), rigid])
