"""From a command line to a run's folder: errors as sentences, finished runs skipped, others resumed."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments.config import FinetuneRun, RunConfig
from experiments.help import help_of
from experiments.parsing import config_hash, parse, plain, run_folder
from psft_jax.allocator import keep_pages
from psft_jax.errors import InputError
from psft_jax.files import refused_by_disk, write_text
from psft_jax.scan import Cohort
from psft_jax.tracking import Tracker

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
IDENTITY = "identity.json"
DONE = "done.json"
REFUSED = ".refused"
"""Where Hydra logs a job of a multirun whose configuration is refused."""
BASE_CNN = "base CNN"
"""What an identity calls the base CNN that a run starts from."""
INTERRUPTED = "interrupted: repeat the command to go on where it stopped"
PACKAGES = ("psft_jax", "jax", "flax", "optax", "numpy")


def register_resolvers(kind: type[RunConfig], stage: str) -> None:
    """Let YAML values name the run's folder, and the folder of real scans.

    Args:
        kind: the command's configuration.
        stage: the folder of the command's runs.
    """

    def folder(composed: DictConfig) -> Path:
        path = run_folder(parse(_without_hydra(composed), kind), stage)
        _check_place(path)
        return path

    def path_of_run(composed: DictConfig) -> str:
        # Hydra asks for the folder before it runs the task, so this is where a wrong value first shows.
        with errors_as_sentences():
            return str(folder(composed))

    def name_of_job(composed: DictConfig) -> str:
        # In a multirun the job itself tells what is wrong, and the others go on.
        try:
            return folder(composed).name
        except InputError:
            return REFUSED

    def in_data(name: str) -> str | None:
        root = os.environ.get("PSFT_DATA")
        return str(Path(root) / name) if root else None

    def text_of_help(composed: DictConfig) -> str:
        chosen = composed.hydra.runtime.choices.items()
        own = {group.split("@")[0]: name for group, name in chosen if not group.startswith("hydra/")}
        return help_of(stage, own).replace("$", "$$")  # Hydra takes $ for the beginning of a name

    resolvers: dict[str, Callable[..., Any]] = {
        "help_of": lambda _root_: text_of_help(_root_),
        "run_folder": lambda _root_: path_of_run(_root_),
        "run_name": lambda _root_: name_of_job(_root_),
        "in_data": in_data,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def command(kind: type[RunConfig]) -> Callable[[Callable[[Any], None]], Callable[[DictConfig], None]]:
    """Turn a function of a checked configuration into a Hydra task that explains errors in one sentence."""

    def wrap(task: Callable[[Any], None]) -> Callable[[DictConfig], None]:
        @functools.wraps(task)
        def run(composed: DictConfig) -> None:
            with failing_alone() if _is_multirun() else errors_as_sentences():
                config = parse(_without_hydra(composed), kind)
                keep_pages()
                _use_platform(config.hardware.platform)
                with refused_by_disk(config.out):
                    task(_grouped(config))

        return run

    return wrap


def as_typed(module: str, *words: str) -> str:
    """A command as it can be typed here: with the Python that runs now, whether or not it is on the path."""
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return " ".join([shlex.quote(str(shown)), "-m", f"experiments.{module}", *words])


def log_to_terminal() -> None:
    """Log as Hydra's commands do, in one that takes folders and no configuration."""
    # Imported packages may have set up logging already.
    logging.basicConfig(
        level=logging.INFO, format="[%(asctime)s] %(message)s", datefmt="%H:%M:%S", force=True
    )


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the process with the error's sentence and no traceback (which is logged at level DEBUG)."""
    try:
        yield
    except InputError as error:
        logger.debug("where it happened", exc_info=True)
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def failing_alone() -> Iterator[None]:
    """End one job of a multirun with the error's sentence; Hydra runs the others, and tells of it again."""
    try:
        yield
    except InputError as error:
        logger.error("error: %s", error)
        raise CompactHydraException(f"error: {error}") from error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@dataclass(frozen=True)
class Run:
    """A run's folder, and whether an earlier command has finished it."""

    folder: Path
    finished: bool


@contextmanager
def open_run(config: RunConfig, stage: str, inputs: Mapping[str, str]) -> Iterator[Run]:
    """The run's folder, ready to write to, until ``finish`` marks it as finished.

    What ``overwrite`` replaces is put aside first, and deleted when the new run is finished. A finished run
    with more inputs than before (another patient) is not finished any more; what it holds is kept.

    Args:
        config: the run.
        stage: the command.
        inputs: what the run starts from and its configuration only names, such as a base CNN's SHA-256.

    Raises:
        InputError: the folder holds a run of another configuration, or from other inputs, or another process
            is writing to it.
    """
    folder = run_folder(config, stage)
    with _alone(folder):
        # What can be told in a word first: a base CNN is part of the configuration too.
        identity = {**inputs, "configuration": config_hash(config)}
        if config.overwrite:
            _put_aside(folder)
        known = _known_identity(folder, identity)
        if (folder / DONE).exists() and identity.keys() <= known.keys():
            logger.info("already finished: %s (overwrite=true runs it again)", folder)
            yield Run(folder, finished=True)
            return
        write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(plain(config))), overwrite=True)
        write_text(folder / IDENTITY, json.dumps({**known, **identity}, indent=2), overwrite=True)
        (folder / DONE).unlink(missing_ok=True)
        yield Run(folder, finished=False)


def finish(folder: Path) -> None:
    """Mark a run as finished: the same command will find it and not run it again."""
    write_text(folder / DONE, json.dumps(versions(), indent=2), overwrite=True)
    shutil.rmtree(_aside(folder), ignore_errors=True)


def versions() -> dict[str, str]:
    """What the numbers were computed with."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def start_tracking(config: RunConfig, folder: Path, cohort: Cohort, stage: str) -> Tracker:
    """The run's record, tagged by what it is and what it is part of."""
    settings = plain(config)
    if isinstance(config, FinetuneRun):
        settings["variant"] = config.finetune.variant  # what dashboards group by
    ablations = config.sweep if isinstance(config, FinetuneRun) else ()
    return Tracker(
        folder,
        config.tracking,
        name=folder.name,
        job_type=stage,
        tags=(cohort.name, config.task.kind.value, cohort.provenance.value, *ablations),
        settings=settings,
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep every other process away from a run's folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            folder,
            found="another process at work on this run",
            expected="one process a run",
            remedy="Wait until it has finished, or choose another name=.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.replaced")


def _put_aside(folder: Path) -> None:
    """Move an earlier run out of the way, but for the log, which Hydra has opened already.

    Where the replacement of a run was itself interrupted, its beginnings are deleted: the run that was put
    aside first is the one to keep.
    """
    if not (folder / IDENTITY).exists():
        return
    aside = _aside(folder)
    keep = not aside.exists()
    aside.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if keep and path.suffix != ".log":
            path.rename(aside / path.name)
        elif path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()


def _known_identity(folder: Path, identity: Mapping[str, str]) -> dict[str, str]:
    """What the run in a folder was made from; nothing where there is none yet.

    Raises:
        InputError: something of it is not what it is now.
    """
    if not (folder / IDENTITY).exists():
        return {}
    known: dict[str, str] = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    for what, value in identity.items():
        if known.get(what, value) != value:
            raise InputError(
                folder,
                found=f"a run with another {what} ({known[what][:8]})",
                expected=f"the {what} as it is now ({value[:8]})",
                remedy="Choose another name=, or overwrite=true to replace that run.",
            )
    return known


def _check_place(folder: Path) -> None:
    """Make sure that a run's folder can be made: no file stands where it or a folder above it should."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise InputError(
                path, found="a file", expected="a folder, or nothing yet", remedy="Choose another out=."
            )


def _use_platform(platform: str | None) -> None:
    if platform is None:
        return
    jax.config.update("jax_platforms", platform)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            "hardware.platform",
            found=f"{platform}, which JAX cannot use here ({str(error)[:200] or type(error).__name__})",
            expected="a platform that this machine and this JAX have",
            remedy="Use hardware=cpu, or install the extra for the device (cuda12, cuda13, tpu).",
        ) from error


def _without_hydra(composed: DictConfig) -> DictConfig:
    """The command's own part of a composed configuration."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def _is_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _grouped(config: RunConfig) -> RunConfig:
    """In a multirun, the W&B group is the sweep: the same for all its jobs, also when it is repeated."""
    if config.tracking.group is not None or not _is_multirun():
        return config
    typed = sorted(word for word in sys.argv[1:] if word not in ("-m", "--multirun"))
    sweep = hashlib.sha256(" ".join(typed).encode()).hexdigest()[:8]
    return replace(config, tracking=replace(config.tracking, group=f"sweep-{sweep}"))
