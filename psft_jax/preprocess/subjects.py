"""Subjects whose raw files are prepared one by one: each whole or not at all, and none twice.

A subject's folder holds, beside what the pipeline made, a JSON file for each of its files and one for the
subject (``Record``), by which a later run knows what is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from psft_jax.data.bids_derivative import Sources, checksum, write_json
from psft_jax.data.bids_names import bids_label
from psft_jax.data.nifti import read_series
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.preprocess.outputs import Pipeline, Prepared
from psft_jax.preprocess.processes import GB, peak_memory
from psft_jax.preprocess.sidecars import write_sidecars

RECORD = "_prepared.json"
"""How the name of a subject's record ends."""


@dataclass(frozen=True)
class Subject:
    """A subject's raw files.

    Args:
        name: as the data set calls the subject.
        visits: the earliest first.
    """

    name: str
    visits: tuple[VisitFiles, ...]

    @property
    def label(self) -> str:
        """What the subject's folder is called."""
        return f"sub-{bids_label(self.name)}"

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(file for visit in self.visits for file in visit.files)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What the outputs depend on: each visit's role, and the SHA-256 of each of its files."""
        return {
            f"{visit.session} {what}": value
            for visit in self.visits
            for what, value in _inputs_of(visit).items()
        }


@dataclass(frozen=True)
class Record:
    """What a subject's folder was made from, and what it holds.

    Args:
        inputs: those of the subject.
        visits: as they can be read now; paths are relative to the folder of all subjects.
        files: all that the folder holds but the record.
        seconds: that it took.
        peak_memory_gb: the most memory that the process held meanwhile, in GB (10^9 bytes).
    """

    inputs: dict[str, str]
    visits: tuple[VisitFiles, ...]
    files: tuple[Path, ...]
    seconds: float
    peak_memory_gb: float

    @property
    def annotated(self) -> bool:
        """Whether there is a lesion mask of every visit that a network is to learn from."""
        return all(visit.lesion is not None or visit.role is Role.FOLLOW_UP for visit in self.visits)

    def differences(self, subject: Subject) -> list[str]:
        """What of the subject is not what it was, in words."""
        names = dict.fromkeys([*self.inputs, *subject.inputs])
        return [name for name in names if self.inputs.get(name) != subject.inputs.get(name)]


_RECORDS = TypeAdapter(Record)


def find_record(folder: Path, label: str) -> Record | None:
    """What is known of a subject that was prepared before; None where its files are not all there.

    Args:
        folder: of all subjects.
        label: what the subject's folder is called.
    """
    record = _read(folder, label)
    whole = record is not None and all((folder / file).is_file() for file in record.files)
    return record if whole else None


def check_nothing_else(folder: Path, label: str) -> None:
    """Make sure that a subject's folder, before it is replaced, holds nothing that somebody put there.

    Args:
        folder: of all subjects.
        label: what the subject's folder is called.

    Raises:
        InputError: it holds files that its record does not name.
    """
    record = _read(folder, label)
    made = {folder / file for file in (record.files if record else ())}
    made.add(folder / label / f"{label}{RECORD}")
    others = sorted(file for file in (folder / label).rglob("*") if file.is_file() and file not in made)
    if others:
        raise not_ours(others)


def not_ours(files: Sequence[Path]) -> InputError:
    """The error for files that would be deleted, and are not the project's."""
    return InputError(
        ", ".join(map(str, files)),
        found="files that this command did not make, in a folder that it would replace",
        expected="nothing but its own files",
        remedy="Move them to another folder (and name them from there), then repeat the command.",
    )


def _read(folder: Path, label: str) -> Record | None:
    try:
        return _RECORDS.validate_json((folder / label / f"{label}{RECORD}").read_bytes())
    except (OSError, ValidationError):
        return None


def prepare(subject: Subject, pipeline: Pipeline, folder: Path, sources: Sources) -> Record:
    """Run a pipeline on a subject; its folder takes its place, or that of an earlier one, when it is whole.

    Args:
        subject: whose files are read and left as they are.
        pipeline: what to do with them.
        folder: of all subjects.
        sources: where the files lie, as sidecars put it.

    Returns:
        The subject's record, as it was written.

    Raises:
        InputError: a file cannot be read, or is what the pipeline cannot use; or the folder that is there
            holds files of somebody else.
    """
    check_nothing_else(folder, subject.label)
    begun = time.monotonic()
    inputs = subject.inputs  # as they are now: what changes while they are read, the next run notices
    place = folder / subject.label
    with atomic_path(place, overwrite=True) as temporary:
        prepared = _run(pipeline, subject, temporary.parent)
        write_sidecars(temporary, subject.visits, prepared, sources)
        visits = [_relative(visit.files, temporary.parent) for visit in prepared]
        files = sorted(file.relative_to(temporary.parent) for file in temporary.rglob("*") if file.is_file())
        seconds = time.monotonic() - begun
        record = Record(inputs, tuple(visits), tuple(files), seconds, peak_memory() / GB)
        write_json(temporary / f"{subject.label}{RECORD}", _RECORDS.dump_python(record, mode="json"))
        _flush_all(temporary)
        if place.exists():
            place.rename(temporary.parent / "replaced")
    return record


def _run(pipeline: Pipeline, subject: Subject, folder: Path) -> list[Prepared]:
    try:
        return pipeline(subject.visits, folder)
    except InputError:
        raise
    except Exception:
        # Of a file that cannot be read, the reader of all layouts tells more than most libraries.
        for file in subject.files:
            read_series(file)
        raise


def _inputs_of(visit: VisitFiles) -> dict[str, str]:
    places = {
        f"sequence {number} file {place}": file
        for number, files in enumerate(visit.sequences, 1)
        for place, file in enumerate(files, 1)
    }
    masks = {"organ mask": visit.organ, "lesion mask": visit.lesion}
    there = {**places, **{what: file for what, file in masks.items() if file is not None}}
    return {"role": visit.role.value, **{what: checksum(file) for what, file in there.items()}}


def _relative(visit: VisitFiles, folder: Path) -> VisitFiles:
    first, second = (tuple(file.relative_to(folder) for file in files) for files in visit.sequences)
    organ, lesion = (mask and mask.relative_to(folder) for mask in (visit.organ, visit.lesion))
    return replace(visit, sequences=(first, second), organ=organ, lesion=lesion)


def _flush_all(folder: Path) -> None:
    """Wait until the bytes of all files in a folder are on the disk, before the folder takes its name."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
