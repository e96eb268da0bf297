"""The sessions of BIDS subjects: which there are, in which order of time, and what each is there for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from psft_jax.data.table import ROLE, SESSION, SUBJECT, read_rows, role_of
from psft_jax.data.visit_files import Role, roles_in_order
from psft_jax.errors import InputError

SESSION_ID, ACQ_TIME = "session_id", "acq_time"
SINGLE = "single"
"""What the one visit of a subject without sessions is called."""


@dataclass(frozen=True)
class Session:
    """A session's folder, its subject (``sub-01``) and its label (``ses-01``, or empty without sessions)."""

    folder: Path
    subject: str
    label: str

    @property
    def name(self) -> str:
        """What the visit is called."""
        return self.label or SINGLE

    def holds(self, entities: Mapping[str, str]) -> bool:
        """Whether a file with these entities is of this subject and session."""
        session = self.label.removeprefix("ses-")
        return f"sub-{entities.get('sub')}" == self.subject and entities.get("ses", "") == session


@dataclass(frozen=True)
class Order:
    """Sessions with their roles, a subject's earliest first.

    Args:
        sessions: all that are used.
        by_label: subjects whose order in time the labels alone tell, because nobody says times.
        problems: what is wrong with times or roles.
        undecided: subjects whose times are given and tell no order; here they are in that of the labels.
    """

    sessions: tuple[tuple[Session, Role], ...]
    by_label: tuple[str, ...] = ()
    problems: tuple[InputError, ...] = ()
    undecided: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Span:
    """When a session was acquired, as far as a cell tells it: 2021 is any time of that year."""

    first: np.datetime64
    end: np.datetime64


def sessions_of(subject: Path) -> list[Session]:
    """The sessions of a subject's folder, by label; the folder itself where it has none."""
    labels = sorted((entry.name for entry in subject.glob("ses-*") if entry.is_dir()), key=_natural)
    return [Session(subject / label, subject.name, label) for label in labels or [""]]


def ordered(sessions: list[Session]) -> Order:
    """Sessions by the times of ``sub-*_sessions.tsv`` where it gives any of a subject's, else by label."""
    result: list[tuple[Session, Role]] = []
    by_label: list[str] = []
    problems: dict[str, InputError] = {}
    for subject in dict.fromkeys(session.subject for session in sessions):
        of_subject = [session for session in sessions if session.subject == subject]
        try:
            spans = _spans(of_subject) if len(of_subject) > 1 else {}
        except InputError as error:
            problems[subject] = error
        else:
            if spans:
                of_subject.sort(key=lambda session: spans[session.label].first)
            elif len(of_subject) > 1:
                by_label.append(subject)
        result += zip(of_subject, roles_in_order(len(of_subject)), strict=True)
    return Order(tuple(result), tuple(by_label), tuple(problems.values()), frozenset(problems))


def told(path: Path, sessions: list[Session]) -> Order:
    """Sessions that a table names, with the roles that it gives; ``sub-`` and ``ses-`` may be left out.

    Raises:
        InputError: the table cannot be read.
    """
    there = {(session.subject, session.label): session for session in sessions}
    result: list[tuple[Session, Role]] = []
    problems: list[InputError] = []
    for row in read_rows(path, (SUBJECT, SESSION, ROLE)):
        subject = f"sub-{row.cells[SUBJECT].removeprefix('sub-')}"
        label = row.cells[SESSION].removeprefix("ses-")
        session = there.get((subject, f"ses-{label}" if label else ""))
        role = role_of(row.cells[ROLE])
        if session is not None and role is not None:
            result.append((session, role))
            continue
        problems.append(
            InputError(
                f"{path}, line {row.line}",
                found=f"{', '.join(row.cells.values())}",
                expected=f"a session with a FLAIR or T1w image, and one of the roles {', '.join(Role)}",
                remedy="Correct the line, or leave it out.",
            )
        )
    return Order(tuple(result), problems=tuple(problems))


def _table_of_times(session: Session) -> Path:
    subject = session.folder.parent if session.label else session.folder
    return subject / f"{session.subject}_sessions.tsv"


def _spans(of_subject: list[Session]) -> dict[str, Span]:
    """When each session was acquired; nothing where no table says any time.

    Raises:
        InputError: the table cannot be read, has a time of some sessions but not of all, or does not tell
            which of two was earlier.
    """
    path = _table_of_times(of_subject[0])
    cells = _times(path)
    if not cells:
        return {}
    labels = [session.label for session in of_subject]
    spans = {label: _span(cells.get(label, "")) for label in labels}
    known = {label: span for label, span in spans.items() if span is not None}
    untimed = [f"{label} ({cells.get(label) or 'nothing'})" for label in labels if label not in known]
    if untimed:
        raise _no_order(path, f"no {ACQ_TIME} that can be read for {', '.join(untimed)}")
    for earlier, later in pairwise(sorted(known, key=lambda label: known[label].first)):
        if known[earlier].end > known[later].first:
            times = f"{earlier} ({cells[earlier]}) and {later} ({cells[later]})"
            raise _no_order(path, f"times that do not tell which was first, {times}")
    return known


def _times(path: Path) -> dict[str, str]:
    """What a table of sessions says of their times; nothing where there is none, or no time in it."""
    said = read_rows(path, (), optional=(ACQ_TIME,)) if path.is_file() else []
    if not said:  # a row in which the only column asked for is empty is no row
        return {}
    rows = read_rows(path, (SESSION_ID, ACQ_TIME))
    labels = [f"ses-{row.cells[SESSION_ID].removeprefix('ses-')}" for row in rows]
    if len(set(labels)) < len(labels):
        raise _no_order(path, f"more than one line for a session: {', '.join(labels)}")
    return dict(zip(labels, (row.cells[ACQ_TIME] for row in rows), strict=True))


def _no_order(path: Path, found: str) -> InputError:
    return InputError(
        path,
        found=found,
        expected=f"an {ACQ_TIME} (YYYY-MM-DDThh:mm:ss) of its own for every session, or for none",
        remedy="Complete the column, empty it (then the order of the labels counts), or name the sessions to "
        "be used in a table of roles (dataset.roles=FILE).",
    )


def _natural(label: str) -> list[str | int]:
    """A key that sorts numbers in labels by their value; text and digits alternate, so like meets like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label)]


def _span(cell: str) -> Span | None:
    """The time of an ISO date, also one of a month or a year alone; None for anything else."""
    try:
        if re.fullmatch(r"\d{4}(-\d{2})?", cell):
            first = np.datetime64(cell)
        else:
            time = datetime.fromisoformat(cell).replace(tzinfo=None)
            first = np.datetime64(time if len(cell) > len("YYYY-MM-DD") else time.date())
    except ValueError:
        return None
    return Span(first, first + 1)  # in the unit of the cell: a year, a month, a day, a microsecond
