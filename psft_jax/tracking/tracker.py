"""One run's record: numbers on disk as they come, and all that W&B shows in W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Integer

from psft_jax.tracking.config import TrackingConfig
from psft_jax.tracking.metrics import MetricsFile
from psft_jax.tracking.mirror import mirrored


class Tracker:
    """One run's record.

    Every call passes its step, and steps do not go back. A run that goes on after an interruption calls
    ``rewind`` first: W&B's resuming knows nothing of checkpoints, so each attempt tells W&B all of the run
    anew.

    Args:
        folder: the run's folder.
        config: of W&B.
        name: the run's name.
        job_type: the stage, ``train_base`` or ``finetune``.
        tags: dataset, task, ablation, provenance.
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
        self._checkpoints = config.checkpoints
        self._metrics = MetricsFile(folder)
        self._open = ExitStack()
        self._open.callback(self._metrics.close)
        about = {"name": name, "job_type": job_type, "tags": [*config.tags, *tags], "config": dict(settings)}
        self._mirror = self._open.enter_context(mirrored(folder, config, about))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers at a step, on disk as they come."""
        self._metrics.write({"step": step, **values})
        self._mirror.numbers(values, step)

    def rewind(self, step: int) -> None:
        """Forget what an earlier attempt logged after ``step``, and tell W&B what it logged before."""
        for line in self._metrics.rewind(step):
            self._mirror.numbers(line, line.pop("step"))

    def summary(self, values: Mapping[str, float]) -> None:
        """Final numbers, by which the table of runs sorts."""
        self._mirror.summary(values)

    def images(self, images: Mapping[str, Path], step: int) -> None:
        """Figures, by their name."""
        self._mirror.images(images, step)

    def overlay(
        self,
        name: str,
        image: Float[np.ndarray, "Y X"],
        masks: Mapping[str, Integer[np.ndarray, "Y X"] | Bool[np.ndarray, "Y X"]],
        classes: Mapping[int, str],
        step: int,
    ) -> None:
        """A slice with masks that W&B switches on and off.

        Args:
            name: of the picture.
            image: (Y, X) from 0 (black) to 1 (white), row 0 at the top.
            masks: name -> (Y, X) label of each pixel, from 0 to 127.
            classes: label -> what it means.
            step: of the run.
        """
        self._mirror.overlay(name, image, masks, classes, step)

    def table(self, name: str, rows: pd.DataFrame, step: int) -> None:
        """A table, such as the tidy results."""
        self._mirror.table(name, rows, step)

    def artifact(self, name: str, kind: str, folder: Path) -> None:
        """A folder such as a checkpoint as an artifact, where ``checkpoints`` asks for them.

        Offline, W&B notes where the files lie: sync such a run before it is moved or deleted.

        Args:
            name: the artifact's; a new version of it where W&B has one of this name.
            kind: its type, such as "model".
            folder: the files.
        """
        if self._checkpoints:
            self._mirror.artifact(name, kind, folder)
