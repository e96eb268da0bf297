"""What a network is fine-tuned on: annotated scans, their chosen slices, and the weights of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from psft_jax.sampling.slices import Slices, slices_of, stack
from psft_jax.scan import Mask, Scan, Volume
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.weighting import Weighting, voxel_weights


class BaseResult(NamedTuple):
    """What the base CNN makes of a baseline: lesion probability, and the mask after post-processing."""

    probability: Volume
    found: Mask


class Annotated(NamedTuple):
    """A normalised scan with its annotation, and the base CNN's result on it where a variant needs it."""

    scan: Scan
    result: BaseResult | None = None


def tuning_slices(scans: Sequence[Annotated], group: Sequence[FinetuneConfig]) -> Slices:
    """The slices that a group of variants is tuned on, with the weight maps that any of them needs.

    Args:
        scans: what is tuned to.
        group: variants that choose the same slices.

    Raises:
        InputError: a scan has no lesion where slices with lesions are asked for, or no annotation.
        ValueError: the base CNN's result on a scan is needed and missing.
    """
    selection = group[0].slices
    schemes = {variant.weighting for variant in group} - {Weighting.NONE}
    parts = []
    for scan, result in scans:
        positions = selection.positions(scan, None if result is None else result.probability)
        part = slices_of(scan, positions)
        if schemes:
            if result is None or scan.lesion is None:
                raise ValueError("weighting needs the base CNN's result on an annotated scan")
            maps = {str(s): voxel_weights(s, scan.lesion, result.found)[positions] for s in sorted(schemes)}
            part = replace(part, weights=maps)
        parts.append(part)
    return stack(parts)
