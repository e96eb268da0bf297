from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from psft_jax.evaluation.rows import SLICES
from psft_jax.evaluation.segmentation import dice
from psft_jax.evaluation.slices import slice_table

shapes = st.tuples(*[st.integers(1, 5)] * 3)
two_masks = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def test_voxels_by_hand():
    prediction, reference = np.zeros((2, 5, 1, 6), bool)
    reference[1, 0, :4] = prediction[1, 0, 1:6] = True
    reference[3, 0, :2] = prediction[4, 0, 0] = True
    table = slice_table(prediction, reference)
    assert list(table) == list(SLICES.columns)
    assert table.to_numpy().tolist() == [[1, 3, 1, 2], [3, 0, 2, 0], [4, 0, 0, 1]]


def test_nothing_anywhere_has_no_rows():
    table = slice_table(*np.zeros((2, 3, 4, 5), bool))
    assert len(table) == 0
    assert list(table) == list(SLICES.columns)


@given(two_masks)
@settings(deadline=None, max_examples=50)
def test_dice_follows_from_the_rows(masks):
    prediction, reference = masks
    table = slice_table(prediction, reference)
    counts = table[["true_positive", "false_negative", "false_positive"]].sum()
    total = 2 * counts["true_positive"] + counts["false_negative"] + counts["false_positive"]
    assert total == prediction.sum() + reference.sum()
    if total:
        assert 2 * counts["true_positive"] / total == pytest.approx(dice(prediction, reference))
    assert table["slice"].tolist() == np.flatnonzero((prediction | reference).any(axis=(1, 2))).tolist()
