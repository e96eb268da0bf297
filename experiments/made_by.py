"""What the JSON file beside an image says of the network that made it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.launch import versions
from psft_jax.data.bids_derivative import Sources
from psft_jax.training.saved import BaseRecord


def made_by(record: BaseRecord, files: Iterable[Path], threshold: float) -> dict[str, Any]:
    """The fields for files, a network and what it was used with.

    Args:
        record: of the network.
        files: that it was given, which are named with their SHA-256.
        threshold: probability from which on a voxel was taken.
    """
    return {
        **Sources().told(files),
        "Network": {
            "SHA256": record.sha256,
            "Model": record.model_name,
            "TrainedOn": f"{len(record.training_subjects)} patients of {record.dataset}",
            "Provenance": record.provenance.value,
        },
        "Threshold": threshold,
        "Versions": versions(),
    }
