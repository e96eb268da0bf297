"""A table that names every visit and its files: for scans in a layout of one's own.

CSV (comma or semicolon) or TSV (tab), whatever its suffix, in UTF-8, a row a visit, with the columns

    subject, session, role, FLAIR, T1, organ, lesion

or the sequences' names of another task (DCE, DWI) in place of FLAIR and T1. ``role`` is training, baseline
or follow_up; several files of one sequence (DCE phases, b-values) stand in one cell with | between them, in
the order of their channels, and a 4-D file stands for all of its volumes. Paths are relative to the table's
folder. ``organ`` is empty for skull-stripped images, ``lesion`` for a follow-up that nobody has annotated;
NA and n/a count as empty. Other columns are not read. Of several follow-ups the first in the table is
quantified.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from pathlib import Path

from psft_jax.data.assemble import MaskRules
from psft_jax.data.listing import Listing
from psft_jax.data.nifti import count_volumes
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.scan import Provenance, Sequence

SUBJECT, SESSION, ROLE, ORGAN, LESION = "subject", "session", "role", "organ", "lesion"
BETWEEN_FILES = "|"
DIVIDERS = (",", ";", "\t")
NOTHING = ("", "n/a", "N/A", "NA")
"""What an empty cell holds; BIDS writes n/a, R writes NA."""


@dataclass(frozen=True)
class Row:
    """A row of a table: its line in the file, and its cells by column."""

    line: int
    cells: dict[str, str]


def find(
    path: str | Path,
    sequences: tuple[str, str] = ("FLAIR", "T1"),
    *,
    name: str | None = None,
    provenance: Provenance = Provenance.REAL,
    resample_masks: bool = False,
) -> Listing:
    """All visits of a table.

    Args:
        path: the table.
        sequences: names of the two sequences, which are names of columns.
        name: what figures call the cohort, without one the table's.
        provenance: where the images come from.
        resample_masks: bring masks on another grid onto that of the images.

    Raises:
        InputError: the table cannot be read, has no rows, or lacks a column.
    """
    path = Path(path)
    rows = read_rows(path, (SUBJECT, SESSION, ROLE, *sequences, ORGAN, LESION))
    visits: list[VisitFiles] = []
    unusable: list[InputError] = []
    incomplete = set()
    for row in rows:
        wrong = _wrong(path, row, sequences)
        unusable += wrong
        if wrong:
            incomplete.add(row.cells[SUBJECT])
        else:
            visits.append(_visit(path.parent, row.cells, sequences))
    channels, uneven = _channels(sequences, visits)
    incomplete |= {visit.subject for visit, _ in uneven}
    return Listing(
        name or path.stem,
        path,
        channels,
        tuple(visits),
        unusable=(*unusable, *(error for _, error in uneven)),
        incomplete=frozenset(incomplete),
        rules=MaskRules(resample=resample_masks),
        provenance=provenance,
    )


def read_rows(path: Path, columns: Listed[str], *, optional: Listed[str] = ()) -> list[Row]:
    """The rows of a table that are not empty, without spaces around their cells.

    Commas, semicolons or tabs divide it: those by which its first line has the most of the columns. What the
    suffix says does not count.

    Args:
        path: the table.
        columns: that it must have.
        optional: columns that it may lack; their cells are then empty.

    Raises:
        InputError: there is no such file, it is no text in UTF-8, has no rows, lacks one of the columns, or a
            row has more cells than the first.
    """
    named = (*columns, *optional)
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            between = _divider(opened.readline(), named)
            opened.seek(0)
            reader = csv.reader(opened, delimiter=between)
            header = _stripped(next(reader, []))
            lines = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            path,
            found=f"a table that cannot be read ({error})",
            expected="a CSV or TSV in UTF-8",
            remedy="Check the path; from Excel, save as CSV UTF-8.",
        ) from error
    _check_shape(path, columns, optional, header, lines)
    padded = ((line, dict(zip(header, cells + [""] * len(header), strict=False))) for line, cells in lines)
    rows = (Row(line, {name: _cell(cells.get(name, "")) for name in named}) for line, cells in padded)
    return [row for row in rows if any(row.cells.values())]


def _divider(first_line: str, columns: Listed[str]) -> str:
    """The divider by which a line has the most of the columns, and, where none has any, the most cells."""

    def known(divider: str) -> tuple[int, int]:
        cells = _stripped(next(csv.reader([first_line], delimiter=divider), []))
        return len(set(cells) & set(columns)), len(cells)

    return max(DIVIDERS, key=known)


def _check_shape(
    path: Path,
    columns: Listed[str],
    optional: Listed[str],
    header: list[str],
    lines: list[tuple[int, list[str]]],
) -> None:
    wrong = [name for name in columns if header.count(name) != 1]
    wrong += [name for name in optional if header.count(name) > 1]
    if wrong:
        raise InputError(
            path,
            found=f"the columns {', '.join(header)}",
            expected=f"the columns {', '.join(columns)}, each once",
            remedy="Name the columns so in the first line, divided by commas, semicolons or tabs; a cell may "
            "be empty, a column not absent.",
        )
    longer = [str(line) for line, cells in lines if any(map(str.strip, cells[len(header) :]))]
    if longer or not any(any(map(str.strip, cells)) for _, cells in lines):
        raise InputError(
            path,
            found=f"more cells than columns in line {', '.join(longer)}" if longer else "no rows",
            expected="a row for each visit, with a cell for each column",
            remedy="Put a cell that holds the divider itself between quotation marks."
            if longer
            else "Fill in the table.",
        )


def _stripped(cells: Listed[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _cell(text: str) -> str:
    return "" if text.strip() in NOTHING else text.strip()


def role_of(word: str) -> Role | None:
    """The role that a cell names, in any case and with - or _.

    >>> role_of("Follow-up"), role_of("control")
    (<Role.FOLLOW_UP: 'follow_up'>, None)
    """
    return {role.value: role for role in Role}.get(word.lower().replace("-", "_"))


def _wrong(path: Path, row: Row, sequences: tuple[str, str]) -> list[InputError]:
    """What is wrong with a row by itself."""
    where = f"{path}, line {row.line}"
    problems = [
        InputError(
            where,
            found=f"no {column}",
            expected=f"a {column} in every row",
            remedy="Fill in the cell, or leave the row out.",
        )
        for column in (SUBJECT, SESSION, *sequences)
        if not row.cells[column]
    ]
    if role_of(row.cells[ROLE]) is None:
        problems.append(
            InputError(
                where,
                found=f"the role {row.cells[ROLE]!r}",
                expected=f"one of {', '.join(Role)}",
                remedy="Correct the cell, or leave the row out.",
            )
        )
    return problems


def _visit(folder: Path, cells: dict[str, str], sequences: tuple[str, str]) -> VisitFiles:
    role = role_of(cells[ROLE])
    assert role is not None  # _wrong has refused such rows
    first, second = (_files(folder, cells[name]) for name in sequences)
    organ, lesion = (folder / cells[name] if cells[name] else None for name in (ORGAN, LESION))
    return VisitFiles(cells[SUBJECT], cells[SESSION], role, (first, second), organ, lesion)


def _files(folder: Path, cell: str) -> tuple[Path, ...]:
    return tuple(folder / name.strip() for name in cell.split(BETWEEN_FILES) if name.strip())


def _channels(
    names: tuple[str, str], visits: Listed[VisitFiles]
) -> tuple[tuple[Sequence, Sequence], list[tuple[VisitFiles, InputError]]]:
    """The two sequences with as many channels as most visits have, and an error of each visit with others."""
    described: list[Sequence] = []
    uneven: list[tuple[VisitFiles, InputError]] = []
    for place, name in enumerate(names):
        counts = {visit.name: _volumes(visit.sequences[place]) for visit in visits}
        known = Counter(count for count in counts.values() if count is not None)
        usual = known.most_common(1)[0][0] if known else 1
        channels = (name,) if usual == 1 else tuple(f"{name}{channel:02d}" for channel in range(usual))
        described.append(Sequence(name, channels))
        uneven += [
            (visit, _uneven(visit, place, f"{counts[visit.name]} volumes of {name}", usual))
            for visit in visits
            if counts[visit.name] not in (None, usual)
        ]
    return (described[0], described[1]), uneven


def _uneven(visit: VisitFiles, place: int, found: str, usual: int) -> InputError:
    return InputError(
        ", ".join(map(str, visit.sequences[place])),
        found=f"{found} for visit {visit.name}",
        expected=f"{usual}, as in most visits",
        remedy="Give all volumes of the sequence, in the order of their acquisition, and no others.",
    )


def _volumes(files: tuple[Path, ...]) -> int | None:
    """How many volumes the headers speak of; None where a file is missing or unreadable."""
    counts = [count_volumes(file) for file in files]
    return None if None in counts else sum(count for count in counts if count is not None)
