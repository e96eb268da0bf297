"""The beginning and the end of a run in W&B, in a process and a folder of its own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psft_jax.files import write_text
from psft_jax.tracking.config import TrackingConfig, TrackingMode

logger = logging.getLogger(__name__)

ID = "wandb_id.txt"
START_SECONDS = 30
FINISH_SECONDS = 300
"""How long W&B may take to begin a run, and to send what is left at its end."""

_out_of_reach: set[tuple[str | None, str | None]] = set()
"""Servers, with the key, that did not answer: the next runs of this process do not wait for them again."""


@contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Let W&B write inside a run's folder alone, so that a copied run can still be synchronised."""
    home = folder.resolve()
    places = {
        "WANDB_DIR": home,
        "WANDB_DATA_DIR": home / "wandb" / "data",
        "WANDB_CACHE_DIR": home / "wandb" / "cache",
        "WANDB_ARTIFACT_DIR": home / "wandb" / "artifacts",
    }
    before = {name: os.environ.get(name) for name in places}
    os.environ.update({name: str(place) for name, place in places.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start(folder: Path, config: TrackingConfig, about: Mapping[str, Any]) -> Any:
    """Begin a run in W&B, or say why there is none.

    Args:
        folder: the run's folder, which also keeps the run's id.
        config: of W&B; not off.
        about: name, job type, tags and configuration.

    Returns:
        W&B's run, or None.
    """
    try:
        import wandb
    except ImportError:
        logger.warning("wandb is not installed: the run is recorded in %s only", folder)
        return None
    options = {
        **about,
        "id": _identity(folder),
        "project": config.project,
        "entity": config.entity,
        "group": config.group,
        "dir": str(folder.resolve()),
        "reinit": "create_new",  # never a run that somebody else has open in this process
    }
    online = config.mode is TrackingMode.ONLINE
    server = os.environ.get("WANDB_BASE_URL"), os.environ.get("WANDB_API_KEY")
    for mode in ("online", "offline") if online and server not in _out_of_reach else ("offline",):
        before = parts(folder)
        try:
            return _init(wandb, {**options, "mode": mode})
        except Exception as error:
            if mode == "online":
                _out_of_reach.add(server)
            # What did not start holds the id and has left a folder.
            end_process(wandb)
            for part in parts(folder) - before:
                shutil.rmtree(part, ignore_errors=True)
            after = "offline, for wandb sync to send" if mode == "online" else f"in {folder} only"
            logger.warning("W&B did not start (%s): the run is recorded %s", told(error), after)
    return None


def parts(folder: Path) -> set[Path]:
    """W&B's own folders inside a run's folder, one an attempt."""
    return set(folder.glob("wandb/*run-*"))


def stop(run: Any, *, exit_code: int) -> None:
    """End a run and W&B's process: what follows in this process starts its own, in its own folder.

    Raises:
        Exception: something is left that W&B could not write or send.
    """
    import wandb

    home = Path(run.dir).parent
    try:
        run.finish(exit_code=exit_code)
    finally:
        end_process(wandb)
    _check_written(home)


def told(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _init(wandb: Any, options: Mapping[str, Any]) -> Any:
    # Silent from the start: else W&B asks for a key where there is a terminal, and waits for the answer.
    wandb.setup(wandb.Settings(silent=True))
    settings = wandb.Settings(
        console="off",
        disable_git=True,
        silent=True,
        x_disable_stats=True,
        init_timeout=START_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
    )
    return wandb.init(**options, settings=settings)


def _check_written(home: Path) -> None:
    """Raise what W&B's process could not write: of a full disk it tells in its log alone."""
    lines = (home / "logs" / "debug-internal.log").read_text(encoding="utf-8").splitlines()
    for line in map(json.loads, lines):
        if line["level"] == "ERROR" and line["msg"].startswith("writer:"):
            raise OSError(line["msg"])


def end_process(wandb: Any) -> None:
    """End what W&B runs beside this process, unless somebody else still needs it."""
    if wandb.run is not None:
        return
    # W&B ends Python with the exit status of its process where that process had died.
    with suppress(Exception, SystemExit):
        wandb.teardown()


def _identity(folder: Path) -> str:
    """The run's id in W&B: the same at each attempt."""
    path = folder / ID
    if not path.exists():
        write_text(path, uuid.uuid4().hex[:8])
    return path.read_text()
