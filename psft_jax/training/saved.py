"""A trained base CNN on disk: a record of what it is, and its variables."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from pydantic import TypeAdapter, ValidationError

from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.model.config import PNetConfig
from psft_jax.model.network import Network, Variables
from psft_jax.scan import AnyTask, Cohort, Provenance
from psft_jax.training.checkpoints import restore_tree, save_tree

RECORD = "base.json"
NETWORK = "network"


@dataclass(frozen=True)
class BaseRecord:
    """What a base CNN is and what it was trained on.

    Args:
        task: segmentation, detection or organ.
        model: its architecture.
        model_name: the name of the preset.
        channels: input channels of the two pathways.
        sequences: names of the two sequences.
        dataset: name of the cohort it was trained on.
        provenance: of that cohort.
        training_subjects: the patients it has seen.
        seed: of its training.
        sha256: of its variables, because a checkpoint does not tell a flipped bit from a weight.
    """

    task: AnyTask
    model: PNetConfig
    model_name: str
    channels: tuple[int, int]
    sequences: tuple[str, str]
    dataset: str
    provenance: Provenance
    training_subjects: tuple[str, ...]
    seed: int
    sha256: str

    @property
    def network(self) -> Network:
        """The architecture with its input channels."""
        return Network(self.model, self.channels)

    def check_fits(self, cohort: Cohort, task: AnyTask) -> None:
        """Make sure that the base CNN can be fine-tuned on a cohort, and has not seen its test patients.

        Raises:
            InputError: the task or the sequences differ, or a test patient was among the training patients.
        """
        wanted = (task, tuple(s.name for s in cohort.sequences), cohort.channels)
        own = (self.task, self.sequences, self.channels)
        if wanted != own:
            raise InputError(
                "base",
                found=f"a base CNN for {_described(*own)}",
                expected=f"one for {_described(*wanted)}, as cohort {cohort.name} needs it",
                remedy="Name a base run of this task, or train one: python -m experiments.train_base",
            )
        seen = sorted({p.subject for p in cohort.test} & set(self.training_subjects))
        if seen:
            raise InputError(
                "base",
                found=f"test patients that this base CNN was trained on: {', '.join(seen)}",
                expected="a base CNN that has not seen the test patients",
                remedy="Train a base CNN without them.",
            )


def save_base(folder: Path, record: BaseRecord, variables: Variables) -> None:
    """Write a base CNN into a run's folder; its record comes last, so a folder that has one is complete."""
    save_tree(folder / NETWORK, variables._asdict())
    with atomic_path(folder / RECORD, overwrite=True) as temporary:
        temporary.write_bytes(TypeAdapter(BaseRecord).dump_json(record, indent=2))


def load_base(folder: Path) -> tuple[BaseRecord, Variables]:
    """Read a base CNN.

    Args:
        folder: of a finished ``train_base`` run.

    Raises:
        InputError: the folder is not one, or its checkpoint is broken or of another network.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InputError(
            folder,
            found="a folder without base.json" if folder.is_dir() else "no such folder",
            expected="the folder of a finished base training",
            remedy="Give base=FOLDER as printed by python -m experiments.train_base; an interrupted training "
            "resumes when its command is repeated.",
        )
    try:
        record = TypeAdapter(BaseRecord).validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(
            path,
            found=f"{problem['msg']} at {'.'.join(map(str, problem['loc'])) or 'its start'}",
            expected="the record of a base CNN",
            remedy="Restore the file, or train again.",
        ) from error
    like = record.network.shapes
    tree = restore_tree(folder / NETWORK, like._asdict(), what=f"the base CNN {record.model_name}")
    variables = Variables(**tree)
    if fingerprint(variables) != record.sha256:
        raise InputError(
            folder / NETWORK,
            found="variables that are not those that were saved (their SHA-256 differs)",
            expected=f"the checkpoint that {RECORD} describes",
            remedy="The files were damaged or exchanged: restore them from a copy, or train again.",
        )
    return record, variables


def fingerprint(variables: Variables) -> str:
    """SHA-256 of all arrays, in the order of the tree."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(variables):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _described(task: AnyTask, sequences: tuple[str, ...], channels: tuple[int, int]) -> str:
    inputs = " and ".join(f"{name} ({count})" for name, count in zip(sequences, channels, strict=True))
    return f"{task.value} with {inputs} channels"
