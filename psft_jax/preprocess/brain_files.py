"""A prepared visit's files: images, masks and transforms, named as those of BIDS derivatives are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from psft_jax.data.bids_names import bids_path
from psft_jax.data.nifti import write_volume
from psft_jax.data.visit_files import VisitFiles
from psft_jax.preprocess.brain_settings import BrainSettings
from psft_jax.preprocess.brain_visit import BrainVisit, as_mask
from psft_jax.preprocess.itk_images import affine_of
from psft_jax.preprocess.outputs import Prepared
from psft_jax.preprocess.registration import Registered, described, write_transform
from psft_jax.scan import Image, Scan


def write_visit(visit: BrainVisit, files: VisitFiles, settings: BrainSettings, folder: Path) -> Prepared:
    """Write a visit's images, its brain mask, its lesion mask where it has one, and its T1's transform.

    Args:
        visit: what was made of it.
        files: what it was made from.
        settings: by which.
        folder: of the pipeline.
    """
    scan = _scan(visit, files, settings)
    name = partial(bids_path, files.subject, files.session)
    flair, t1 = (folder / name(suffix, desc="preproc") for suffix in ("FLAIR", "T1w"))
    organ = folder / name("mask", desc="brain")
    lesion = None if scan.lesion is None else folder / name("mask", label="lesion")
    write_volume(flair, scan.sequences[0][..., 0], scan)
    write_volume(t1, scan.sequences[1][..., 0], scan)
    write_volume(organ, scan.organ, scan)
    steps = _steps(visit, files, settings)
    told = {flair: steps["FLAIR"], t1: steps["T1w"], organ: steps["brain"]}
    if lesion is not None and scan.lesion is not None:
        write_volume(lesion, scan.lesion, scan)
        told[lesion] = {"voxels_outside_the_brain": int((scan.lesion & ~scan.organ).sum())}
    transform = write_between(visit.t1_to_flair, files, folder, moving="T1w", fixed="FLAIR")
    prepared = replace(files, sequences=((flair,), (t1,)), organ=organ, lesion=lesion)
    return Prepared(prepared, {**told, **transform})


def write_between(
    registered: Registered, files: VisitFiles, folder: Path, *, moving: str, fixed: str
) -> dict[Path, Mapping[str, Any]]:
    """Write a transform into the folder of a visit.

    Args:
        registered: the transform.
        files: the visit.
        folder: of the pipeline.
        moving, fixed: labels of what moves and of what it moves to.

    Returns:
        The file, and the steps that made it.
    """
    suffix = f"from-{moving}_to-{fixed}_mode-image_xfm"
    path = folder / bids_path(files.subject, files.session, suffix, extension=".txt")
    write_transform(path, registered)
    return {path: described(registered, moving, fixed)}


def _scan(visit: BrainVisit, files: VisitFiles, settings: BrainSettings) -> Scan:
    """The visit as it is written."""
    brain = as_mask(visit.brain)

    def voxels(image: sitk.Image) -> Image:
        values = sitk.GetArrayFromImage(image)
        return (np.where(brain, values, np.float32(0)) if settings.skull_strip else values)[..., None]

    x, y, z = visit.flair.GetSpacing()
    return Scan(
        subject=files.subject,
        session=files.session,
        sequences=(voxels(visit.flair), voxels(visit.t1)),
        organ=brain if visit.ignored is None else brain & ~visit.ignored,
        lesion=visit.lesion,
        spacing_mm=(z, y, x),
        affine=affine_of(visit.flair),
        file_grid=visit.file_grid,
    )


def _steps(visit: BrainVisit, files: VisitFiles, settings: BrainSettings) -> dict[str, dict[str, Any]]:
    both = {
        "grid": "around the brain" if settings.resample else "the FLAIR's",
        "outside_the_brain": "set to 0" if settings.skull_strip else "kept",
    }
    given = files.organ is not None
    flair_field, t1_field = visit.bias_fields
    return {
        "FLAIR": {"bias_field": flair_field, **both},
        "T1w": {
            "registration": described(visit.t1_to_flair, "T1w", "FLAIR"),
            "bias_field": t1_field,
            **both,
        },
        "brain": {"source": "given with the visit" if given else settings.brain.value},
    }
