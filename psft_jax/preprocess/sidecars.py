"""What the JSON file beside each prepared file says: what it is, what it was made from, how and with what."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from psft_jax.data.bids_derivative import PIPELINE, Sources, write_sidecar
from psft_jax.data.visit_files import VisitFiles
from psft_jax.preprocess.outputs import Prepared

LIBRARIES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "nibabel": "nibabel",
    "SimpleITK": "SimpleITK",
    "itk": "itk-elastix",
    "torch": "torch",
    "deepbet": "deepbet",
}
"""Modules that change what comes out, and the distributions whose versions are told where they are loaded."""


def write_sidecars(
    folder: Path, raw: Sequence[VisitFiles], prepared: Sequence[Prepared], sources: Sources
) -> None:
    """Write a JSON file beside each file in a subject's folder.

    Args:
        folder: the subject's.
        raw: the visits that were prepared.
        prepared: what was made of them, in the same order.
        sources: where the raw files lie.
    """
    of_all = sources.told(chain.from_iterable(visit.files for visit in raw))
    versions = {"GeneratedBy": _versions()}
    steps = {file: told for visit in prepared for file, told in visit.steps.items()}
    of_file: dict[Path, Mapping[str, Any]] = {}
    for before, after in zip(raw, prepared, strict=True):
        made_from = sources.told(before.files)
        of_file |= {file: {**kind, **made_from} for file, kind in _kinds(after.files)}
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        # What is neither image nor mask, such as a transform, may be of two visits.
        write_sidecar(file, {**of_file.get(file, of_all), **versions, "Steps": steps.get(file, {})})


def _kinds(visit: VisitFiles) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What BIDS asks to be said of each image and mask of a visit."""
    for image in chain.from_iterable(visit.sequences):
        yield image, {"SkullStripped": _is_stripped(image, visit.organ)}
    if visit.lesion is not None:
        yield visit.lesion, {"Type": "Lesion"}
    if visit.organ is not None:
        yield visit.organ, {"Type": "Brain" if "brain" in visit.organ.name else "ROI"}


def _is_stripped(image: Path, organ: Path | None) -> bool:
    """Whether an image (of a series, the first volume) is 0 outside of the organ mask."""
    if organ is None:
        return False
    outside = np.asanyarray(nib.Nifti1Image.from_filename(organ).dataobj) == 0
    series = nib.Nifti1Image.from_filename(image)
    first = np.asanyarray(series.dataobj if series.ndim == 3 else series.dataobj[..., 0])
    return not first[outside].any()


def _versions() -> list[dict[str, Any]]:
    """The project and the libraries that this process has loaded."""
    loaded = [distribution for module, distribution in LIBRARIES.items() if module in sys.modules]
    return [{"Name": name, "Version": importlib.metadata.version(name)} for name in (PIPELINE, *loaded)]
