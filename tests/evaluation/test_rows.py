from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psft_jax.errors import InputError
from psft_jax.evaluation.rows import COLUMNS, Row, read_results, to_rows, write_table
from psft_jax.scan import Task

ROW = Row("brain", Task.SEGMENTATION, "001", "NA", "tuned", "100 iterations, all slices", 3, "dsc", 0.1 + 0.2)
names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


def write(path, rows, **how):
    write_table(path, pd.DataFrame(rows, columns=list(COLUMNS)), **how)


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.csv"
    write(path, [ROW, replace(ROW, metric="h95_mm", value=math.nan)])
    return path


def test_columns_are_the_published_ones():
    assert ",".join(COLUMNS) == "dataset,task,patient,session,model,variant,seed,metric,value"


def test_to_rows_gives_one_row_a_measure():
    rows = to_rows(
        {"dsc": 0.8, "tpr": math.nan},
        dataset="brain",
        task=Task.SEGMENTATION,
        patient="001",
        session="2",
        model="base",
        variant="none",
        seed=0,
    )
    assert rows[0] == Row("brain", Task.SEGMENTATION, "001", "2", "base", "none", 0, "dsc", 0.8)
    assert [row.metric for row in rows] == ["dsc", "tpr"]
    assert math.isnan(rows[1].value)


def test_names_and_values_come_back_as_they_were(results):
    frame = read_results(results)
    assert tuple(frame.columns) == COLUMNS
    assert tuple(frame.iloc[0]) == astuple(ROW)  # "001" is no number, "NA" is no gap, every digit is there
    assert math.isnan(frame["value"][1])
    assert frame["seed"].dtype == np.int64


@given(
    st.lists(
        st.tuples(names, names, st.integers(0, 2**31), st.floats(allow_infinity=False)),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=30)
def test_any_row_comes_back(tmp_path_factory, cells):
    rows = [replace(ROW, patient=p, variant=v, seed=s, value=x) for p, v, s, x in cells]
    path = tmp_path_factory.mktemp("rows") / "results.csv"
    write(path, rows)
    frame = read_results(path)
    assert frame["patient"].tolist() == [row.patient for row in rows]
    assert frame["variant"].tolist() == [row.variant for row in rows]
    assert frame["seed"].tolist() == [row.seed for row in rows]
    np.testing.assert_array_equal(frame["value"], [row.value for row in rows])


def test_plain_csv_readers_see_the_rows_and_nothing_else(results):
    assert len(pd.read_csv(results)) == 2


def test_no_rows_are_an_empty_table(tmp_path):
    write(tmp_path / "results.csv", [])
    assert read_results(tmp_path / "results.csv").empty


def test_a_file_cut_anywhere_is_refused(results):
    whole = results.read_bytes()
    for length in range(len(whole)):
        results.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut off"):
            read_results(results)


def test_windows_line_ends_are_read(results):
    results.write_bytes(results.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_results(results)) == 2


def test_a_missing_column_is_named(results):
    results.write_text(results.read_text().replace("variant", "setting"))
    with pytest.raises(InputError, match="no column variant"):
        read_results(results)


@pytest.mark.parametrize(
    ("old", "new"), [(",3,dsc", ",three,dsc"), ("nan", "abc"), (",nan", ""), ("nan", "")]
)
def test_a_cell_that_cannot_be_read_is_refused(results, old, new):
    results.write_text(results.read_text().replace(old, new))
    with pytest.raises(InputError, match="cannot be read"):
        read_results(results)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "results.csv")


def test_earlier_results_are_kept_unless_asked(results):
    before = results.read_bytes()
    with pytest.raises(InputError):
        write(results, [])
    assert results.read_bytes() == before
    write(results, [], overwrite=True)
    assert read_results(results).empty


def test_a_failed_write_leaves_nothing(tmp_path):
    class Unwritable:
        def __str__(self):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table(tmp_path / "results.csv", pd.DataFrame({"value": [Unwritable()]}))
    assert not list(tmp_path.iterdir())
