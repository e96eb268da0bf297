"""Reports: one HTML file with everything in it, to be opened, sent and printed anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from psft_jax.errors import InputError
from psft_jax.files import write_text
from psft_jax.reporting.grid import Grid
from psft_jax.reporting.provenance import COLOUR, STATEMENT
from psft_jax.reporting.tables import Comparison, comparison_grid

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Section:
    """A part of a page; what it does not have is left out, and a section that has nothing is left out.

    Args:
        heading: its name, in the navigation too.
        text: paragraphs.
        facts: by name, such as the settings of a run.
        grids: tables, each with its heading (unless it is the section's), provenance, population and notes.
        figures: captions and PNG files, in their order.
    """

    heading: str
    text: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    grids: Sequence[Grid] = ()
    figures: Sequence[tuple[str, Path]] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.text or self.facts or self.grids or self.figures)


def write_page(path: Path, *, heading: str, sections: Sequence[Section], overwrite: bool = False) -> None:
    """Write one self-contained HTML file of sections; images are embedded.

    Above everything stands where the images come from, as the page's tables say it; then links to the
    sections, where there are several.

    Args:
        path: the file to write.
        heading: title of the page.
        sections: in the order of the page.
        overwrite: replace a page that is already there.

    Raises:
        InputError: the page exists and ``overwrite`` is False, or a figure is not a PNG file.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("psft_jax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = _embedded
    shown = [section for section in sections if not section.empty]
    provenances = dict.fromkeys(grid.provenance for section in shown for grid in section.grids)
    page = environment.get_template("page.html.j2").render(
        heading=heading,
        badges=[(STATEMENT[provenance], COLOUR[provenance]) for provenance in provenances],
        sections=shown,
    )
    write_text(path, page, overwrite=overwrite)


def write_report(
    path: Path,
    *,
    heading: str,
    facts: Mapping[str, str],
    table: Comparison,
    figures: Sequence[tuple[str, Path]],
    notes: Sequence[str],
    overwrite: bool = False,
) -> None:
    """Write the page of one run: facts, the comparison, figures, notes.

    Args:
        path: the file to write.
        heading: title of the page.
        facts: what the run was, by name, such as the model and its settings.
        table: the comparison; the page's provenance, patients, seeds and test are the table's.
        figures: captions and PNG files in the order of the page.
        notes: what the reader should keep in mind, a paragraph each.
        overwrite: replace a report that is already there.

    Raises:
        InputError: as ``write_page`` does.
    """
    compared = "Base against fine-tuned"
    sections = [
        Section("The run", facts=facts),
        Section(compared, grids=[comparison_grid(table, heading=compared)]),
        Section("Figures", figures=figures),
        Section("Notes", text=notes),
    ]
    write_page(path, heading=heading, sections=sections, overwrite=overwrite)


def _embedded(figure: Path) -> str:
    """A PNG file as the address of an image."""
    content = figure.read_bytes() if figure.is_file() else b""
    if not content.startswith(_PNG):
        raise InputError(
            figure,
            found="a file that is not PNG" if content else "no such file, or an empty one",
            expected="a figure in PNG",
            remedy="Make the figure again, as save_figure writes it.",
        )
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
