"""What a pipeline makes of a subject's raw files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psft_jax.data.visit_files import VisitFiles


@dataclass(frozen=True)
class Prepared:
    """One visit after preprocessing.

    Args:
        files: the visit as it can be read now: the files that were written, all below the pipeline's folder.
        steps: of every file that was written (masks and transforms too): what was done to make it, with all
            parameters and what was found on the way (such as a metric's value), as JSON can hold it.
    """

    files: VisitFiles
    steps: Mapping[Path, Mapping[str, Any]] = field(default_factory=dict)


Pipeline = Callable[[Sequence[VisitFiles], Path], list[Prepared]]
"""Preprocesses all visits of a subject, earliest first, into a folder that exists and is empty.

The names of its files are those of ``psft_jax.data.bids_names.bids_path``, below that folder. It reads the
originals and writes nothing beside them. Whoever calls it moves the folder into its place when it is whole,
and writes a JSON file beside each file: inputs with their hashes, versions, and the file's ``steps``.
"""
