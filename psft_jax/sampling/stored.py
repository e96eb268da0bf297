"""Slices on disk: a cohort that does not fit into memory is written once, scan by scan, and read as drawn.

Each scan has two files: ``NAME.npy``, its slices with all channels and the lesion mask as the last one, so
that a slice is one stretch of the disk; and ``NAME.json``, which is written after it and says what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from psft_jax.errors import InputError
from psft_jax.files import atomic_path, sha256_of, write_text
from psft_jax.sampling.slices import Slices, frame_of, stack
from psft_jax.scan import Visit


@dataclass(frozen=True, eq=False)
class StoredScan:
    """The slices of one scan in a file.

    Args:
        path: of the pixels, (S, Y, X, C0 + C1 + 1) float32.
        channels: of the two sequences.
        size: rows and columns.
        boxes: (S, 4), as in ``Slices``.
        names: of each slice.
    """

    path: Path
    channels: tuple[int, int]
    size: tuple[int, int]
    boxes: Int[np.ndarray, "s 4"]
    names: tuple[str, ...]

    def take(self, rows: Int[np.ndarray, " n"]) -> Slices:
        """Read some of its slices.

        Raises:
            InputError: the file is gone or damaged.
        """
        try:
            pixels = np.asarray(np.load(self.path, mmap_mode="r")[rows])
        except (OSError, ValueError, IndexError) as error:
            raise InputError(
                self.path,
                found=f"slices that cannot be read ({error})",
                expected="the file as it was written at the beginning of the run",
                remedy="Repeat the command: what is missing is written again.",
            ) from error
        first, _ = self.channels
        return Slices(
            (pixels[..., :first], pixels[..., first:-1]),
            pixels[..., -1],
            self.boxes[rows],
            tuple(self.names[row] for row in rows),
        )


@dataclass(frozen=True, eq=False)
class StoredSlices:
    """Slices of many scans on a common frame, as ``Slices``, but on disk until ``load`` reads them.

    Args:
        scans: where they lie.
        frame: rows and columns that all slices are padded to.
        place: (S, 2) of each slice: its scan among ``scans``, and its place in there.
    """

    scans: tuple[StoredScan, ...]
    frame: tuple[int, int]
    place: Int[np.ndarray, "s 2"]

    def __len__(self) -> int:
        return len(self.place)

    @cached_property
    def boxes(self) -> Int[np.ndarray, "s 4"]:
        """Organ box of each slice."""
        return np.array([self.scans[scan].boxes[row] for scan, row in self.place]).reshape(-1, 4)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of each slice."""
        return tuple(self.scans[scan].names[row] for scan, row in self.place)

    def take(self, indices: Int[np.ndarray, " n"]) -> StoredSlices:
        """The slices at ``indices``, still on disk."""
        return replace(self, place=self.place[indices])

    def load(self) -> Slices:
        """Read the slices.

        Raises:
            InputError: a file is gone or damaged.
        """
        return stack((self.scans[scan].take(np.array([row])) for scan, row in self.place), self.frame)


def gathered(scans: Iterable[StoredScan]) -> StoredSlices:
    """The slices of several stored scans, in their order, on a frame as large as the largest of them."""
    scans = tuple(scans)
    place = [(n, row) for n, scan in enumerate(scans) for row in range(len(scan.names))]
    return StoredSlices(scans, frame_of(scan.size for scan in scans), np.array(place, dtype=np.int32))


def store(visit: Visit, slices: Slices, folder: Path) -> StoredScan:
    """Write the slices of a visit.

    Args:
        visit: whose slices they are.
        slices: without weight maps.
        folder: of a cohort's slices; made where it is missing.

    Raises:
        InputError: the disk refuses it (it is full).
    """
    if slices.weights:
        raise ValueError("weight maps are not stored")
    pixels, record = _paths(visit, folder)
    record.unlink(missing_ok=True)  # from here on, it does not describe the pixels
    with atomic_path(pixels, overwrite=True) as temporary:
        np.save(temporary, np.concatenate([*slices.images, slices.lesion[..., None]], axis=-1))
    first, second = slices.images
    told = {
        "source": sha256_of(visit.files),
        "channels": [first.shape[-1], second.shape[-1]],
        "size": slices.size,
        "boxes": slices.boxes.tolist(),
        "names": slices.names,
    }
    write_text(record, json.dumps(told), overwrite=True)
    return _read(pixels, told)


def stored(visit: Visit, folder: Path) -> StoredScan | None:
    """What an earlier attempt wrote of a visit; None where it is missing, incomplete, or of other files.

    A visit that is generated has no files: whoever keeps the folder keeps it for one setting of it.
    """
    pixels, record = _paths(visit, folder)
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(record.read_bytes())
        scan = _read(pixels, told)
        shape = (len(scan.names), *scan.size, sum(scan.channels) + 1)
        if told["source"] == sha256_of(visit.files) and np.load(pixels, mmap_mode="r").shape == shape:
            return scan
    return None


def _paths(visit: Visit, folder: Path) -> tuple[Path, Path]:
    return folder / f"{visit.name}.npy", folder / f"{visit.name}.json"


def _read(pixels: Path, told: dict) -> StoredScan:
    first, second = told["channels"]
    rows, columns = told["size"]
    boxes = np.array(told["boxes"], dtype=np.int32).reshape(-1, 4)
    return StoredScan(pixels, (first, second), (rows, columns), boxes, tuple(told["names"]))
