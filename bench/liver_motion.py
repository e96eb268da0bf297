"""How well the liver's preprocessing undoes a known motion: ``python -m bench.liver_motion``.

Measured on generated livers in motion (phantoms; ``psft_jax.phantoms.liver_breathing``): where the transforms
that were found send the branching points of vessels, against where these are. The rows go to a CSV file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from psft_jax.files import atomic_path
from psft_jax.phantoms.liver import BASELINE, LiverPhantomSettings
from psft_jax.phantoms.liver_breathing import BreathingSettings, Motion, RawVisit, raw_visit
from psft_jax.phantoms.liver_geometry import spacing_of
from psft_jax.preprocess.liver_alignment import LESION, LIVER, Aligned, RawSeries, align
from psft_jax.preprocess.liver_elastix import Points
from psft_jax.preprocess.liver_grid import (
    OutputGrid,
    Transform,
    jacobian_determinants,
    resample,
    voxel_places,
)
from psft_jax.preprocess.liver_settings import LiverSettings
from psft_jax.preprocess.processes import GB, peak_memory
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
    transforms: tuple[Transform, ...], motions: tuple[Motion, ...], landmarks_mm: Points
) -> Float[np.ndarray, "t n"]:
    """How far from its true place each landmark (Z, Y, X) is sent, in mm."""
    points = landmarks_mm[:, ::-1].copy()
    pairs = zip(transforms, motions, strict=True)
    return np.stack([np.linalg.norm(found(points) - known(true)(points), axis=1) for found, true in pairs])


def roughness(phases: Image, liver: Mask) -> float:
    """Mean squared second difference of the liver's enhancement curves, its median before contrast at 1."""
    curves = phases[liver] / np.median(phases[..., 0][liver])
    return float(np.square(np.diff(curves, n=2, axis=-1)).mean())


def moved_series(raw: RawVisit, grid: OutputGrid, transform_of: Callable[[Motion], Transform]) -> Image:
    """The raw phases on the output's grid, by transforms that one could not know."""
    pairs = zip(np.moveaxis(raw.dce, -1, 0), raw.phases, strict=True)
    moved = [resample([phase], raw.dce_affine, grid, transform_of(motion)) for phase, motion in pairs]
    return np.concatenate(moved, axis=-1)


def measure(phantom: LiverPhantomSettings, subject: str, settings: LiverSettings) -> Row:
    """A visit generated, registered and compared with the truth."""
    raw = raw_visit(phantom, BreathingSettings(), subject, BASELINE)
    begun, cpu = time.monotonic(), time.process_time()
    aligned = align_raw(raw, settings)
    spent = {"seconds": time.monotonic() - begun, "cpu_seconds": time.process_time() - cpu}
    liver = aligned.masks[LIVER]
    points = voxel_places(liver, aligned.grid.affine, every=2)
    row: Row = {"subject": subject, "seed": phantom.seed, "landmarks": len(raw.landmarks_mm)}
    for name, transforms, motions in (
        ("dce", aligned.to_phases, raw.phases),
        ("dwi", (aligned.to_dwi,), (raw.diffusion,)),
    ):
        before = landmark_errors((stay,) * len(motions), motions, raw.landmarks_mm)
        after = landmark_errors(transforms, motions, raw.landmarks_mm)
        for when, errors in (("before", before), ("after", after)):
            row[f"{name}_{when}_mm"] = float(errors.mean())
            row[f"{name}_{when}_p95_mm"] = float(np.percentile(errors, 95))
        folds = [jacobian_determinants(transform, points).min() for transform in transforms]
        row[f"{name}_smallest_jacobian"] = float(min(folds))
    row["rough_before"] = roughness(moved_series(raw, aligned.grid, lambda _: stay), liver)
    row["rough_after"] = roughness(aligned.dce, liver)
    row["rough_true_motion"] = roughness(moved_series(raw, aligned.grid, known), liver)
    return {**row, **spent, "peak_memory_gb": peak_memory() / GB}


def main() -> None:
    """Measure, print the rows and write them."""
    parser = argparse.ArgumentParser(prog="python -m bench.liver_motion", description=__doc__)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 96, 96), metavar=("Z", "Y", "X"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a CSV file")
    given = parser.parse_args()
    z, y, x = given.shape
    phantom = LiverPhantomSettings(n_training=given.patients, n_test=0, seed=given.seed, shape=(z, y, x))
    settings = replace(
        LiverSettings(), shape=(z, y, x), spacing_mm=spacing_of((z, y, x)), threads=given.threads
    )
    rows = pd.DataFrame(
        [measure(phantom, f"liver-train-{number:03d}", settings) for number in range(given.patients)]
    )
    print(rows.round(3).T.to_string(header=False))
    if given.out:
        with atomic_path(given.out, overwrite=True) as temporary:
            rows.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
