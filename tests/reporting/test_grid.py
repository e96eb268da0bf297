from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from psft_jax.errors import InputError
from psft_jax.reporting.grid import Cell, Grid, print_grid, save_grid, to_csv, to_latex, to_markdown
from psft_jax.scan import Provenance

HOSTILE = r"[a|b] *x* `y` \z <b>1</b> 5% & $m$ #1 {n} ~ ^ p < 0.01"


def _grid(**changes):
    fields = {
        "heading": "Follow-up",
        "provenance": Provenance.PHANTOM,
        "population": "brain, 2 patients, seed 0",
        "header": ("Setting", "DSC ↑", "n"),
        "rows": (
            (Cell("Base"), Cell("0.50 (0.10)"), Cell("2")),
            (Cell("Tuned"), Cell("0.60 (0.10)*", bold=True, tone="better"), Cell("1 of 2")),
        ),
        "notes": ("Mean (SD); * p < 0.01.",),
    }
    return Grid(**(fields | changes))


def test_markdown_by_hand():
    assert to_markdown(_grid()).splitlines() == [
        "**Follow-up**",
        "",
        "PHANTOM data: generated images, not patients. brain, 2 patients, seed 0.",
        "",
        "| Setting | DSC ↑ | n |",
        "| --- | ---: | ---: |",
        "| Base | 0.50 (0.10) | 2 |",
        r"| Tuned | **0.60 (0.10)\*** | 1 of 2 |",
        "",
        r"- Mean (SD); \* p < 0.01.",
    ]


def test_markdown_shows_every_text_as_it_is():
    rows = ((Cell(HOSTILE), Cell(HOSTILE, bold=True), Cell("[red]")),)
    grid = _grid(header=(HOSTILE, "b", "c"), rows=rows, notes=(HOSTILE,))
    page = MarkdownIt("commonmark").enable("table").render(to_markdown(grid))
    shown = re.findall(r"<(t[dh]|li)[^>]*>(.*?)</\1>", page)
    escaped = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert [text for _, text in shown] == [
        *(escaped, "b", "c"),
        *(escaped, f"<strong>{escaped}</strong>", "[red]"),
        escaped,
    ]


def test_columns_that_name_a_row_are_aligned_to_the_left():
    assert "| --- | --- | ---: |" in to_markdown(_grid(names=2))
    assert r"\begin{tabular}{llr}" in to_latex(_grid(names=2))


def test_csv_reads_back_and_every_row_says_where_it_comes_from():
    frame = pd.read_csv(io.StringIO(to_csv(_grid(heading='A, "B"'))), dtype=str)
    assert list(frame.columns) == ["table", "provenance", "population", "Setting", "DSC ↑", "n"]
    assert frame.values.tolist() == [
        ['A, "B"', "phantom", "brain, 2 patients, seed 0", "Base", "0.50 (0.10)", "2"],
        ['A, "B"', "phantom", "brain, 2 patients, seed 0", "Tuned", "0.60 (0.10)*", "1 of 2"],
    ]


def test_latex_by_hand():
    assert to_latex(_grid()).splitlines() == [
        r"% needs \usepackage{booktabs, adjustbox}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Follow-up. PHANTOM data: generated images, not patients. brain, 2 patients, seed 0.}",
        r"\begin{adjustbox}{max width=\textwidth}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Setting & DSC $\uparrow$ & n \\",
        r"\midrule",
        r"Base & 0.50 (0.10) & 2 \\",
        r"Tuned & \textbf{0.60 (0.10)*} & 1 of 2 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        r"\par\smallskip",
        r"\begin{minipage}{\textwidth}\footnotesize\raggedright",
        r"Mean (SD); * p \textless{} 0.01.\par",
        r"\end{minipage}",
        r"\end{table}",
    ]


def test_latex_prints_every_character_and_a_minus():
    rows = ((Cell("[a] 5%_{b}"), Cell(r"-0.10 [-0.2 to 0.1], P-14 \x"), Cell("*")),)
    lines = to_latex(_grid(header=("[a]", "b & c", "d"), rows=rows)).splitlines()
    # Braces before a bracket or star that LaTeX would take for an option of the line above.
    assert lines[7] == r"{}[a] & b \& c & d \\"
    assert lines[9] == (r"{}[a] 5\%\_\{b\} & $-$0.10 [$-$0.2 to 0.1], P-14 \textbackslash{}x & {}* \\")


def test_printed_table_says_all(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    print_grid(_grid(rows=((Cell("[red]"), Cell("0.60 (0.10)*", bold=True, tone="worse"), Cell("1")),)))
    printed = capsys.readouterr().out
    said = ("Follow-up", "PHANTOM data", "2 patients", "[red]", "0.60 (0.10)*", "Mean (SD); * p < 0.01.")
    assert all(text in printed for text in said)


def test_a_row_of_another_length_two_columns_alike_and_unknown_tones_are_refused():
    with pytest.raises(ValueError, match="1 cells"):
        _grid(rows=((Cell("Base"),),))
    with pytest.raises(ValueError, match="columns of the same name"):
        _grid(header=("Setting", "n", "n"))
    with pytest.raises(ValueError, match="no tone bad"):
        Cell("0.5", tone="bad")


def test_saved_as_three_files_that_are_not_overwritten(tmp_path):
    paths = save_grid(_grid(), tmp_path / "tables", "table_1")
    assert [path.name for path in paths] == ["table_1.md", "table_1.csv", "table_1.tex"]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert texts == [to_markdown(_grid()), to_csv(_grid()), to_latex(_grid())]
    with pytest.raises(InputError, match="a file of this name"):
        save_grid(_grid(heading="Second"), tmp_path / "tables", "table_1")
    assert [path.read_text(encoding="utf-8") for path in paths] == texts
    save_grid(_grid(heading="Second"), tmp_path / "tables", "table_1", overwrite=True)
    assert all("Second" in path.read_text(encoding="utf-8") for path in paths)
