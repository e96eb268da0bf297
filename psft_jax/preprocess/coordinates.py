"""Affines in RAS+ mm, as in the project, and in LPS+ mm, as in ITK."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Affine = Float[np.ndarray, "4 4"]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS+ to LPS+, and back."""


class Placement(NamedTuple):
    """How ITK describes where an image lies, in LPS+ mm and in the order (x, y, z)."""

    spacing: Float[np.ndarray, 3]
    direction: Float[np.ndarray, "3 3"]
    origin: Float[np.ndarray, 3]


def placement(affine: Affine) -> Placement:
    """Of an image with this affine from its voxel indices (x, y, z) to RAS+ mm."""
    spatial = LPS @ affine
    spacing = np.linalg.norm(spatial[:3, :3], axis=0)
    return Placement(spacing, spatial[:3, :3] / spacing, spatial[:3, 3])
