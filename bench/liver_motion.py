"""How well the liver's preprocessing undoes a known motion: ``python -m bench.liver_motion``.

Measured on generated livers in motion (phantoms; ``psft_jax.phantoms.liver_breathing``): where the transforms
that were found send the branching points of vessels, against where these are. The rows go to a CSV file.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from psft_jax.files import atomic_path
from psft_jax.phantoms.liver import BASELINE, LiverPhantomSettings
from psft_jax.phantoms.liver_breathing import BreathingSettings, Motion, RawVisit, raw_visit
from psft_jax.phantoms.liver_geometry import spacing_of
from psft_jax.preprocess.groupwise import GroupwiseSettings
from psft_jax.preprocess.liver_alignment import LESION, LIVER, Aligned, RawSeries, align
from psft_jax.preprocess.liver_elastix import Points
from psft_jax.preprocess.liver_grid import (
    OutputGrid,
    Transform,
    centred_grid,
    jacobian_determinants,
    resample,
    resample_mask,
    voxel_places,
)
from psft_jax.preprocess.liver_settings import LiverSettings
from psft_jax.scan import Image, Mask

Row = dict[str, str | float]


def series_of(image: Image, affine: Float[np.ndarray, "4 4"]) -> RawSeries:
    """A raw series as the pipeline has it after reading."""
    return RawSeries(np.ascontiguousarray(np.moveaxis(image, -1, 0)), affine)


def align_raw(raw: RawVisit, settings: LiverSettings, name: str = "phantom") -> Aligned:
    """A raw visit through the pipeline's registrations, with its own masks."""
    dce, dwi = series_of(raw.dce, raw.dce_affine), series_of(raw.dwi, raw.dwi_affine)
    return align(name, dce, dwi, {LIVER: raw.organ, LESION: raw.lesion}, settings)


def known(motion: Motion) -> Transform:
    """The true motion in the coordinates of the transforms."""

    def move(points_mm: Points) -> Points:
        return points_mm + motion.at(points_mm[:, ::-1])[:, ::-1]

    return move


def stay(points_mm: Points) -> Points:
    """No motion at all."""
    return points_mm


def landmark_errors(
    transforms: Sequence[Transform], motions: Sequence[Motion], landmarks_mm: Points
) -> Float[np.ndarray, "t n"]:
    """How far from its true place each landmark (Z, Y, X) is sent, in mm."""
    points = landmarks_mm[:, ::-1].copy()
    pairs = zip(transforms, motions, strict=True)
    return np.stack([np.linalg.norm(found(points) - known(true)(points), axis=1) for found, true in pairs])


def roughness(phases: Image, liver: Mask) -> float:
    """Mean squared second difference of the liver's enhancement curves, its median before contrast at 1."""
    curves = phases[liver] / np.median(phases[..., 0][liver])
    return float(np.square(np.diff(curves, n=2, axis=-1)).mean())


def coarse_grid(raw: RawVisit) -> tuple[OutputGrid, Mask]:
    """Half the voxels along each axis, and which of them lie in the liver: enough for a mean over it."""
    z, y, x = (n // 2 for n in raw.organ.shape)
    spacing = 2 * np.linalg.norm(raw.dce_affine[:3, :3], axis=0)[::-1]
    grid = centred_grid((z, y, x), tuple(spacing.tolist()), raw.organ.shape, raw.dce_affine)
    return grid, resample_mask(raw.organ, raw.dce_affine, grid, stay)


def moved_series(raw: RawVisit, grid: OutputGrid, transforms: Sequence[Transform]) -> Image:
    """The raw phases on a grid, each moved by a transform."""
    pairs = zip(np.moveaxis(raw.dce, -1, 0), transforms, strict=True)
    return np.concatenate([resample([phase], raw.dce_affine, grid, move) for phase, move in pairs], axis=-1)


def measure(raw: RawVisit, settings: LiverSettings) -> Row:
    """A raw visit registered and compared with the truth."""
    begun, cpu = time.monotonic(), time.process_time()
    aligned = align_raw(raw, settings)
    row: Row = {"seconds": time.monotonic() - begun, "cpu_seconds": time.process_time() - cpu}
    row["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    places = voxel_places(aligned.masks[LIVER], aligned.grid.affine, every=2)
    nowhere: tuple[Transform, ...] = (stay,) * len(raw.phases)
    compared: tuple[tuple[str, Sequence[Transform], Sequence[Motion]], ...] = (
        ("dce_before", nowhere, raw.phases),
        ("dce_after", aligned.to_phases, raw.phases),
        ("dwi_before", (stay,), (raw.diffusion,)),
        ("dwi_rigid", (aligned.to_dwi.rigid,), (raw.diffusion,)),
        ("dwi_after", (aligned.to_dwi,), (raw.diffusion,)),
    )
    for name, transforms, motions in compared:
        errors = landmark_errors(transforms, motions, raw.landmarks_mm)
        row[f"{name}_mm"], row[f"{name}_p95_mm"] = float(errors.mean()), float(np.percentile(errors, 95))
    found: tuple[tuple[str, Sequence[Transform]], ...] = (
        ("dce", aligned.to_phases),
        ("dwi", (aligned.to_dwi,)),
    )
    for name, transforms in found:
        row[f"{name}_smallest_jacobian"] = float(
            min(jacobian_determinants(transform, places).min() for transform in transforms)
        )
    grid, liver = coarse_grid(raw)
    smoothed: tuple[tuple[str, Sequence[Transform]], ...] = (
        ("before", nowhere),
        ("after", aligned.to_phases),
        ("true_motion", tuple(map(known, raw.phases))),
    )
    for name, transforms in smoothed:
        row[f"roughness_{name}"] = roughness(moved_series(raw, grid, transforms), liver)
    return row


def main() -> None:
    """Measure, print the rows and write them."""
    parser = argparse.ArgumentParser(prog="python -m bench.liver_motion", description=__doc__)
    defaults = GroupwiseSettings()
    parser.add_argument("--patients", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", type=int, nargs=3, default=(100, 256, 256), metavar=("Z", "Y", "X"))
    parser.add_argument("--lattice", type=float, default=defaults.lattice_mm, metavar="MM")
    parser.add_argument("--iterations", type=int, default=defaults.iterations, help="of the groupwise part")
    parser.add_argument("--samples", type=int, default=defaults.samples, help="of the groupwise part")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a CSV file")
    given = parser.parse_args()
    z, y, x = given.shape
    phantom = LiverPhantomSettings(n_training=given.patients, n_test=0, seed=given.seed, shape=(z, y, x))
    settings = LiverSettings(
        shape=(z, y, x),
        spacing_mm=spacing_of((z, y, x)),
        groupwise=GroupwiseSettings(given.lattice, given.iterations, given.samples),
        threads=given.threads,
    )
    rows = []
    for number in range(given.patients):
        subject = f"liver-train-{number:03d}"
        raw = raw_visit(phantom, BreathingSettings(), subject, BASELINE)
        told = {"subject": subject, "seed": given.seed, "landmarks": len(raw.landmarks_mm)}
        rows.append({**told, **measure(raw, settings)})
    frame = pd.DataFrame(rows)
    print(frame.round(4).T.to_string(header=False))
    if given.out:
        with atomic_path(given.out, overwrite=True) as temporary:
            frame.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
