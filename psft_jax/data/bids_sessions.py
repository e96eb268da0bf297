"""The sessions of BIDS subjects: which there are, in which order of time, and what each is there for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psft_jax.data.table import ROLE, SESSION, SUBJECT, read_rows, role_of
from psft_jax.data.visit_files import Role, roles_in_order
from psft_jax.errors import InputError

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
        by_label: subjects whose order in time the labels alone tell.
        problems: what is wrong with times or roles.
    """

    sessions: tuple[tuple[Session, Role], ...]
    by_label: tuple[str, ...] = ()
    problems: tuple[InputError, ...] = ()


def sessions_of(subject: Path) -> list[Session]:
    """The sessions of a subject's folder, by label; the folder itself where it has none."""
    labels = sorted((entry.name for entry in subject.glob("ses-*") if entry.is_dir()), key=_natural)
    return [Session(subject / label, subject.name, label) for label in labels or [""]]


def ordered(sessions: list[Session]) -> Order:
    """Sessions by the times of ``sub-*_sessions.tsv`` where it gives all of a subject's, else by label."""
    result: list[tuple[Session, Role]] = []
    by_label: list[str] = []
    problems: list[InputError] = []
    for subject in dict.fromkeys(session.subject for session in sessions):
        of_subject = [session for session in sessions if session.subject == subject]
        times = _times(of_subject)
        untimed = [session.label for session in of_subject if session.label not in times]
        if not untimed:
            of_subject.sort(key=lambda session: times[session.label])
        elif len(of_subject) > 1:
            by_label.append(subject)
            if times:
                problems.append(_untimed(_table_of_times(of_subject[0]), untimed))
        result += zip(of_subject, roles_in_order(len(of_subject)), strict=True)
    return Order(tuple(result), tuple(by_label), tuple(problems))


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


def _times(of_subject: list[Session]) -> dict[str, datetime]:
    """When each session was acquired, as far as the subject's table says it."""
    path = _table_of_times(of_subject[0])
    if not path.is_file():
        return {}
    try:
        rows = read_rows(path, ("session_id", "acq_time"))
    except InputError:
        return {}  # a table of other things, such as ages
    times = {row.cells["session_id"]: _time(row.cells["acq_time"]) for row in rows}
    return {label: time for label, time in times.items() if time is not None}


def _untimed(path: Path, labels: list[str]) -> InputError:
    return InputError(
        path,
        found=f"no acq_time (YYYY-MM-DDThh:mm:ss) for {', '.join(labels)}",
        expected="a time for every session of the subject, or for none",
        remedy="Complete the column, or remove it: then the order of the labels counts.",
    )


def _natural(label: str) -> list[str | int]:
    """A key that sorts numbers in labels by their value; text and digits alternate, so like meets like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label)]


def _time(cell: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cell).replace(tzinfo=None)
    except ValueError:
        return None
