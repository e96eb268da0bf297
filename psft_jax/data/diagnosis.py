"""Everything that is wrong with the files of one visit, of which reading them as a scan tells the first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import ParamSpec, TypeVar

from psft_jax.data.assemble import (
    MaskRules,
    binary_mask,
    check_same_grid,
    lesion_and_ignored,
    on_grid_of,
)
from psft_jax.data.listing import check_channels
from psft_jax.data.nifti import read_series, read_volume
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.scan import Sequence

P = ParamSpec("P")
T = TypeVar("T")


def diagnose(files: VisitFiles, sequences: tuple[Sequence, Sequence], rules: MaskRules) -> list[InputError]:
    """What is wrong with each file by itself, and with it beside the first image of the visit.

    Empty where the files are right one by one, whatever may be wrong with the scan that they make.
    """
    problems: list[InputError] = []

    def tried(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return step(*args, **kwargs)
        except InputError as error:
            problems.append(error)
            return None

    sequences_read = []
    for paths, sequence in zip(files.sequences, sequences, strict=True):
        read = [tried(read_series, path) for path in paths]
        volumes = [volume for series in read for volume in series or ()]
        if None not in read:
            tried(check_channels, paths, volumes, sequence)
        sequences_read.append(volumes)
    organ, lesion = (
        None if path is None else tried(read_volume, path) for path in (files.organ, files.lesion)
    )
    if sequences_read[0]:
        reference = sequences_read[0][0]
        for volume in chain(*sequences_read):
            tried(check_same_grid, reference, volume)
        organ, lesion = (mask and tried(on_grid_of, reference, mask, rules) for mask in (organ, lesion))
    if organ is not None:
        tried(binary_mask, organ)
    if lesion is not None:
        tried(lesion_and_ignored, lesion, rules)
    return list({str(problem): problem for problem in problems}.values())
