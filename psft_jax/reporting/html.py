"""The report: one HTML file with everything in it, to be opened, sent and printed anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from psft_jax.errors import InputError
from psft_jax.files import atomic_path
from psft_jax.reporting.provenance import COLOUR, STATEMENT
from psft_jax.reporting.tables import Comparison, cells, footnotes, header, population

_PNG = b"\x89PNG\r\n\x1a\n"


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
    """Write one self-contained HTML file: provenance, facts, table, figures, notes; images are embedded.

    Args:
        path: the file to write.
        heading: title of the page.
        facts: what the run was, by name, such as the model and its settings.
        table: the comparison; the page's provenance, patients, seeds and test are the table's.
        figures: captions and PNG files in the order of the page.
        notes: what the reader should keep in mind, a paragraph each.
        overwrite: replace a report that is already there.

    Raises:
        InputError: the report exists and ``overwrite`` is False, or a figure is not a PNG file.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("psft_jax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        heading=heading,
        statement=STATEMENT[table.provenance],
        colour=COLOUR[table.provenance],
        population=population(table),
        facts=facts,
        header=header(table),
        rows=[cells(line) for line in table.lines],
        footnotes=footnotes(table),
        figures=[(caption, _embedded(file)) for caption, file in figures],
        notes=notes,
    )
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")


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
