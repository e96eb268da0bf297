"""From a table of scans that a command left to the words of the next command."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence as Listed
from pathlib import Path

from experiments.datasets import FilesDataset, TableDataset
from psft_jax.data.channels import DCEChannels
from psft_jax.data.listing import Listing
from psft_jax.scan import Provenance, Task

SCANS = "scans.csv"
"""The table, in a run's folder."""
PLAIN_WORD = re.compile(r"[A-Za-z0-9_./-]+")
TABLES = {
    Task.SEGMENTATION: ("table", ("FLAIR", "T1"), None),
    Task.DETECTION: ("table_liver", ("DCE", "DWI"), DCEChannels.BREATH_HOLDS),
}
"""Of each task the data set that reads the table, and what it says of sequences and of channels."""


def lesion_task(dataset: FilesDataset) -> Task:
    """What lesions are looked for in a data set that was read for its organs alone."""
    _, liver, _ = TABLES[Task.DETECTION]
    is_liver = isinstance(dataset, TableDataset) and dataset.sequences == liver
    return Task.DETECTION if is_liver else Task.SEGMENTATION


def next_words(folder: Path, dataset: FilesDataset, listings: Listed[Listing], task: Task) -> list[str]:
    """The words after which a command reads the table of scans in a run's folder."""
    kind, usual, channels = TABLES[task]
    words = [
        f"dataset={kind}",
        _word("dataset.path", str(folder / SCANS)),
        _word("dataset.name", listings[0].name),
    ]
    if sequence_names(listings) != usual:
        words.append(
            shlex.quote(f"dataset.sequences={json.dumps(sequence_names(listings), ensure_ascii=False)}")
        )
    if isinstance(dataset, TableDataset) and dataset.dce_channels != channels:
        words.append(f"dataset.dce_channels={dataset.dce_channels or 'null'}")
    if listings[0].rules.resample:
        words.append("dataset.resample_masks=true")
    if dataset.provenance is not Provenance.REAL:
        words.append(f"dataset.provenance={dataset.provenance}")
    return words


def sequence_names(listings: Listed[Listing]) -> tuple[str, str]:
    """Of the two sequences, as the data set calls them."""
    first, second = listings[0].sequences
    return first.name, second.name


def _word(key: str, value: str) -> str:
    """A key and a value between the quotation marks that Hydra and the shell need."""
    if PLAIN_WORD.fullmatch(value):
        return f"{key}={value}"
    escaped = value.replace('"', '\\"')
    return shlex.quote(f'{key}="{escaped}"')
