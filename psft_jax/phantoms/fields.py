"""Random fields that phantoms share: smooth fields, displacements, bias fields and Rician noise.

A field is drawn in millimetres and sampled on the voxel grid last, so the same stream gives the same field on
a coarse and on a fine grid over the same field of view; but for scales that put a knot between the centres of
the two grids' last voxels, where the fine grid has one knot more.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline

from psft_jax.errors import InputError
from psft_jax.scan import Volume

_CUBIC_SD = 1 / np.sqrt(3.0)  # standard deviation of the cubic B-spline, in knot intervals


def _basis(n: int, spacing_mm: float, knot_mm: float) -> Float[np.ndarray, "n knots"]:
    """Cubic B-splines at ``n`` voxel centres; rows of unit length, for unit variance at every voxel."""
    position = (np.arange(n) + 0.5) * spacing_mm / knot_mm
    knots = np.arange(-3, int(np.ceil(position[-1])) + 4, dtype=np.float64)
    basis = BSpline.design_matrix(position, knots, 3).toarray()
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)


def smooth_field(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    scale_mm: float,
) -> Volume:
    """A Gaussian random field with mean 0 and standard deviation 1 at every voxel, over repeated draws.

    White noise on a coarse lattice, smoothed by the cubic B-spline, which is nearly a Gaussian kernel. The
    lattice reaches to the knot behind the last voxel's centre.

    Args:
        rng: where the coefficients are drawn.
        shape: (Z, Y, X).
        spacing_mm: voxel size along (Z, Y, X), in mm.
        scale_mm: standard deviation of the smoothing kernel, in mm.

    Returns:
        (Z, Y, X) float32.

    Raises:
        InputError: the scale is below half the smallest voxel size, where a field is white noise.
    """
    if scale_mm < 0.5 * min(spacing_mm):
        raise InputError(
            "smooth field",
            found=f"a scale of {scale_mm} mm on voxels of {spacing_mm} mm",
            expected="at least half the smallest voxel size",
            remedy="Draw white noise instead, or give a larger scale.",
        )
    knot_mm = float(scale_mm / _CUBIC_SD)
    bases = [_basis(n, spacing, knot_mm) for n, spacing in zip(shape, spacing_mm, strict=True)]
    field = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    for axis in range(3):
        field = np.moveaxis(np.tensordot(bases[axis], field, (1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def displacement_field(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    scale_mm: float,
    amplitude_mm: float,
) -> Float[np.ndarray, "3 z y x"]:
    """A smooth random displacement along (Z, Y, X), in mm; its standard deviation is ``amplitude_mm`` along
    each.

    Without folds as long as ``amplitude_mm`` stays well below ``scale_mm``.
    """
    return np.stack([amplitude_mm * smooth_field(rng, shape, spacing_mm, scale_mm) for _ in range(3)])


def bias_field(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    scale_mm: float,
    strength: float,
) -> Volume:
    """A multiplicative gain around 1, as the receive coil leaves it: the exponential of a smooth field.

    Args:
        rng: where the field is drawn.
        shape: (Z, Y, X).
        spacing_mm: voxel size along (Z, Y, X), in mm.
        scale_mm: how far the gain stays alike, in mm.
        strength: standard deviation of the gain's logarithm; 0.1 is about 10 %.

    Returns:
        (Z, Y, X) float32, positive, with median 1 over repeated draws.
    """
    return np.exp(strength * smooth_field(rng, shape, spacing_mm, scale_mm))


def rician(
    rng: np.random.Generator, image: Float[np.ndarray, "*shape"], sd: float
) -> Float[np.ndarray, "*shape"]:
    """``image`` as a magnitude image with noise of standard deviation ``sd`` on each of its two channels.

    Reference: Gudbjartsson and Patz, "The Rician distribution of noisy MRI data", Magn. Reson. Med. 34, 1995.
    """
    real = image + sd * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = sd * rng.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, imaginary).astype(image.dtype)
