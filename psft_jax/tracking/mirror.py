"""A run in W&B that mirrors a run here. What fails there is said once, and never stops the run here."""

from __future__ import annotations

import functools
import logging
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import numpy as np
import pandas as pd

from psft_jax.tracking.config import TrackingConfig, TrackingMode
from psft_jax.tracking.session import at_home, parts, start, stop, told

logger = logging.getLogger(__name__)

P = ParamSpec("P")


@contextmanager
def mirrored(folder: Path, config: TrackingConfig, about: Mapping[str, Any]) -> Iterator[Mirror]:
    """The run in W&B, for the length of the block; one that does nothing where W&B is off or did not start.

    It begins anew at each attempt, under the same id, and replaces what W&B has of earlier ones.

    Args:
        folder: the run's folder.
        config: of W&B.
        about: name, job type, tags and configuration.
    """
    if config.mode is TrackingMode.OFF:
        yield Mirror(None, folder)
        return
    earlier = parts(folder)
    with at_home(folder):
        mirror = Mirror(start(folder, config, about), folder)
        exit_code = 1
        try:
            yield mirror
            exit_code = 0
        finally:
            mirror.close(exit_code=exit_code)
            if not mirror.broken:
                for part in earlier:
                    shutil.rmtree(part, ignore_errors=True)


def _harmless(method: Callable[Concatenate[Mirror, P], None]) -> Callable[Concatenate[Mirror, P], None]:
    """Leave out what W&B cannot do: its disk may be full, its process dead, its server's answer odd."""

    @functools.wraps(method)
    def guarded(self: Mirror, *args: P.args, **named: P.kwargs) -> None:
        if self.broken:
            return
        try:
            method(self, *args, **named)
        except Exception as error:
            self.broken = True
            logger.warning(
                "W&B failed (%s): from here on the run is recorded in %s only", told(error), self.folder
            )

    return guarded


class Mirror:
    """What W&B is told of a run.

    Args:
        run: W&B's, or None for a mirror that shows nothing.
        folder: the run's own folder.
    """

    def __init__(self, run: Any, folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.broken = run is None
        self._step = 0
        if run is not None and not run.offline:
            logger.info("W&B: %s", run.url)

    @_harmless
    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step."""
        self._log(values, step)

    @_harmless
    def summary(self, values: Mapping[str, float]) -> None:
        """Final numbers; an undefined one is an empty cell in the table of runs."""
        defined = {name: value for name, value in values.items() if not math.isnan(value)}
        self._log(defined, self._step)  # bar charts draw from the history
        self.run.summary.update(defined)

    @_harmless
    def images(self, images: Mapping[str, Path], step: int) -> None:
        """Picture files by name."""
        import wandb

        self._log({name: wandb.Image(str(path)) for name, path in images.items()}, step)

    @_harmless
    def overlay(
        self,
        name: str,
        image: np.ndarray,
        masks: Mapping[str, np.ndarray],
        classes: Mapping[int, str],
        step: int,
    ) -> None:
        """A (Y, X) slice from 0 to 1, and labels by the name of their mask."""
        import wandb

        labels = {
            mask: {"mask_data": label.astype(np.uint8), "class_labels": dict(classes)}
            for mask, label in masks.items()
        }
        grey = np.round(255 * image).astype(np.uint8)
        self._log({name: wandb.Image(grey, masks=labels)}, step)

    @_harmless
    def table(self, name: str, rows: pd.DataFrame, step: int) -> None:
        """A table, as a file of the run."""
        import wandb

        cells = rows.astype(object).where(rows.notna(), None)  # JSON has no NaN
        table = wandb.Table(dataframe=cells, allow_mixed_types=True)
        # Bound to the run before it is logged, it is not an artifact as well. Offline, W&B notes an
        # artifact's files by their absolute path, and the table of a copied run would be lost.
        table.bind_to_run(self.run, name, step)
        self._log({name: table}, step)

    @_harmless
    def artifact(self, name: str, kind: str, folder: Path) -> None:
        """A folder of files."""
        import wandb

        artifact = wandb.Artifact(re.sub(r"[^\w.-]", "_", name), type=kind)
        # Immutable: sent from where they lie, and not copied first.
        artifact.add_dir(str(folder), policy="immutable")
        self.run.log_artifact(artifact)

    def close(self, *, exit_code: int) -> None:
        """The end of the run."""
        if self.run is None:
            return
        try:
            stop(self.run, exit_code=exit_code)
        except Exception as error:
            if not self.broken:
                self.broken = True
                rest = f"wandb sync {Path(self.run.dir).parent} sends the rest"
                logger.warning("W&B did not end well (%s): %s", told(error), rest)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        # W&B drops what comes after a later step, so that moves to the step reached.
        self._step = max(step, self._step)
        self.run.log(dict(values), step=self._step)
