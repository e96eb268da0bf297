from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from psft_jax.evaluation.rows import to_rows
from psft_jax.scan import Scan, Task


@pytest.fixture
def results():
    """Makes a table of rows from {variant: {patient: values}}, with values {measure: one number a seed}."""

    def make(variants, *, task=Task.SEGMENTATION, dataset="brain"):
        rows = [
            row
            for variant, patients in variants.items()
            for patient, measures in patients.items()
            for seed in range(len(next(iter(measures.values()))))
            for row in to_rows(
                {name: per_seed[seed] for name, per_seed in measures.items()},
                dataset=dataset,
                task=task,
                patient=patient,
                session="2",
                model="dual",
                variant=variant,
                seed=seed,
            )
        ]
        return pd.DataFrame(rows)

    return make


@pytest.fixture
def scan():
    """8 x 12 x 10 voxels of 5 x 1 x 2 mm, all organ, with a lesion of 2 x 2 voxels in slice 4."""
    shape = (8, 12, 10)
    lesion = np.zeros(shape, bool)
    lesion[4, 6:8, 2:4] = True
    image = np.random.default_rng(0).random((*shape, 3)).astype(np.float32)
    affine = np.diag([2.0, 1.0, 5.0, 1.0])
    return Scan("P1", "2", (image, image), np.ones(shape, bool), lesion, (5.0, 1.0, 2.0), affine)
