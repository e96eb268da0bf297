"""What is wrong with a cohort's visits, as far as it shows before any is read: roles, names, files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.files import sha256_of

NOT_IN_NAMES = "/\\\0\n\r\t"


def problems_of(
    where: Path,
    visits: Sequence[VisitFiles],
    *,
    annotated: bool = True,
    incomplete: frozenset[str] = frozenset(),
) -> list[InputError]:
    """Everything that is wrong with a list of visits.

    Args:
        where: the folder or table that they were found in.
        visits: of all patients.
        annotated: whether visits that the network learns from must have a lesion mask.
        incomplete: patients who have other visits too, which cannot be used.
    """
    by_subject: dict[str, list[VisitFiles]] = defaultdict(list)
    for visit in visits:
        by_subject[visit.subject].append(visit)
    problems = []
    for subject, of_subject in by_subject.items():
        found = list(_names(of_subject))
        if subject not in incomplete:
            found += _roles(of_subject)
        if annotated:
            found += _annotations(of_subject)
        problems += [_problem(f"{where}: {subject}", *what) for what in found]
    return [*problems, *_shared_files(where, visits), *_change_masks(visits)]


def copies_among(files: Iterable[Path]) -> list[list[Path]]:
    """Files of several names and the same bytes: perhaps a scan or a mask that was filed twice."""
    by_content: dict[str, list[Path]] = defaultdict(list)
    for file in dict.fromkeys(files):
        if file.is_file():
            by_content[sha256_of([file])].append(file)
    return [copies for copies in by_content.values() if len(copies) > 1]


def combined(where: Path, problems: Sequence[InputError]) -> InputError:
    """One error for several, or the one itself."""
    if len(problems) == 1:
        return problems[0]
    numbered = " ".join(f"({number}) {problem}" for number, problem in enumerate(problems, 1))
    return InputError(
        where,
        found=f"{len(problems)} problems: {numbered}",
        expected="none",
        remedy="Mend all of them, or leave these visits out.",
    )


def _roles(visits: list[VisitFiles]) -> Iterable[tuple[str, str, str]]:
    counted = Counter(visit.role for visit in visits)
    said = ", ".join(f"{counted[role]} {role}" for role in Role if counted[role])
    if Role.TRAINING in counted and len(counted) > 1:
        yield (
            f"visits for training and for testing ({said})",
            "a patient in one place: test patients must not reach base training",
            "Give all visits of the patient the role training, or none.",
        )
    elif Role.TRAINING not in counted and (counted[Role.BASELINE] != 1 or not counted[Role.FOLLOW_UP]):
        yield (
            said,
            "one baseline and a follow-up",
            "Add the visit that is missing, or give a single visit the role training.",
        )


def _names(visits: list[VisitFiles]) -> Iterable[tuple[str, str, str]]:
    sessions = Counter(visit.session for visit in visits)
    repeated = sorted(session for session, count in sessions.items() if count > 1)
    if repeated:
        yield (
            f"more than one visit {', '.join(repeated)}",
            "one visit of a name",
            "Give each visit a name of its own.",
        )
    for name in sorted({visits[0].subject, *sessions}):
        if not name.strip(" .") or set(name) & set(NOT_IN_NAMES):
            yield (
                f"the name {name!r}",
                "a name that a folder can have",
                "Take letters, digits, - and _ alone for subject and session.",
            )


def _annotations(visits: list[VisitFiles]) -> Iterable[tuple[str, str, str]]:
    for visit in visits:
        if visit.lesion is None and visit.role is not Role.FOLLOW_UP:
            yield (
                f"no lesion mask for visit {visit.session} ({visit.role})",
                "a lesion mask, since the network learns from this visit",
                "Annotate the visit (experiments.segment makes a draft), or leave the patient out; a "
                "follow-up needs no mask.",
            )


def _shared_files(where: Path, visits: Sequence[VisitFiles]) -> list[InputError]:
    """Images that stand for two visits or two sequences: a slip in a table."""
    uses = Counter(file for visit in visits for sequence in visit.sequences for file in sequence)
    return [
        _problem(
            f"{where}: {file}",
            f"the same image {count} times",
            "an image of its own for each sequence of each visit",
            "Correct the path.",
        )
        for file, count in uses.items()
        if count > 1
    ]


def _change_masks(visits: Sequence[VisitFiles]) -> list[InputError]:
    """The longitudinal part of the Ljubljana MS database has one mask a patient, of what has changed."""
    return [
        _problem(
            f"{visit.lesion}",
            "a mask of the lesions that changed between two visits",
            "a mask of all lesions of one visit",
            "Annotate the visit: a change mask is no lesion mask, and most lesions do not change.",
        )
        for visit in visits
        if visit.lesion is not None and is_change_mask(visit.lesion)
    ]


def is_change_mask(path: Path) -> bool:
    """Whether a file is a change mask of the Ljubljana MS database: a ``gt`` beside images of ``study1``."""
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return (name == "gt" or name.endswith("_gt")) and any(path.parent.glob("*study1_*"))


def _problem(where: str, found: str, expected: str, remedy: str) -> InputError:
    return InputError(where, found=found, expected=expected, remedy=remedy)
