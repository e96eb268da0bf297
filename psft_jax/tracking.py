"""What a run records: ``metrics.jsonl`` in its folder first, and Weights & Biases as its mirror.

W&B is imported only where it is used. Offline, the default, nothing waits for a network: the W&B run is
written into the run's own folder, and ``wandb sync`` sends it whenever one likes.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from psft_jax.files import atomic_path

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


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
    """

    mode: TrackingMode = TrackingMode.OFFLINE
    project: str = "psft_jax"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()


class Tracker:
    """One run's record.

    Args:
        folder: the run's folder.
        config: of W&B.
        name: the run's name.
        job_type: the stage, ``train_base`` or ``finetune``.
        tags: dataset, task, provenance.
        settings: the run's whole configuration as plain nested values.
    """

    def __init__(
        self,
        folder: Path,
        config: TrackingConfig,
        *,
        name: str,
        job_type: str,
        tags: Sequence[str],
        settings: Mapping[str, Any],
    ) -> None:
        self._path = folder / METRICS
        self._file = self._path.open("a", encoding="utf-8")
        self._run = _start_wandb(folder, config, name, job_type, (*config.tags, *tags), settings)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers at a step, on disk as they come."""
        self.write({"step": step, **values})
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def write(self, record: Mapping[str, Any]) -> None:
        """Record one line in ``metrics.jsonl`` alone."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step`` by a run that was interrupted and resumes there."""
        if not self._path.stat().st_size:
            return
        kept = [line for line in read_metrics(self._path) if line.get("step", 0) <= step]
        self._file.close()
        with atomic_path(self._path, overwrite=True) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")

    def summary(self, values: Mapping[str, float]) -> None:
        """Final numbers, by which the table of runs sorts."""
        if self._run is not None:
            self._run.summary.update(dict(values))

    def images(self, images: Mapping[str, Path], step: int) -> None:
        """Figures, by their name."""
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Image(str(path)) for name, path in images.items()}, step=step)

    def table(self, name: str, rows: pd.DataFrame, step: int) -> None:
        """A table, such as the tidy results."""
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Table(dataframe=rows)}, step=step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line that was cut off by an interruption is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _start_wandb(
    folder: Path,
    config: TrackingConfig,
    name: str,
    job_type: str,
    tags: tuple[str, ...],
    settings: Mapping[str, Any],
) -> Any:
    if config.mode is TrackingMode.OFF:
        return None
    try:
        import wandb
    except ImportError:
        logger.warning("wandb is not installed: the run is recorded in %s only", folder)
        return None
    home = folder.resolve()
    # Everything that W&B writes stays in the run's folder, so that a copied run can still be synchronised.
    for variable in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ[variable] = str(home / "wandb") if variable != "WANDB_DIR" else str(home)
    id_file = folder / "wandb_id.txt"
    if not id_file.exists():
        with atomic_path(id_file) as temporary:
            temporary.write_text(uuid.uuid4().hex[:8])
    online = config.mode is TrackingMode.ONLINE
    try:
        return wandb.init(
            # The same run when it is resumed; offline, wandb sync puts its parts together by the id.
            id=id_file.read_text(),
            resume="allow" if online else None,
            mode="online" if online else "offline",
            project=config.project,
            entity=config.entity,
            group=config.group,
            name=name,
            job_type=job_type,
            tags=list(tags),
            config=dict(settings),
            dir=str(home),
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                silent=True,
                x_disable_stats=True,
                init_timeout=30,
            ),
        )
    except wandb.errors.Error as error:
        if online:
            logger.warning("W&B did not start (%s): recorded offline, for wandb sync to send", error)
            offline = replace(config, mode=TrackingMode.OFFLINE)
            return _start_wandb(folder, offline, name, job_type, tags, settings)
        logger.warning("W&B did not start (%s): the run is recorded in %s only", error, folder)
        return None
