"""Masks as objects: labelled with the 26-neighbourhood (section 2.4), measured, matched by overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from psft_jax.scan import Mask

NEIGHBOURHOOD_26 = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Objects:
    """The connected objects of a mask.

    Args:
        labels: (Z, Y, X) 0 in the background, 1 to n in the objects.
        voxels: number of voxels of objects 1 to n.
    """

    labels: Int[np.ndarray, "z y x"]
    voxels: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.voxels)

    def volumes_ml(self, spacing_mm: tuple[float, float, float]) -> Float[np.ndarray, " n"]:
        """Volume of each object in mL (cm3), for voxels of ``spacing_mm`` along (Z, Y, X)."""
        return self.voxels * float(np.prod(spacing_mm)) / 1000.0

    def touched_by(self, mask: Mask) -> Bool[np.ndarray, " n"]:
        """Which objects share at least one voxel with ``mask``."""
        touched = np.zeros(len(self) + 1, dtype=bool)
        touched[self.labels[mask]] = True
        return touched[1:]


def label_objects(mask: Mask) -> Objects:
    """The objects of ``mask``, voxels joined by face, edge or corner.

    >>> mask = np.zeros((2, 2, 4), bool)
    >>> mask[0, 0, 0] = mask[1, 1, 1] = mask[0, 0, 3] = True
    >>> label_objects(mask).voxels.tolist()
    [2, 1]
    """
    labels, n = ndimage.label(mask, structure=NEIGHBOURHOOD_26)
    return Objects(labels, np.bincount(labels.ravel(), minlength=n + 1)[1:])


def largest_filled(mask: Mask) -> Mask:
    """The largest object of ``mask``, with the holes filled that it closes in on all sides: an organ.

    It is empty where ``mask`` is.

    >>> row = np.array([[[True, False, True, True, False]]])
    >>> largest_filled(row).astype(int).tolist()
    [[[0, 0, 1, 1, 0]]]
    """
    objects = label_objects(mask)
    if not len(objects):
        return np.zeros_like(mask)
    return ndimage.binary_fill_holes(objects.labels == 1 + objects.voxels.argmax())


@dataclass(frozen=True, eq=False)
class Matching:
    """Reference and predicted objects, and which of them overlap one of the other kind by a voxel or more.

    A prediction that covers two lesions is one predicted object that hits and two reference objects hit.

    Args:
        reference: the true lesions.
        detected: for each reference object, whether the prediction overlaps it.
        predicted: the objects that were found.
        correct: for each predicted object, whether it overlaps the reference.
    """

    reference: Objects
    detected: Bool[np.ndarray, " r"]
    predicted: Objects
    correct: Bool[np.ndarray, " p"]


def match(prediction: Mask, reference: Mask) -> Matching:
    """Label both masks and find the overlaps (section 3.1: detected means an overlap > 0)."""
    reference_objects, predicted_objects = label_objects(reference), label_objects(prediction)
    return Matching(
        reference=reference_objects,
        detected=reference_objects.touched_by(prediction),
        predicted=predicted_objects,
        correct=predicted_objects.touched_by(reference),
    )
