from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy import stats

from psft_jax.errors import InputError
from psft_jax.evaluation.measures import MEASURES
from psft_jax.reporting.paper import TABLES, PaperValue, Setting
from psft_jax.reporting.settings import paper_table, settings_table
from psft_jax.scan import Provenance, Task

# Mean 0.537, SD sqrt(42 / 7) / 100 = 0.0245.
EIGHT = [0.502 + i / 100 for i in range(8)]


def _patients(values, measure="dsc"):
    return {f"P{i}": {measure: [value]} for i, value in enumerate(values)}


def _table(frame, rows, measures=("dsc",), task=Task.SEGMENTATION, **changes):
    settings = {"provenance": Provenance.PHANTOM, "heading": "Settings", **changes}
    return settings_table(frame, task, rows=rows, measures=measures, **settings)


def _column(grid, name):
    place = grid.header.index(name)
    return [row[place] for row in grid.rows]


def _texts(grid, name):
    return [cell.text for cell in _column(grid, name)]


def test_segmentation_by_hand(results):
    frame = results({
        "slow": _patients([v + 0.2 + i / 1000 for i, v in enumerate(EIGHT)]),
        "base": _patients(EIGHT),
        "fast": _patients([v + 0.01 * (-1) ** i for i, v in enumerate(EIGHT)]),
    })  # fmt: skip
    grid = _table(frame, {"fast": "50 iterations", "base": "Base CNN", "slow": "500 iterations"})
    # The slow one is better by 0.2 and a little in every patient.
    assert grid.header == ("Setting", "DSC ↑")
    assert _texts(grid, "Setting") == ["Base CNN", "50 iterations", "500 iterations"]
    assert _texts(grid, "DSC ↑") == ["0.54 (0.02)", "0.54 (0.02)", "0.74 (0.03)*"]
    assert [cell.bold for cell in _column(grid, "DSC ↑")] == [False, False, True]
    assert [cell.tone for cell in _column(grid, "DSC ↑")] == ["", "", "better"]
    assert grid.population == "brain, 8 patients, seed 0"
    assert "Mean (SD) over patients; p: paired Student's t-test." in grid.notes


def test_detection_has_medians_quartiles_and_wilcoxon(results):
    before = [float(v) for v in range(1, 10)]
    after = [v + 5 + v / 10 for v in before]
    frame = results({"base": _patients(before, "fpc"), "tuned": _patients(after, "fpc")}, task=Task.DETECTION)
    grid = _table(frame, {"base": "Base", "tuned": "FT"}, ["fpc"], Task.DETECTION, with_p=True)
    assert _texts(grid, "FPC ↓") == ["5.0 [3.0 to 7.0]", "10.5 [8.3 to 12.7]*"]
    # Nine differences of one sign: 2 of 2 ** 9 signs are as extreme.
    assert stats.wilcoxon(range(1, 10)).pvalue == 2 / 2**9
    assert _texts(grid, "FPC: p") == ["–", "0.004*"]
    assert [(cell.bold, cell.tone) for cell in _column(grid, "FPC ↓")] == [(True, ""), (False, "worse")]


def test_best_of_a_measure_of_which_less_is_better_and_ties_as_shown(results):
    frame = results({
        "base": {"A": {"avd_percent": [20.0], "dsc": [0.801], "n_small": [3.0]}},
        "a": {"A": {"avd_percent": [10.04], "dsc": [0.803], "n_small": [3.0]}},
        "b": {"A": {"avd_percent": [9.96], "dsc": [0.70], "n_small": [3.0]}},
    })  # fmt: skip
    grid = _table(frame, {"base": "Base", "a": "a", "b": "b"}, ["avd_percent", "dsc", "n_small"])
    assert _texts(grid, "AVD (%) ↓") == ["20.0", "10.0", "10.0"]
    assert [cell.bold for cell in _column(grid, "AVD (%) ↓")] == [False, True, True]
    assert [cell.bold for cell in _column(grid, "DSC ↑")] == [True, True, False]
    assert [cell.bold for cell in _column(grid, "Small lesions")] == [False, False, False]


def test_seeds_are_averaged_within_patients(results):
    tuned = {f"P{i}": {"dsc": [v + 0.1, v + 0.3]} for i, v in enumerate(EIGHT)}
    frame = results({"base": _patients(EIGHT), "tuned": tuned})
    grid = _table(frame, {"base": "Base", "tuned": "FT"})
    assert _texts(grid, "DSC ↑")[1].startswith("0.74 (0.02)")
    assert grid.population == "brain, 8 patients, seeds Base: 0; FT: 0, 1 (averaged within each patient)"


def test_undefined_values_are_counted_beside_the_star(results):
    values = [*EIGHT, math.nan]
    frame = results({
        "base": _patients(values, "h95_mm"),
        "tuned": _patients([v / 2 for v in values], "h95_mm"),
        "none": _patients([math.nan] * 9, "h95_mm"),
    })  # fmt: skip
    grid = _table(frame, {"base": "Base", "tuned": "FT", "none": "None"}, ["h95_mm"])
    assert _texts(grid, "H95 (mm) ↓") == [
        *("0.54 (0.02), 8 of 9 valid", "0.27 (0.01)*, 8 of 9 valid", "undefined, 0 of 9 valid"),
    ]
    assert [cell.bold for cell in _column(grid, "H95 (mm) ↓")] == [False, True, False]
    assert any("not all patients are valid" in note for note in grid.notes)


def test_a_setting_that_was_not_run_keeps_its_row_and_is_named(results):
    frame = results({"base": _patients(EIGHT), "tuned": _patients(EIGHT)})
    grid = _table(frame, {"base": "Base", "later": "1000 iterations", "tuned": "FT"}, with_p=True)
    assert _texts(grid, "DSC ↑") == ["0.54 (0.02)", "not run", "0.54 (0.02)"]
    assert _texts(grid, "DSC: p") == ["–", "–", "1.000"]
    assert grid.notes[-1] == "Not run: 1000 iterations."


def test_the_paper_stands_beside_what_it_reports(results):
    values = {"A": {"dsc": [0.5], "h95_mm": [2.0]}}
    frame = results({"base": values, "tuned": values, "other": values})
    paper = {
        "base": {"dsc": PaperValue("0.82 (0.05)")},
        "tuned": {"dsc": PaperValue("0.87 (0.04)*", "0.003")},
    }
    grid = _table(frame, {"base": "Base", "tuned": "FT", "other": "Other"}, ["dsc", "h95_mm"], paper=paper)
    assert grid.header == ("Setting", "DSC ↑", "DSC: paper", "H95 (mm) ↓")
    assert _texts(grid, "DSC: paper") == ["0.82 (0.05)", "0.87 (0.04)* (p = 0.003)", "–"]
    assert "Not in the paper: H95 (mm)." in grid.notes
    assert any("20 patients of its own" in note for note in grid.notes)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_of_the_paper_from_results(results, table):
    values = {f"P{i}": {m: [0.5 + i / 10] for m in table.measures} for i in range(3)}
    variants = {setting: f"our {setting}" for setting in table.rows}
    frame = results(dict.fromkeys(variants.values(), values), task=table.task)
    grid = paper_table(frame, table, variants=variants, provenance=Provenance.REAL)
    assert [row[0].text for row in grid.rows] == [row.label for row in table.rows.values()]
    for setting, cells in zip(table.rows, grid.rows, strict=True):
        for measure, value in table.rows[setting].values.items():
            beside = cells[grid.header.index(f"{MEASURES[measure].label}: paper")]
            assert beside.text.startswith(value.text)
    assert grid.notes[len(grid.notes) - len(table.remarks) :] == table.remarks
    assert table.source in grid.heading


def test_settings_of_the_paper_that_have_no_name_among_ours_were_not_run(results):
    frame = results({"base": _patients(EIGHT, "dsc")})
    frame = pd.concat([frame, frame.assign(metric="avd_percent")])
    table = next(table for table in TABLES if table.name == "table_5")
    grid = paper_table(frame, table, variants={Setting.BASE: "base"}, provenance=Provenance.PHANTOM)
    assert _texts(grid, "DSC ↑") == ["0.54 (0.02)", "not run", "not run"]
    assert not any(cell.bold for row in grid.rows for cell in row)


def test_the_order_of_the_rows_of_results_does_not_matter(results):
    frame = results({"base": _patients(EIGHT), "tuned": _patients([v + 0.1 for v in EIGHT])})
    rows = {"base": "Base", "tuned": "FT"}
    assert _table(frame.sample(frac=1, random_state=0), rows) == _table(frame, rows)


def test_no_base_is_refused(results):
    frame = results({"base": _patients(EIGHT), "tuned": _patients(EIGHT)})
    with pytest.raises(InputError, match="rows of the table Settings: found no row for the variant base"):
        _table(frame, {"tuned": "FT"})
    with pytest.raises(InputError, match="no variant base; expected one of tuned"):
        _table(frame[frame["variant"] != "base"], {"base": "Base", "tuned": "FT"})


def test_a_patient_in_one_setting_only_is_named(results):
    frame = results({"base": _patients(EIGHT), "tuned": _patients(EIGHT[:7])})
    with pytest.raises(InputError, match="tuned lacks patient P7"):
        _table(frame, {"base": "Base", "tuned": "FT"})


def test_other_tasks_data_sets_and_doubled_rows_are_refused(results):
    frame = results({"base": _patients(EIGHT)})
    liver = results({"base": _patients(EIGHT, "tpr")}, task=Task.DETECTION)
    rows = {"base": "Base"}
    with pytest.raises(InputError, match="found rows of segmentation, detection; expected rows of"):
        _table(pd.concat([frame, liver]), rows)
    with pytest.raises(InputError, match="2 data sets"):
        _table(pd.concat([frame, frame.assign(dataset="other")]), rows)
    with pytest.raises(InputError, match="more than once"):
        _table(pd.concat([frame, frame.assign(value=0.1)]), rows)
    with pytest.raises(InputError, match="no measure h95_mm"):
        _table(frame, rows, ["h95_mm"])


def test_a_measure_that_one_seed_lacks_is_that_of_the_others_and_named(results):
    """Seed 1 was run without Monte Carlo samples."""
    base = {"P1": ([0.5, 0.7], [0.3, 0.0]), "P2": ([0.6, 0.6], [0.4, 0.0])}
    tuned = {"P1": ([0.6, 0.8], [0.2, 0.0]), "P2": ([0.7, 0.7], [0.2, 0.0])}
    frame = results(
        {
            name: {patient: {"dsc": dsc, "max_sd": sd} for patient, (dsc, sd) in variant.items()}
            for name, variant in (("base", base), ("tuned", tuned))
        }
    )
    frame = frame[(frame["metric"] != "max_sd") | (frame["seed"] == 0)]
    grid = _table(frame, {"base": "Base", "tuned": "FT"}, ["dsc", "max_sd"])
    assert _texts(grid, "DSC ↑") == ["0.60 (0.00)", "0.70 (0.00)"]
    assert _texts(grid, "Maximum SD ↓") == ["0.350 (0.071)", "0.200 (0.000)"]
    assert "Maximum SD: taken under seed 0 alone." in grid.notes
