"""One visit's FLAIR, T1 and masks: both images without their bias field, and all of it on one grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from psft_jax.data.assemble import MaskRules, lesion_and_ignored
from psft_jax.data.nifti import LoadedVolume, read_volume
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.preprocess.bias_field import correct_bias_field
from psft_jax.preprocess.brain_mask import PlacedMask, find_brain, place_mask
from psft_jax.preprocess.brain_settings import BrainSettings
from psft_jax.preprocess.field_of_view import grid_around
from psft_jax.preprocess.itk_images import resample_image, resample_mask, to_itk, volume_to_itk
from psft_jax.preprocess.registration import Registered, register
from psft_jax.scan import FileGrid, Mask

_STAYS = sitk.Transform(3, sitk.sitkIdentity)


@dataclass(frozen=True, eq=False)
class BrainVisit:
    """A visit on one grid, its skull still there.

    Args:
        flair, t1: float32, on one grid.
        brain: uint8, on the same grid.
        lesion: (Z, Y, X), or None where nobody has annotated this visit.
        ignored: (Z, Y, X) the voxels with the label that the settings ignore.
        file_grid: the grid of the FLAIR's file, or None where all was resampled onto another.
        t1_to_flair: takes points of the FLAIR to points of the T1.
        bias_fields: what N4 told of the FLAIR and of the T1.
    """

    flair: sitk.Image
    t1: sitk.Image
    brain: sitk.Image
    lesion: Mask | None
    ignored: Mask | None
    file_grid: FileGrid | None
    t1_to_flair: Registered
    bias_fields: tuple[dict[str, Any], dict[str, Any]]


def prepare_visit(files: VisitFiles, settings: BrainSettings) -> BrainVisit:
    """Read a visit, correct its images, find the brain, register the T1 to the FLAIR, all on one grid.

    Correction comes first because the field disturbs mutual information. Each image is interpolated once at
    most, from its own grid.

    Raises:
        InputError: the visit has not one FLAIR and one T1, a file cannot be used, no brain is found, the
            images do not overlap, or the brain does not fit into the grid of the settings.
    """
    flair, t1 = _images(files)
    lesion, ignored = _lesions(files, flair, t1, settings)
    fields = settings.bias_field, settings.threads
    corrected_flair = correct_bias_field(str(flair.path), volume_to_itk(flair), *fields)
    corrected_t1 = correct_bias_field(str(t1.path), volume_to_itk(t1), *fields)
    flair_image, t1_image = corrected_flair.image, corrected_t1.image
    given = None if files.organ is None else read_volume(files.organ)
    t1 = replace(t1, data=sitk.GetArrayFromImage(t1_image))
    brain = find_brain(
        given, flair, t1, settings.brain, resample=settings.resample_masks, threads=settings.threads
    )
    to_t1 = _register_t1(t1, flair_image, t1_image, brain, settings)

    def carried(mask: PlacedMask, grid: sitk.Image) -> sitk.Image:
        to_mask = to_t1.transform if mask.on_t1 else _STAYS
        return resample_mask(to_itk(mask.data, mask.affine), grid, to_mask, settings.threads)

    grid = flair_image
    if settings.resample:
        grid = grid_around(carried(brain, flair_image), settings.shape, settings.spacing_mm, files.name)
        flair_image = resample_image(flair_image, grid, _STAYS, settings.threads)
    return BrainVisit(
        flair=flair_image,
        t1=resample_image(t1_image, grid, to_t1.transform, settings.threads),
        brain=carried(brain, grid),
        lesion=None if lesion is None else as_mask(carried(lesion, grid)),
        ignored=None if ignored is None else as_mask(carried(ignored, grid)),
        file_grid=None if settings.resample else flair.file_grid,
        t1_to_flair=to_t1,
        bias_fields=(corrected_flair.told, corrected_t1.told),
    )


def as_mask(image: sitk.Image) -> Mask:
    """A mask's voxels (Z, Y, X)."""
    return sitk.GetArrayFromImage(image).astype(np.bool_)


def _images(files: VisitFiles) -> tuple[LoadedVolume, LoadedVolume]:
    flair, t1 = files.sequences
    if len(flair) != 1 or len(t1) != 1:
        raise InputError(
            files.name,
            found=f"{len(flair)} FLAIR and {len(t1)} T1 images",
            expected="one FLAIR and one T1",
            remedy="Name one file of each, or leave the visit out.",
        )
    return read_volume(flair[0]), read_volume(t1[0])


def _lesions(
    files: VisitFiles, flair: LoadedVolume, t1: LoadedVolume, settings: BrainSettings
) -> tuple[PlacedMask | None, PlacedMask | None]:
    """The lesions, and the voxels with the ignored label, as they were drawn."""
    if files.lesion is None:
        return None, None
    drawn, on_t1 = place_mask(read_volume(files.lesion), flair, t1, resample=settings.resample_masks)
    lesion, ignored = lesion_and_ignored(drawn, MaskRules(ignored_label=settings.ignored_label))
    return PlacedMask(lesion, drawn.affine, on_t1), PlacedMask(ignored, drawn.affine, on_t1)


def _register_t1(
    t1: LoadedVolume,
    flair_image: sitk.Image,
    t1_image: sitk.Image,
    brain: PlacedMask,
    settings: BrainSettings,
) -> Registered:
    """From points of the FLAIR to points of the T1; the one whose brain is known counts as fixed."""
    how = to_itk(brain.data, brain.affine), settings.registration, settings.threads
    if brain.on_t1:
        return register(str(t1.path), t1_image, flair_image, *how).inverse
    return register(str(t1.path), flair_image, t1_image, *how)
