"""A table in words, apart from how it was computed; terminal, Markdown, CSV, LaTeX and HTML show it.

Where the images come from, how many patients and which seeds stand above the table in every form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from psft_jax.files import write_text
from psft_jax.reporting.provenance import STATEMENT
from psft_jax.scan import Provenance

_STYLES = {"better": "green", "worse": "dark_orange3", "": ""}


@dataclass(frozen=True)
class Cell:
    """What one cell shows.

    Args:
        text: the words or numbers; they say all, for CSV and for eyes that see neither bold nor colour.
        bold: the best of its column.
        tone: "better" or "worse" where a difference is significant, else "".
    """

    text: str
    bold: bool = False
    tone: str = ""

    def __post_init__(self) -> None:
        if self.tone not in _STYLES:
            raise ValueError(f"no tone {self.tone}; one of {', '.join(filter(None, _STYLES))}, or none")


@dataclass(frozen=True)
class Grid:
    """A table in words.

    Args:
        heading: what it shows.
        provenance: where the images come from.
        population: who is summarised: data set, number of patients, seeds.
        header: name of each column, each of its own.
        rows: as many cells each as there are columns.
        notes: what the columns and marks mean, and what the table leaves out.
        names: how many columns at the left name the row; the others hold its values.
    """

    heading: str
    provenance: Provenance
    population: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    names: int = 1

    def __post_init__(self) -> None:
        if len(set(self.header)) < len(self.header):
            raise ValueError(f"columns of the same name in {self.header}")
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"{len(row)} cells in {row}, but {len(self.header)} columns")

    @property
    def statements(self) -> tuple[str, str]:
        """What stands above the table: where the images come from, and who is summarised."""
        return STATEMENT[self.provenance], self.population

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return to_markdown(self)


def print_grid(grid: Grid) -> None:
    """Print to the terminal; significant differences are green for better and orange for worse."""
    shown = Table(
        title=Text("\n".join([grid.heading, *grid.statements])),
        caption=Text("\n".join(grid.notes)),
        caption_justify="left",
    )
    for number, name in enumerate(grid.header):
        shown.add_column(Text(name), justify="left" if number < grid.names else "right")
    for row in grid.rows:
        styles = (f"{'bold ' if cell.bold else ''}{_STYLES[cell.tone]}".strip() for cell in row)
        shown.add_row(*(Text(cell.text, style=style) for cell, style in zip(row, styles, strict=True)))
    Console().print(shown)


def to_markdown(grid: Grid) -> str:
    """As a Markdown table, between its heading and its notes."""
    rows = [[_markdown(name) for name in grid.header]]
    rows += [[f"**{_markdown(c.text)}**" if c.bold else _markdown(c.text) for c in row] for row in grid.rows]
    first, *others = (f"| {' | '.join(row)} |" for row in rows)
    rule = "|" + " --- |" * grid.names + " ---: |" * (len(grid.header) - grid.names)
    above = [f"**{_markdown(grid.heading)}**", "", f"{'. '.join(map(_markdown, grid.statements))}.", ""]
    notes = [f"- {_markdown(note)}" for note in grid.notes]
    return "\n".join([*above, first, rule, *others, "", *notes, ""])


def to_csv(grid: Grid) -> str:
    """As CSV without comments: every row begins with ``table``, ``provenance`` and ``population``.

    So one file may hold several tables, no row loses where it comes from, and ``pandas.read_csv`` reads it
    back. Bold and notes are not part of it.
    """
    frame = pd.DataFrame([[cell.text for cell in row] for row in grid.rows], columns=list(grid.header))
    said = {"table": grid.heading, "provenance": grid.provenance.value, "population": grid.population}
    for place, (name, text) in enumerate(said.items()):
        frame.insert(place, name, text)
    return frame.to_csv(index=False, lineterminator="\n")


def to_latex(grid: Grid) -> str:
    """As a LaTeX table with caption and notes, no wider than the text; needs booktabs and adjustbox."""
    rows = [[_latex_cell(cell) for cell in row] for row in grid.rows]
    frame = pd.DataFrame(rows, columns=[_latex_cell(Cell(name)) for name in grid.header])
    aligned = "l" * grid.names + "r" * (len(grid.header) - grid.names)
    tabular = frame.style.hide(axis="index").to_latex(hrules=True, column_format=aligned)
    caption = _latex(". ".join((grid.heading, *grid.statements)))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs, adjustbox}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}.}}",
            r"\begin{adjustbox}{max width=\textwidth}",
            tabular + r"\end{adjustbox}",
            r"\par\smallskip",
            r"\begin{minipage}{\textwidth}\footnotesize\raggedright",
            *(rf"{_latex(note)}\par" for note in grid.notes),
            r"\end{minipage}",
            r"\end{table}",
            "",
        ]
    )


def save_grid(grid: Grid, folder: Path, name: str, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write ``name.md``, ``name.csv`` and ``name.tex``, each whole or not at all.

    Returns:
        The files.

    Raises:
        InputError: one of them exists and ``overwrite`` is False.
    """
    paths = []
    for suffix, render in ((".md", to_markdown), (".csv", to_csv), (".tex", to_latex)):
        paths.append(folder / f"{name}{suffix}")
        write_text(paths[-1], render(grid), overwrite=overwrite)
    return tuple(paths)


def _markdown(text: str) -> str:
    """Without what Markdown would read as a column, as bold or as a tag."""
    return re.sub(r"([\\|*`]|<(?=[\w/!?]))", r"\\\1", text)


_LATEX = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
        **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "≈": r"$\approx$"},
        **{"≥": r"$\geq$", "≤": r"$\leq$"},
    }
)


def _latex(text: str) -> str:
    """What LaTeX prints as the text, with a minus where a number begins with a hyphen."""
    return re.sub(r"(?<![\w)\]-])-(?=\d)", "$-$", text.translate(_LATEX))


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{_latex(cell.text)}}}" if cell.bold else _latex(cell.text)
    # LaTeX would take a bracket or a star at the start of a row for an option of the line or break before it.
    return "{}" + text if text.startswith(("[", "*")) else text
