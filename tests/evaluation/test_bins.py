from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from psft_jax.evaluation.bins import binned, pooled

NAMES = ("seen", "share")
EDGES = np.array([0.0, 0.25, 0.5, 1.0])
values = arrays(np.float32, st.integers(0, 30), elements=st.floats(0, 1, width=32))


def test_bins_by_hand_with_values_on_the_edges():
    predicted = np.array([0.0, 0.25, 0.5, 0.75, 1.0], np.float32)
    table = binned(predicted, np.array([False, True, True, False, True]), EDGES, names=NAMES)
    assert table["lower"].tolist() == [0.0, 0.25, 0.5]
    assert table["upper"].tolist() == [0.25, 0.5, 1.0]
    assert table["voxels"].tolist() == [2, 1, 2]
    assert table["seen"].tolist() == [0.125, 0.5, 0.875]
    assert table["share"].tolist() == [0.5, 1.0, 0.5]


def test_a_bin_without_voxels_has_no_means():
    table = binned(np.array([0.9]), np.array([True]), EDGES, names=NAMES)
    assert table["voxels"].tolist() == [0, 0, 1]
    assert table[["seen", "share"]].isna().all(axis=1).tolist() == [True, True, False]


@given(values, values, st.data())
@settings(deadline=None, max_examples=60)
def test_pooled_bins_are_those_of_all_voxels_together(first, second, data):
    outcomes = [data.draw(arrays(bool, len(part))) for part in (first, second)]
    parts = [binned(p, o, EDGES, names=NAMES) for p, o in zip((first, second), outcomes, strict=True)]
    together = binned(np.concatenate([first, second]), np.concatenate(outcomes), EDGES, names=NAMES)
    shuffled = pd.concat(parts).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(pooled(shuffled, names=NAMES), together)
