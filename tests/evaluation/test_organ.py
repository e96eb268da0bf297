"""Measures of an organ mask, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from psft_jax.evaluation.measures import MEASURES
from psft_jax.evaluation.organ import AGREEMENT, evaluate_organ
from psft_jax.scan import Scan


def test_a_mask_that_is_a_column_too_wide(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan()  # voxels of 3 mm3; an organ of 4 x 14 x 13
    given = scan.organ.copy()
    given[..., 5] = False
    assert evaluate_organ(scan.organ, given, scan) == pytest.approx(
        {
            "volume_ml": 728 * 0.003,
            "reference_volume_ml": 672 * 0.003,
            "dsc": 2 * 672 / (728 + 672),
            "avd_percent": 100 * 56 / 672,
            "h95_mm": 1.0,
        }
    )


def test_without_a_mask_to_compare_with_there_is_a_volume_alone(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan()
    assert evaluate_organ(scan.organ, None, scan) == pytest.approx({"volume_ml": 2.184})


def test_nothing_found_is_a_dsc_of_0_and_no_distance(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan()
    values = evaluate_organ(np.zeros_like(scan.organ), scan.organ, scan)
    assert (values["dsc"], values["avd_percent"]) == (0.0, 100.0)
    assert math.isnan(values["h95_mm"])
    assert {*AGREEMENT, "volume_ml"} < values.keys() <= MEASURES.keys()
