"""A liver examination from the scanner: the DCE-MRI freed of motion, and the diffusion scan on top of it.

Jansen et al. 2020, section 2.1.1. Intensities stay as they are: ``psft_jax.data.normalise`` follows where
scans are read.

The parts that need SimpleITK are imported when the pipeline runs, so that the settings need no extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from psft_jax.data.bids_names import bids_path
from psft_jax.data.visit_files import VisitFiles
from psft_jax.preprocess.extra import missing_extra
from psft_jax.preprocess.liver_alignment import LESION, LIVER, align
from psft_jax.preprocess.liver_elastix import import_itk
from psft_jax.preprocess.liver_files import (
    NAMES,
    check_numbers,
    read_examination,
    write_image,
    write_mask,
)
from psft_jax.preprocess.liver_settings import LiverSettings
from psft_jax.preprocess.outputs import Pipeline, Prepared


def liver_pipeline(settings: LiverSettings) -> Pipeline:
    """The pipeline of these settings; it can be sent to another process.

    At the paper's size it takes about 5 GB, whatever the number of visits.

    Raises:
        InputError: the extra ``preprocess`` is not installed.
    """
    import_itk()
    if find_spec("SimpleITK") is None:
        raise missing_extra("liver", "no SimpleITK")
    return partial(_prepare, settings)


def _prepare(settings: LiverSettings, visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
    check_numbers(visits)
    return [_prepare_visit(settings, visit, folder) for visit in visits]


def _prepare_visit(settings: LiverSettings, visit: VisitFiles, folder: Path) -> Prepared:
    from psft_jax.preprocess.liver_transforms import write_transforms

    dce, dwi, masks = read_examination(visit, resample_masks=settings.resample_masks)
    aligned = align(visit.name, dce, dwi, masks, settings)
    del dce, dwi

    names = visit.subject, visit.session
    places = {name: folder / bids_path(*names, name, desc="preproc") for name in NAMES}
    places |= {name: folder / bids_path(*names, "mask", label=name) for name in masks}
    write_image(places["DCE"], aligned.dce, aligned.grid.affine)
    write_image(places["DWI"], aligned.dwi, aligned.grid.affine)
    for name, mask in aligned.masks.items():
        write_mask(places[name], mask, aligned.grid.affine)
    transforms = write_transforms(folder, *names, aligned)
    files = replace(
        visit,
        sequences=((places["DCE"],), (places["DWI"],)),
        organ=places.get(LIVER),
        lesion=places.get(LESION),
    )
    *phases, diffusion = aligned.motion
    every = {"settings": asdict(settings), "liver_mask": LIVER in masks}
    found = {places["DCE"]: {"phases": phases}, places["DWI"]: diffusion, **transforms}
    return Prepared(files, {file: every | found.get(file, {}) for file in (*places.values(), *transforms)})
