from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from psft_jax.evaluation.detection import false_positives, true_positive_rate
from psft_jax.evaluation.lesions import lesion_table
from psft_jax.evaluation.rows import LESIONS, read_table, write_table
from psft_jax.evaluation.uncertainty import mean_sd_of_detected
from psft_jax.objects import match

SPACING = (10.0, 5.0, 2.0)  # 0.1 mL a voxel
masks = arrays(bool, st.just((3, 6, 6)), elements=st.integers(0, 9).map(lambda i: i == 0))


@pytest.fixture
def reference():
    """A lesion of 1, 3 and 3 voxels in slices 0, 1 and 2, and one of a single voxel in slice 2."""
    mask = np.zeros((3, 4, 8), bool)
    mask[0, 0, 0] = mask[1, 0, 0:3] = mask[2, 0, 0:3] = True
    mask[2, 3, 7] = True
    return mask


@pytest.fixture
def prediction():
    """Touches the first lesion by one voxel; an object of 2 voxels hits nothing."""
    mask = np.zeros((3, 4, 8), bool)
    mask[2, 0, 2:4] = mask[1, 3, 4:6] = True
    return mask


def test_rows_of_hand_made_objects(reference, prediction):
    sd = np.zeros((3, 4, 8))
    sd[0, 0, 0], sd[2, 3, 7], sd[2, 0, 3], sd[1, 3, 4] = 0.35, 0.2, 0.1, 0.3
    table = lesion_table(match(prediction, reference), SPACING, sd).set_index("kind")
    missed = table.loc["reference"].sort_values("volume_ml").iloc[0]
    found = table.loc["reference"].sort_values("volume_ml").iloc[1]
    # Slices 1 and 2 are equally large: the lower one counts.
    assert (found["slice"], found["hit"]) == (1, 1)
    assert found["volume_ml"] == pytest.approx(0.7)
    assert found["mean_sd"] == pytest.approx(0.35 / 7)
    assert (missed["slice"], missed["hit"]) == (2, 0)
    assert missed["volume_ml"] == pytest.approx(0.1)
    assert missed["mean_sd"] == pytest.approx(0.2)
    predicted = table.loc["predicted"].sort_values("slice")
    assert predicted["slice"].tolist() == [1, 2]
    assert predicted["hit"].tolist() == [0, 1]
    assert predicted["mean_sd"].tolist() == pytest.approx([0.15, 0.05])


def test_a_lesion_has_the_same_number_whatever_is_predicted(reference, prediction):
    one, other = (lesion_table(match(mask, reference), SPACING) for mask in (prediction, ~prediction))
    columns = ["kind", "lesion", "volume_ml", "slice"]
    for table in (one, other):
        assert table["mean_sd"].isna().all()
    pd.testing.assert_frame_equal(one[columns][:2], other[columns][:2])


def test_the_file_gives_back_the_table(reference, prediction, tmp_path):
    case = {"dataset": "d", "task": "detection", "patient": "P", "session": "2", "model": "m"}
    empty = np.zeros_like(reference)
    for number, masks in enumerate(((prediction, reference), (empty, reference), (empty, empty))):
        table = lesion_table(match(*masks), SPACING)
        assert list(table) == list(LESIONS.columns)
        table = table.assign(**case, variant="base", seed=0)
        write_table(tmp_path / f"{number}.csv", table)
        read = read_table(tmp_path / f"{number}.csv", LESIONS)
        assert len(read) == (4, 2, 0)[number]
        assert read["hit"].tolist() == table["hit"].tolist()


@given(masks, masks, st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_measures_follow_from_the_rows(prediction, reference, seed):
    matching, sd = match(prediction, reference), np.random.default_rng(seed).random((3, 6, 6))
    table = lesion_table(matching, SPACING, sd)
    true, found = table[table["kind"] == "reference"], table[table["kind"] == "predicted"]
    assert true["volume_ml"].sum() == pytest.approx(0.1 * reference.sum())
    assert found["volume_ml"].sum() == pytest.approx(0.1 * prediction.sum())
    assert (found["hit"] == 0).sum() == false_positives(matching)
    assert true["hit"].mean() == pytest.approx(true_positive_rate(matching), nan_ok=True)
    detected = true[true["hit"] == 1]
    assert detected["mean_sd"].mean() == pytest.approx(mean_sd_of_detected(sd, matching), nan_ok=True)
    for mask, rows in ((reference, true), (prediction, found)):
        assert all(mask[z].any() for z in rows["slice"])
