"""The arithmetic of the table, on made-up timings, and how results are kept and shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import page, table
from bench.__main__ import rendered
from bench.measure import Measured
from bench.results import RESULTS, Result, judge, load, save
from bench.rows import ONE_RUN, SEPARATELY, TOGETHER, Kind, Row, rows
from bench.sizes import SIZES, Job
from bench.work import Side

MACHINE: dict[str, str | int] = {"cpu": "an abacus", "cores": 2, "python": "3.11", "jax": "1", "torch": "2"}
ROWS = {row.name: row for row in rows(quick=False)}


def measured(name: str = "finetune", **changes: Any) -> Measured:
    seconds = {Side.OURS: [2.0, 4.0, 2.0], Side.THEIRS: [9.0, 16.0, 7.0], Side.THEIRS_KEPT: [6.0, 8.0, 5.0]}
    usual = Measured(
        name,
        {str(side): values for side, values in seconds.items()},
        {"ours": "all", "theirs": "5 of 100 iterations", "theirs-kept": "5 of 100 iterations"},
        12.4,
        {"ours": 2_500_000_000, "theirs": 1_000_000_000},
        "2025-01-02",
    )
    return replace(usual, **changes)


def test_speed_counts_against_pytorch_as_it_comes_repeat_by_repeat() -> None:
    result = judge(ROWS["finetune"], measured())
    assert (result.lowest, result.value, result.highest) == (3.5, 4.0, 4.5)
    assert result.reached is True
    assert table.cells(result)[4:6] == ("4.00x (3.50-4.50)", "2.50x (2.00-3.00)")


def test_kept_pages_do_not_make_a_row_reached() -> None:
    seconds = {"ours": [2.0], "theirs": [2.0], "theirs-kept": [9.0]}
    result = judge(ROWS["finetune"], measured(seconds=seconds))
    assert result.value == 1.0
    assert result.reached is False


def test_the_tables_cost_is_in_runs_of_the_longest() -> None:
    seconds = {TOGETHER: [11.0, 24.0], ONE_RUN: [10.0, 20.0], SEPARATELY: [18.0, 34.0]}
    result = judge(ROWS["tables"], measured("tables", seconds=seconds, shares={TOGETHER: "20 of 1000"}))
    assert result.value == pytest.approx(1.15)
    assert result.reached is True
    assert "1.15x the longest (1.75x separately)" in table.cells(result)


def test_progress_says_what_counts() -> None:
    assert table.progress(judge(ROWS["finetune"], measured())) == (
        "finetune: 2 s (2-4); 4.00x (3.50-4.50), pages kept 2.50x (2.00-3.00); wanted >= 1.3x: yes"
    )
    told = table.progress(judge(ROWS["memory"], measured("memory")))
    assert told == "memory: 2.50 GB, all compiled and done in 2 s (2-4); wanted < 3 GB: yes"


@pytest.mark.parametrize(("peak", "reached"), [(2_999_999_999, True), (3_000_000_001, False)])
def test_memory(peak: int, reached: bool) -> None:
    peaks = {"ours": peak, "theirs": 1}
    assert judge(ROWS["memory"], measured("memory", peak_bytes=peaks)).reached is reached


def test_without_a_target_nothing_is_reached() -> None:
    result = judge(ROWS["base"], measured("base"))
    assert result.reached is None
    assert table.cells(result)[-3:-1] == ("", "")


def test_a_part_is_scaled() -> None:
    part = Job("finetune", {}, 5, 100, "iterations")
    assert part.scale == 20
    assert Job("finetune", {}).words == "all"


def test_shares_are_named_where_they_are_not_all() -> None:
    assert table.shares(judge(ROWS["finetune"], measured())) == (
        f"{ROWS['finetune'].work}: PyTorch 5 of 100 iterations"
    )
    assert table.shares(judge(ROWS["finetune"], measured(shares={"ours": "all"}))) == ""


def results() -> list[Result]:
    seconds = {TOGETHER: [11.0], ONE_RUN: [10.0], SEPARATELY: [18.0]}
    return [
        judge(ROWS["finetune"], measured()),
        judge(
            ROWS["tables"], measured("tables", seconds=seconds, shares={TOGETHER: "20 of 1000 iterations"})
        ),
        judge(ROWS["memory"], measured("memory")),
    ]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save(path, MACHINE, results())
    assert load(path) == (MACHINE, {result.name: result for result in results()})


def test_a_row_measured_anew_replaces_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save(path, MACHINE, results())
    anew = judge(ROWS["memory"], measured("memory", peak_bytes={"ours": 1, "theirs": 1}))
    save(path, MACHINE, [anew])
    assert load(path)[1] == {result.name: result for result in [*results()[:2], anew]}


def test_another_machine_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save(path, MACHINE, results())
    save(path, {**MACHINE, "cores": 4}, results()[:1])
    assert list(load(path)[1]) == ["finetune"]


def test_markdown_says_all(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save(path, MACHINE, results()[::-1])
    text = rendered(path)
    lines = text.splitlines()
    columns = len(table.HEADER) + 1
    assert [line.count("|") for line in lines[:5]] == [columns] * 5
    assert lines[2].startswith(
        f"| {ROWS['finetune'].work} | 2 s (2-4) | 9 s (7-16) | 6 s (5-8) | 4.00x (3.50-4.50) | 2.50x"
    )
    assert "an abacus, 2 cores; JAX 1, PyTorch 2, Python 3.11; 2025-01-02." in text
    assert "PyTorch 5 of 100 iterations" in text


def test_the_rows_are_those_that_were_asked_for() -> None:
    targets = {row.name: (row.kind, row.target) for row in ROWS.values()}
    assert targets == {
        "finetune": (Kind.SPEED, 1.3),
        "bank": (Kind.SPEED, 6.0),
        "tables": (Kind.COST, 1.15),
        "elementwise": (Kind.SPEED, 4.0),
        "channel": (Kind.SPEED, 12.0),
        "deterministic": (Kind.SPEED, 1.3),
        "memory": (Kind.MEMORY, 3.0),
        "base": (Kind.SPEED, None),
    }
    assert SIZES["full"].shape == (48, 240, 240)
    assert (SIZES["full"].batch, SIZES["full"].patch) == (4, 128)


@pytest.mark.parametrize("row", [*rows(quick=True), *rows(quick=False)], ids=lambda row: row.name)
def test_parts_are_parts(row: Row) -> None:
    for _, jobs in row.measured.values():
        for job in jobs:
            assert 1 <= job.done <= job.whole


def test_a_block_needs_its_markers() -> None:
    with pytest.raises(ValueError, match="once each"):
        page.replaced("<!-- bench: x --> <!-- bench: x --> <!-- end: x -->", "x", "")


@pytest.mark.skipif(not RESULTS.exists(), reason="nothing measured yet")
def test_the_page_shows_the_results() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.replaced(text, "results", rendered(RESULTS)) == text
