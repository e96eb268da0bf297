"""What B-splines add to the diffusion scan's rigid transform, with a mask of the liver and without:

python -m bench.liver_diffusion --shape 32 96 96 --patients 4 --iterations 300 --samples 3000

Measured on generated livers in motion (phantoms), with the true motion of the phases undone, so that nothing
but the diffusion scan's registration is measured. The rows go to a CSV file.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from bench.liver_motion import Row, known, landmark_errors, moved_series, stay
from psft_jax.files import atomic_path
from psft_jax.phantoms.liver import BASELINE, LiverPhantomSettings
from psft_jax.phantoms.liver_breathing import BreathingSettings, RawVisit, raw_visit
from psft_jax.phantoms.liver_geometry import spacing_of
from psft_jax.preprocess.liver_alignment import around
from psft_jax.preprocess.liver_diffusion import DiffusionSettings, register_diffusion
from psft_jax.preprocess.liver_grid import (
    OutputGrid,
    Transform,
    jacobian_determinants,
    resample,
    voxel_places,
)
from psft_jax.preprocess.liver_settings import LiverSettings
from psft_jax.scan import Volume

BINS = 64


def shared_information(one: Volume, other: Volume) -> float:
    """Normalised mutual information of two images on one grid, all voxels of it."""
    together, _, _ = np.histogram2d(one.ravel(), other.ravel(), BINS)
    share = together / together.sum()
    return (_entropy(share.sum(axis=0)) + _entropy(share.sum(axis=1))) / _entropy(share)


def _entropy(shares: Float[np.ndarray, ...]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def measure(raw: RawVisit, settings: DiffusionSettings) -> list[Row]:
    """A raw visit's diffusion scan registered with and without the mask of the liver."""
    shape = raw.organ.shape
    grid = OutputGrid(shape, raw.dce_affine)
    dce = moved_series(raw, grid, tuple(map(known, raw.phases))).mean(axis=-1)
    dwi = np.ascontiguousarray(raw.dwi[..., settings.reference])
    everywhere = voxel_places(np.ones(shape, bool), grid.affine, every=3)
    nearby = around(raw.organ, spacing_of(shape), LiverSettings().margin_mm)
    rows = []
    for mask, region in (("liver", nearby), ("none", None)):
        begun = time.process_time()
        found = register_diffusion("phantom", dce, grid.affine, dwi, raw.dwi_affine, settings, region=region)
        row: Row = {"mask": mask, "cpu_seconds": time.process_time() - begun}
        steps: tuple[tuple[str, Transform], ...] = (("before", stay), ("rigid", found.rigid), ("both", found))
        for name, transform in steps:
            error = landmark_errors((transform,), (raw.diffusion,), raw.landmarks_mm).mean()
            moved = resample([dwi], raw.dwi_affine, grid, transform)[..., 0]
            row[f"{name}_mm"], row[f"{name}_information"] = float(error), shared_information(dce, moved)
        row["smallest_jacobian"] = float(jacobian_determinants(found, everywhere).min())
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print the rows and write them."""
    parser = argparse.ArgumentParser(prog="python -m bench.liver_diffusion", description=__doc__)
    defaults = DiffusionSettings()
    parser.add_argument("--patients", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", type=int, nargs=3, default=(100, 256, 256), metavar=("Z", "Y", "X"))
    parser.add_argument("--iterations", type=int, default=defaults.iterations)
    parser.add_argument("--samples", type=int, default=defaults.samples)
    parser.add_argument("--out", type=Path, help="a CSV file")
    given = parser.parse_args()
    z, y, x = given.shape
    phantom = LiverPhantomSettings(n_training=given.patients, n_test=0, seed=given.seed, shape=(z, y, x))
    settings = replace(defaults, iterations=given.iterations, samples=given.samples, deform_without_mask=True)
    rows: list[Row] = []
    for number in range(given.patients):
        subject = f"liver-train-{number:03d}"
        raw = raw_visit(phantom, BreathingSettings(), subject, BASELINE)
        rows += [{"subject": subject, **row} for row in measure(raw, settings)]
    frame = pd.DataFrame(rows)
    print(frame.round(4).to_string(index=False))
    if given.out:
        with atomic_path(given.out, overwrite=True) as temporary:
            frame.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
