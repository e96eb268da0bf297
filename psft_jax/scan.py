"""Scan, Visit, Patient and Cohort: what every other room speaks of.

Arrays are ordered (Z, Y, X) or (Z, Y, X, C), with Z from inferior to superior, Y from posterior to anterior
and X from left to right (RAS+ read backwards), whatever the order in the file was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from psft_jax.errors import InputError

Volume = Float[np.ndarray, "z y x"]
Mask = Bool[np.ndarray, "z y x"]
Image = Float[np.ndarray, "z y x c"]

# The fields of a Scan, whose sizes it compares itself so that a user who mixed up files is told which.
_AnyMask = Bool[np.ndarray, "_ _ _"]
_AnyImage = Float[np.ndarray, "_ _ _ _"]


class Provenance(StrEnum):
    """Where a cohort's images come from; every table, figure and report repeats it."""

    REAL = "real"
    PHANTOM = "phantom"
    SIMULATED = "simulated"


class Task(StrEnum):
    """What is asked of the network: the lesions' volume and outline, or their number and place."""

    SEGMENTATION = "segmentation"
    DETECTION = "detection"


class OrganTask(StrEnum):
    """What comes before: the organ that lesions are looked for in.

    It is no ``Task``, because nothing that counts, measures or compares lesions takes it.
    """

    ORGAN = "organ"


AnyTask = Task | OrganTask
"""What a network can be trained for."""


@dataclass(frozen=True)
class Sequence:
    """One MRI sequence, the input of one pathway: its name and the names of its channels."""

    name: str
    channels: tuple[str, ...]


def bounding_box(mask: Bool[np.ndarray, "*axes"]) -> tuple[slice, ...]:
    """The smallest box that holds every True voxel of a mask, which has at least one: a slice an axis.

    >>> bounding_box(np.array([[False, False, False], [True, False, True]]))
    (slice(1, 2, None), slice(0, 3, None))
    """
    axes = range(mask.ndim)
    inside = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(int(along[0]), int(along[-1]) + 1) for along in inside)


@dataclass(frozen=True, eq=False)
class FileGrid:
    """The voxel grid of the file that a scan was read from: shape (I, J, K) and its 4x4 affine in mm.

    ``psft_jax.data.nifti.write_volume`` brings results back onto it.
    """

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class Scan:
    """One visit of one patient.

    Args:
        subject: the patient's identifier.
        session: the visit's identifier.
        sequences: the two MRI sequences, each (Z, Y, X, C) float32.
        organ: (Z, Y, X) bool, True inside the organ of interest (brain, liver).
        lesion: (Z, Y, X) bool reference annotation, or None where nobody has annotated this visit.
        spacing_mm: voxel size along (Z, Y, X), in mm.
        affine: 4x4, from voxel indices in the order (x, y, z) of these arrays to RAS+ mm.
        file_grid: the grid of the file, or None for a scan that was generated.

    Raises:
        InputError: shapes differ, a value is not finite, or the organ mask is empty.
    """

    subject: str
    session: str
    sequences: tuple[_AnyImage, _AnyImage]
    organ: _AnyMask
    lesion: _AnyMask | None
    spacing_mm: tuple[float, float, float]
    affine: Float[np.ndarray, "4 4"]
    file_grid: FileGrid | None = None

    def __post_init__(self) -> None:
        shapes = {f"sequence {i}": s.shape[:3] for i, s in enumerate(self.sequences)}
        shapes["organ mask"] = self.organ.shape
        if self.lesion is not None:
            shapes["lesion mask"] = self.lesion.shape
        if len(set(shapes.values())) > 1:
            raise InputError(
                self.name,
                found=", ".join(f"{what} {shape}" for what, shape in shapes.items()),
                expected="one shape (Z, Y, X) for all",
                remedy="Resample them onto one grid.",
            )
        for i, sequence in enumerate(self.sequences):
            bad = int(np.count_nonzero(~np.isfinite(sequence)))
            if bad:
                raise InputError(
                    self.name,
                    found=f"{bad} values in sequence {i} that are NaN or infinite",
                    expected="finite intensities",
                    remedy="Export the sequence again, or set the background to 0.",
                )
        if not self.organ.any():
            raise InputError(
                self.name,
                found="an empty organ mask",
                expected="at least one voxel inside the organ",
                remedy="Check the mask's file and its threshold.",
            )

    @property
    def name(self) -> str:
        """Subject and session in one word, for messages and file names."""
        return f"{self.subject}_{self.session}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        z, y, x = self.organ.shape
        return z, y, x

    @property
    def channels(self) -> tuple[int, int]:
        """Number of channels of each sequence."""
        return self.sequences[0].shape[-1], self.sequences[1].shape[-1]

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres (cm3)."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @cached_property
    def organ_box(self) -> tuple[slice, slice, slice]:
        """The organ's bounding box along (Z, Y, X)."""
        z, y, x = bounding_box(self.organ)
        return z, y, x

    def with_sequences(self, first: _AnyImage, second: _AnyImage) -> Scan:
        """The same scan with other intensities (normalised, or with grouped channels)."""
        return replace(self, sequences=(first, second))


@dataclass(frozen=True)
class Visit:
    """A scan that is loaded (or generated) when it is needed, so that a cohort may be larger than memory.

    Args:
        subject: the patient's identifier.
        session: the visit's identifier.
        load: reads or makes the scan.
        files: what it reads; none for a scan that is generated.
    """

    subject: str
    session: str
    load: Callable[[], Scan]
    files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Subject and session in one word, as of the scan."""
        return f"{self.subject}_{self.session}"

    def map(self, transform: Callable[[Scan], Scan]) -> Visit:
        """The same visit with ``transform`` applied after loading."""
        load = self.load
        return replace(self, load=lambda: transform(load()))


@dataclass(frozen=True)
class Patient:
    """A patient's visits, earliest first."""

    subject: str
    visits: tuple[Visit, ...]

    @property
    def baseline(self) -> Visit:
        """The earliest visit."""
        return self.visits[0]

    @property
    def follow_up(self) -> Visit:
        """The visit after the baseline.

        Raises:
            InputError: the patient has one visit only.
        """
        if len(self.visits) < 2:
            raise InputError(
                f"patient {self.subject}",
                found=f"{len(self.visits)} visit ({', '.join(v.session for v in self.visits)})",
                expected="a baseline and a follow-up",
                remedy="Give the patient's second scan, or use the patient for base training.",
            )
        return self.visits[1]


@dataclass(frozen=True)
class Cohort:
    """Training patients for the base CNN, and test patients with baseline and follow-up.

    Args:
        name: what tables and figures call it.
        provenance: real, phantom or simulated.
        sequences: the two MRI sequences, in the order of the network's pathways.
        training: patients whose visits train the base CNN.
        test: patients with at least two visits each.

    Raises:
        InputError: a patient is in both lists or twice in one, or a test patient has no follow-up.
    """

    name: str
    provenance: Provenance
    sequences: tuple[Sequence, Sequence]
    training: tuple[Patient, ...]
    test: tuple[Patient, ...]

    def __post_init__(self) -> None:
        subjects = [p.subject for p in (*self.training, *self.test)]
        repeated = sorted({s for s in subjects if subjects.count(s) > 1})
        if repeated:
            raise InputError(
                f"cohort {self.name}",
                found=f"patient {', '.join(repeated)} more than once among training and test patients",
                expected="every patient in one place: test patients must not reach base training",
                remedy="Remove the patient from one of the two lists.",
            )
        for patient in self.test:
            _ = patient.follow_up  # raises where there is none

    @property
    def channels(self) -> tuple[int, int]:
        """Number of input channels of each pathway."""
        return len(self.sequences[0].channels), len(self.sequences[1].channels)

    def map(self, transform: Callable[[Scan], Scan]) -> Cohort:
        """The same cohort with ``transform`` applied to every scan after loading."""

        def mapped(patients: tuple[Patient, ...]) -> tuple[Patient, ...]:
            return tuple(replace(p, visits=tuple(v.map(transform) for v in p.visits)) for p in patients)

        return replace(self, training=mapped(self.training), test=mapped(self.test))
