"""The files of one visit and its part in the study: what the readers of all layouts find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from psft_jax.data.nifti import no_file
from psft_jax.errors import InputError


class Role(StrEnum):
    """What a visit is there for."""

    TRAINING = "training"
    """The base CNN is trained on it."""
    BASELINE = "baseline"
    """The base CNN is fine-tuned on it."""
    FOLLOW_UP = "follow_up"
    """It is quantified; of several, the first."""


@dataclass(frozen=True)
class VisitFiles:
    """The files of one visit.

    Args:
        subject: the patient's identifier.
        session: the visit's identifier.
        role: what the visit is there for.
        sequences: of each of the two sequences its files, one or more channels each, in order.
        organ: the organ mask, or None for skull-stripped images.
        lesion: the reference annotation, or None where nobody has annotated this visit.
    """

    subject: str
    session: str
    role: Role
    sequences: tuple[tuple[Path, ...], tuple[Path, ...]]
    organ: Path | None
    lesion: Path | None

    @property
    def name(self) -> str:
        """Subject and session in one word, as of the scan."""
        return f"{self.subject}_{self.session}"

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        first, second = self.sequences
        return tuple(file for file in (*first, *second, self.organ, self.lesion) if file is not None)

    def absolute(self) -> VisitFiles:
        """The same files by paths that hold wherever they are read from."""
        first, second = (tuple(file.absolute() for file in files) for files in self.sequences)
        organ, lesion = (mask and mask.absolute() for mask in (self.organ, self.lesion))
        return replace(self, sequences=(first, second), organ=organ, lesion=lesion)

    def as_stored(self) -> VisitFiles:
        """The same with the names of the files that are there, where the layout's end in ``.nii.gz``."""
        first, second = (tuple(map(as_stored, files)) for files in self.sequences)
        organ, lesion = (mask and as_stored(mask) for mask in (self.organ, self.lesion))
        return replace(self, sequences=(first, second), organ=organ, lesion=lesion)

    def stored_twice(self) -> list[InputError]:
        """An error for each of the files that is there gzipped and not: nothing tells which is newer."""
        pairs = ([image, _plain(image)] for image in self.files if image.suffix == ".gz")
        return [more_than_one(pair, "image") for pair in pairs if all(file.is_file() for file in pair)]

    def missing(self) -> list[InputError]:
        """An error for each of the files that does not exist."""
        return [no_file(file) for file in self.files if not file.is_file()]


def as_stored(image: Path) -> Path:
    """Where an image named ``.nii.gz`` lies: without the ``.gz`` where that alone is there."""
    plain = _plain(image)
    return plain if plain.is_file() and not image.is_file() else image


def _plain(image: Path) -> Path:
    return image.with_suffix("") if image.suffix == ".gz" else image


def more_than_one(
    files: Sequence[Path], what: str, remedy: str = "Move away those that are not."
) -> InputError:
    """The error for several files where one belongs."""
    first, *others = files
    shown = (str(other.name if other.parent == first.parent else other) for other in others)
    return InputError(
        first,
        found=f"more than one file that can be the {what}: also {', '.join(shown)}",
        expected="the one that is meant",
        remedy=remedy,
    )


def roles_in_order(visits: int) -> list[Role]:
    """The roles of a patient's visits, earliest first, where nobody says otherwise.

    >>> [role.value for role in roles_in_order(1)], [role.value for role in roles_in_order(3)]
    (['training'], ['baseline', 'follow_up', 'follow_up'])
    """
    if visits < 2:
        return [Role.TRAINING] * visits
    return [Role.BASELINE, *[Role.FOLLOW_UP] * (visits - 1)]
