"""Whether and where a run is mirrored in W&B."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TrackingMode(StrEnum):
    """Where a run is recorded beside its own folder."""

    OFFLINE = "offline"
    ONLINE = "online"
    OFF = "off"


@dataclass(frozen=True)
class TrackingConfig:
    """Weights & Biases.

    Args:
        mode: offline (a W&B run in the run's folder), online, or off.
        project: the W&B project.
        entity: the W&B team or user; the account's default without one.
        group: what W&B groups runs by; the sweep in a multirun.
        tags: beside those of dataset, task and provenance.
        checkpoints: log checkpoints as artifacts too.
    """

    mode: TrackingMode = TrackingMode.OFFLINE
    project: str = "psft_jax"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    checkpoints: bool = False
