"""The slices that patches are drawn from, stacked for a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from psft_jax.errors import InputError
from psft_jax.scan import Scan, bounding_box

Box = tuple[int, int, int, int]
"""First row, last row + 1, first column, last column + 1."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Axial slices of one or many scans on a common frame, each with the organ's in-plane box.

    Args:
        images: the two sequences, (S, Y, X, C) float32; smaller slices are padded with their edge.
        lesion: (S, Y, X) float32, 1 inside a lesion.
        boxes: (S, 4) organ box of each slice: first row, last row + 1, first column, last column + 1.
        names: of each slice, ``subject_session:z``.
        weights: (S, Y, X) float32 maps by name, that weigh each pixel in the loss.
    """

    images: tuple[Float[np.ndarray, "s y x c0"], Float[np.ndarray, "s y x c1"]]
    lesion: Float[np.ndarray, "s y x"]
    boxes: Int[np.ndarray, "s 4"]
    names: tuple[str, ...]
    weights: Mapping[str, Float[np.ndarray, "s y x"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        _, rows, columns = self.lesion.shape
        return rows, columns

    def take(self, indices: Int[np.ndarray, " n"]) -> Slices:
        """The slices at ``indices``."""
        first, second = self.images
        return Slices(
            (first[indices], second[indices]),
            self.lesion[indices],
            self.boxes[indices],
            tuple(self.names[i] for i in indices),
            {name: weights[indices] for name, weights in self.weights.items()},
        )


def lesion_slices(scan: Scan) -> Int[np.ndarray, " n"]:
    """Positions along Z of the slices with a lesion in the organ's annotation (sections 2.1, 2.3).

    Raises:
        InputError: the scan has no annotation, or an empty one.
    """
    if scan.lesion is None or not scan.lesion.any():
        found = "no lesion mask" if scan.lesion is None else "a lesion mask without a lesion"
        raise InputError(
            scan.name,
            found=found,
            expected="an annotated scan with at least one lesion",
            remedy="Annotate the scan, or leave the patient out: there is nothing to learn from.",
        )
    return np.flatnonzero(scan.lesion.any(axis=(1, 2)))


def all_slices(scan: Scan) -> Int[np.ndarray, " n"]:
    """Positions along Z of all slices: an organ is learnt from what is beyond it, too."""
    return np.arange(scan.shape[0])


def slices_of(scan: Scan, positions: Int[np.ndarray, " n"]) -> Slices:
    """The axial slices of an annotated scan at the given positions along Z.

    The organ's box is the box of its mask in that slice, or of the whole scan where the slice holds no organ.
    """
    if scan.lesion is None:
        raise InputError(
            scan.name,
            found="no lesion mask",
            expected="an annotated scan",
            remedy="Annotate the scan before training on it.",
        )
    first, second = scan.sequences
    return Slices(
        (first[positions], second[positions]),
        scan.lesion[positions].astype(np.float32),
        np.array([_slice_box(scan, int(z)) for z in positions], dtype=np.int32).reshape(-1, 4),
        tuple(f"{scan.name}:{z}" for z in positions),
    )


def frame_of(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Rows and columns of the frame that holds slices of all these sizes.

    >>> frame_of([(18, 30), (24, 20)])
    (24, 30)
    """
    rows, columns = zip(*sizes, strict=True)
    return max(rows), max(columns)


def stack(parts: Iterable[Slices], frame: tuple[int, int] | None = None) -> Slices:
    """Slices of several scans on one frame.

    Smaller slices are padded at their end with their edge, so boxes stay where they are and a patch that
    reaches past the slice looks as it did before. All parts have the same weight maps.

    Args:
        parts: at least one.
        frame: rows and columns; those that hold the largest slice without one.
    """
    parts = list(parts)
    rows, columns = frame or frame_of(p.size for p in parts)

    def together(arrays: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([padded(array) for array in arrays])

    def padded(array: np.ndarray) -> np.ndarray:
        missing = ((0, 0), (0, rows - array.shape[1]), (0, columns - array.shape[2]))
        return np.pad(array, missing + ((0, 0),) * (array.ndim - 3), mode="edge")

    return Slices(
        (together(p.images[0] for p in parts), together(p.images[1] for p in parts)),
        together(p.lesion for p in parts),
        np.concatenate([p.boxes for p in parts]),
        tuple(name for p in parts for name in p.names),
        {name: together(p.weights[name] for p in parts) for name in parts[0].weights},
    )


def _slice_box(scan: Scan, z: int) -> Box:
    inside = scan.organ[z]
    rows, columns = bounding_box(inside) if inside.any() else scan.organ_box[1:]
    return rows.start, rows.stop, columns.start, columns.stop
