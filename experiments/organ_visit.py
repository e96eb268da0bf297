"""The organ mask of one visit with its JSON file and picture, and its agreement with one that was given."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.made_by import made_by
from experiments.organ_scans import OrganVisit
from psft_jax.data.bids_derivative import (
    Sources,
    checksum,
    read_json,
    sidecar_of,
    write_sidecar,
)
from psft_jax.data.nifti import write_volume
from psft_jax.errors import InputError
from psft_jax.evaluation.organ import evaluate_organ
from psft_jax.inference.postprocess import organ_mask
from psft_jax.inference.volume import predict
from psft_jax.model.network import Variables
from psft_jax.reporting.figures import save_figure
from psft_jax.reporting.organ_masks import OrganMask, organ_figure
from psft_jax.scan import Mask, Provenance
from psft_jax.training.saved import BaseRecord

MASKS, COMPARED = "masks", "compared"
"""Folders of the masks that were missing, and of those that were made to compare with a given one."""
DOUBTFUL_ABOVE = 0.1
"""Where more of what was found than this share is not in the largest object, the mask is to be looked at."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Maker:
    """The network that makes masks.

    Args:
        record: what it is.
        variables: of it.
        threshold: probability from which on a voxel is organ.
        provenance: of the scans that it is used on.
    """

    record: BaseRecord
    variables: Variables
    threshold: float
    provenance: Provenance


def mask_place(visit: OrganVisit, folder: Path) -> Path:
    """Where a visit's mask lies in a run's folder."""
    return folder / (COMPARED if visit.has_mask else MASKS) / f"{visit.name}_organ.nii.gz"


def made_before(visit: OrganVisit, folder: Path) -> OrganMask | None:
    """What an earlier call made of the same files; a mask that has its JSON file is complete.

    Raises:
        InputError: the files have changed, and somebody has corrected the mask that was made of them.
    """
    mask = mask_place(visit, folder)
    if not mask.is_file() or not sidecar_of(mask).is_file():
        return None
    told = read_json(sidecar_of(mask))
    if any(told[key] != value for key, value in Sources().told(visit.visit.files).items()):
        if checksum(mask) != told["SHA256"]:
            raise InputError(
                mask,
                found="a mask that was corrected by hand, of a scan whose files have changed since",
                expected="a mask that can be made anew",
                remedy="Move it away to have it made anew, or name it in your table to keep it.",
            )
        return None
    measures = {name: math.nan if value is None else value for name, value in told["Measures"].items()}
    return OrganMask(visit.visit.subject, visit.visit.session, measures)


def make(visit: OrganVisit, maker: Maker, folder: Path) -> OrganMask:
    """Find the organ, and write mask, picture and JSON file.

    Args:
        visit: whose organ is looked for; a mask that was given is compared with, and stays where it is.
        maker: the network.
        folder: of the run.

    Raises:
        InputError: the scan cannot be read or is not of the network's kind, or no organ was found and no mask
            was given.
    """
    scan = visit.visit.load()
    (prediction,) = predict(maker.record.network, [maker.variables], scan)
    found = organ_mask(prediction.probability, threshold=maker.threshold)
    if scan.lesion is None and not found.any():
        raise InputError(
            scan.name,
            found=f"no voxel with a probability of {maker.threshold:g} or more",
            expected="an organ",
            remedy="Look at the scan: is it like those that the network was trained on? Else draw the mask.",
        )
    dropped = _dropped_share(prediction.probability >= maker.threshold, found)
    if dropped > DOUBTFUL_ABOVE:
        logger.warning("look at %s: %.0f %% of what was found is not in its mask", scan.name, 100 * dropped)
    measures = evaluate_organ(found, scan.lesion, scan)
    path = mask_place(visit, folder)
    sidecar_of(path).unlink(missing_ok=True)  # from here on, it does not describe the mask
    write_volume(path, found, scan, overwrite=True)
    figure = organ_figure(scan, found, title=scan.name, provenance=maker.provenance)
    save_figure(figure, path.with_name(f"{visit.name}_organ.png"), overwrite=True)
    _write_sidecar(path, visit, maker, dropped, measures)
    return OrganMask(scan.subject, scan.session, measures)


def _dropped_share(above: Mask, found: Mask) -> float:
    """Of the voxels above the threshold, those that are not in the largest object; 0 where there are none."""
    return int(np.count_nonzero(above & ~found)) / max(int(np.count_nonzero(above)), 1)


def _write_sidecar(
    path: Path, visit: OrganVisit, maker: Maker, dropped: float, measures: Mapping[str, float]
) -> None:
    told = {
        "Description": "Organ mask: the largest object of what a network found, with its holes filled",
        "Type": "ROI",
        **made_by(maker.record, visit.visit.files, maker.threshold),
        "SHA256": checksum(path),
        "DroppedShare": dropped,
        # JSON has no NaN.
        "Measures": {name: None if math.isnan(value) else value for name, value in measures.items()},
    }
    write_sidecar(path, told)
