"""Toy patients with one reference: what networks find in it becomes results, lesions and slices."""

from __future__ import annotations

import numpy as np
import pandas as pd

from psft_jax.evaluation.lesions import lesion_table
from psft_jax.evaluation.measures import evaluate
from psft_jax.evaluation.rows import CASE, LESIONS, SLICES, to_rows
from psft_jax.evaluation.slices import slice_table
from psft_jax.objects import match
from psft_jax.reporting.harm import Harm, harm
from psft_jax.scan import Mask, Scan, Task

SHAPE = (4, 8, 10)
SPACING = (1.0, 1.0, 1.0)  # 0.001 mL a voxel, so that 10 voxels are a large lesion in a brain


def mask(*boxes: tuple[slice | int, ...]) -> Mask:
    """True inside the boxes."""
    inside = np.zeros(SHAPE, bool)
    for box in boxes:
        inside[box] = True
    return inside


SMALL = (0, 0, slice(0, 2))  # 2 voxels in slice 0
LARGE = (2, slice(4, 7), slice(0, 5))  # 15 voxels in slice 2
FALSE = (3, 0, slice(5, 9))  # 4 voxels in slice 3
TRUE = mask(SMALL, LARGE)

Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def tables(
    found: dict[tuple[str, str, int], Mask],
    task: Task = Task.SEGMENTATION,
    *,
    annotated: bool = True,
    sd: dict[str, float] | None = None,
) -> Tables:
    """Results, lesions and slices of {(variant, patient, seed): prediction}; ``TRUE`` is the reference."""
    rows, lesions, slices = [], [], []
    image = np.zeros((*SHAPE, 1), np.float32)
    for (variant, patient, seed), prediction in found.items():
        scan = Scan(patient, "T2", (image, image), ~mask(), TRUE if annotated else None, SPACING, np.eye(4))
        case = {"dataset": "toy", "task": task, "patient": patient, "session": "T2", "model": "m"}
        case |= {"variant": variant, "seed": seed}
        spread = None if sd is None else np.full(SHAPE, sd[variant])
        rows += to_rows(evaluate(task, prediction, scan, sd=spread), **case)
        if annotated:
            lesions.append(lesion_table(match(prediction, TRUE), SPACING).assign(**case))
            slices.append(slice_table(prediction, TRUE).assign(**case))
    details = (
        pd.concat(parts) if parts else pd.DataFrame(columns=[*CASE, *kind.columns])
        for kind, parts in ((LESIONS, lesions), (SLICES, slices))
    )
    return pd.DataFrame(rows), *details


def hurt(given: Tables, task: Task = Task.SEGMENTATION, **named: object) -> Harm:
    """Whether "tuned" hurt, against "base"."""
    return harm(*given, task, base="base", tuned="tuned", **named)


def with_value(given: Tables, patient: str, variant: str, metric: str, value: float) -> Tables:
    """The same tables with one result set by hand."""
    results, *details = given
    where = (results["patient"] == patient) & (results["variant"] == variant) & (results["metric"] == metric)
    assert where.any()
    return results.assign(value=results["value"].where(~where, value)), *details
