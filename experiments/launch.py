"""From a command line to a run's folder: errors as sentences, finished runs skipped, others resumed."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments.config import RunConfig, config_hash, parse, plain, run_folder
from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.scan import Cohort
from psft_jax.tracking import Tracker

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
DONE = "done.json"


def register_resolvers(kind: type[RunConfig], stage: str) -> None:
    """Let YAML values name the run's folder, and the folder of real scans.

    Args:
        kind: the command's configuration.
        stage: the folder of the command's runs.
    """

    def folder(_root_: DictConfig) -> Path:
        # Hydra asks for the folder before it runs the task, so this is where a wrong value first shows.
        with errors_as_sentences():
            return run_folder(parse(_without_hydra(_root_), kind), stage)

    def in_data(name: str) -> str | None:
        root = os.environ.get("PSFT_DATA")
        return str(Path(root) / name) if root else None

    resolvers: dict[str, Callable[..., Any]] = {
        "run_folder": lambda _root_: str(folder(_root_)),
        "run_name": lambda _root_: folder(_root_).name,
        "in_data": in_data,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def command(kind: type[RunConfig]) -> Callable[[Callable[[Any], None]], Callable[[DictConfig], None]]:
    """Turn a function of a checked configuration into a Hydra task that explains errors in one sentence."""

    def wrap(task: Callable[[Any], None]) -> Callable[[DictConfig], None]:
        @functools.wraps(task)
        def run(composed: DictConfig) -> None:
            with errors_as_sentences():
                config = parse(_without_hydra(composed), kind)
                if config.hardware.platform is not None:
                    jax.config.update("jax_platforms", config.hardware.platform)
                task(_grouped(config))

        return run

    return wrap


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the process with the error's sentence and no traceback (which is logged at level DEBUG)."""
    try:
        yield
    except InputError as error:
        logger.debug("where it happened", exc_info=True)
        sys.exit(f"error: {error}")


@contextmanager
def open_run(config: RunConfig, stage: str) -> Iterator[Path | None]:
    """The run's folder, ready to write to, or None where the run is already finished.

    On leaving without an error the run is marked as done.

    Raises:
        InputError: the folder holds a run of another configuration.
    """
    folder = run_folder(config, stage)
    if config.overwrite:
        _empty(folder)
    if (folder / CONFIG).exists():
        _check_same(folder, config)
    if (folder / DONE).exists():
        logger.info("already finished: %s (overwrite=true runs it again)", folder)
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / CONFIG, overwrite=True) as temporary:
        text = OmegaConf.to_yaml(OmegaConf.create(plain(config)))
        temporary.write_text(f"# {config_hash(config)}\n{text}", encoding="utf-8")
    yield folder
    packages = ("psft_jax", "jax", "flax", "optax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    with atomic_path(folder / DONE) as temporary:
        temporary.write_text(json.dumps({"config": config_hash(config), "versions": versions}, indent=2))


def start_tracking(config: RunConfig, folder: Path, cohort: Cohort, stage: str) -> Tracker:
    """The run's record, tagged by what it is."""
    return Tracker(
        folder,
        config.tracking,
        name=folder.name,
        job_type=stage,
        tags=(cohort.name, config.task.kind.value, cohort.provenance.value),
        settings=plain(config),
    )


def _empty(folder: Path) -> None:
    """Delete what an earlier run left, but for the log, which Hydra has opened already."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()


def _check_same(folder: Path, config: RunConfig) -> None:
    found = (folder / CONFIG).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    if found != config_hash(config):
        raise InputError(
            folder,
            found=f"a run of another configuration ({found})",
            expected=f"this configuration ({config_hash(config)})",
            remedy="Choose another name=, or overwrite=true to delete that run.",
        )


def _without_hydra(composed: DictConfig) -> DictConfig:
    """The command's own part of a composed configuration."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def _grouped(config: RunConfig) -> RunConfig:
    """In a multirun, the W&B group is the sweep: the same for all its jobs, also when it is repeated."""
    if config.tracking.group is not None or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return config
    typed = sorted(word for word in sys.argv[1:] if word not in ("-m", "--multirun"))
    sweep = hashlib.sha256(" ".join(typed).encode()).hexdigest()[:8]
    return replace(config, tracking=replace(config.tracking, group=f"sweep-{sweep}"))
