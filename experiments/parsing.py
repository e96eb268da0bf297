"""From composed YAML values to checked dataclasses, and from these to the name of a run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

from experiments.config import BasedRun, FinetuneRun, RunConfig, StudyRun, TrainBaseRun
from psft_jax.errors import FieldError, InputError
from psft_jax.training.saved import RECORD

T = TypeVar("T")

NOT_HASHED = ("out", "name", "overwrite", "tracking", "hardware", "sweep", "workers", "memory_gb")
"""What changes a run's results by no more than rounding, and so does not make it another run. Base training
amplifies rounding, step by step (docs/performance.md)."""
_ENUM = re.compile(r"<[\w.]+: ('[^']*')>")
"""A choice as Python shows it; the user types what stands in the quotation marks."""
LONGEST_NAME = 80
"""Characters of a folder's name that say how the run differs from the paper's."""


def parse(config: DictConfig, kind: type[T]) -> T:
    """The composed configuration as a checked dataclass.

    Raises:
        InputError: a value is missing or of a wrong type, or a key is unknown.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(
            missing[0],
            found="no value",
            expected="a value on the command line",
            remedy=f"Add {missing[0]}=...; --help says what it is.",
        )
    values = OmegaConf.to_container(config, resolve=True)
    adapter = TypeAdapter(kind)
    try:
        parsed = adapter.validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        cause = problem.get("ctx", {}).get("error")
        keys = _keys(values, [str(key) for key in problem["loc"]])
        if isinstance(cause, FieldError):
            raise cause.inside(".".join(keys)) from None
        if isinstance(cause, InputError):
            raise cause from None
        raise InputError(
            ".".join(keys),
            found=repr(problem["input"]),
            expected=_ENUM.sub(r"\1", problem["msg"].removeprefix("Input should be ")),
            remedy="Correct the value; the files under conf/ say what each one means.",
        ) from None
    unknown = _unknown_keys(values, plain(parsed))
    if unknown:
        raise InputError(
            unknown[0],
            found="a key that nothing reads",
            expected="one of the keys that --help shows",
            remedy="Look for a slip of the pen.",
        )
    return parsed


def plain(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain values, as YAML and JSON hold them."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def config_hash(config: RunConfig) -> str:
    """Eight hexadecimal digits that name everything in a configuration that can change the results.

    A base CNN counts by what it is, not by the words that lead to its folder.
    """
    values = {key: value for key, value in plain(config).items() if key not in NOT_HASHED}
    if isinstance(config, BasedRun):
        record = config.base_folder / RECORD
        values["base"] = json.loads(record.read_bytes())["sha256"] if record.is_file() else config.base
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def run_folder(config: RunConfig, stage: str) -> Path:
    """Where a run writes: ``out/STAGE/NAME``, by default of dataset, model or fine-tuning, seed, and hash."""
    if config.name is not None:
        return Path(config.out) / stage / config.name
    parts: list[str] = [config.dataset.source]
    seeds = f"seed{config.seed}"
    if isinstance(config, TrainBaseRun):
        parts.append(config.model.name)
    if isinstance(config, FinetuneRun):
        told = "_".join(config.finetune.differences) or "paper"
        parts.append(re.sub(r"[^\w.]+", "_", told)[:LONGEST_NAME].rstrip("_"))
    if isinstance(config, StudyRun):
        parts.append("_".join(config.ablations)[:LONGEST_NAME])
        seeds = f"seeds{'_'.join(map(str, config.seeds))}"
    return Path(config.out) / stage / "-".join([*parts, seeds, config_hash(config)])


def _keys(values: Any, location: Sequence[str]) -> list[str]:
    """The keys that lead to a value; pydantic also tells which of several kinds of group it was read as.

    >>> _keys({"dataset": {"source": "table", "path": 3}}, ["dataset", "table", "path"])
    ['dataset', 'path']
    """
    if not location:
        return []
    first, *others = location
    if not isinstance(values, Mapping):
        return list(location)
    if first not in values and first in values.values():
        return _keys(values, others)
    return [first, *_keys(values.get(first), others)]


def _unknown_keys(given: Any, known: Any, path: str = "") -> list[str]:
    if not isinstance(given, Mapping) or not isinstance(known, Mapping):
        return []
    here = [f"{path}{key}" for key in given if key not in known]
    return here + [
        deeper
        for key in given
        if key in known
        for deeper in _unknown_keys(given[key], known[key], f"{path}{key}.")
    ]
