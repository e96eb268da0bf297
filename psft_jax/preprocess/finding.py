"""The subjects of a data set that can be prepared, and what is wrong with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psft_jax.data.bids_derivative import distinct_labels
from psft_jax.data.checks import problems_of
from psft_jax.data.listing import Listing
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.preprocess.subjects import Subject


@dataclass(frozen=True)
class Found:
    """The subjects of a data set.

    Args:
        subjects: those whose files are all there.
        broken: names of the others.
        problems: what is wrong with the others, and with the data set.
    """

    subjects: tuple[Subject, ...]
    broken: frozenset[str]
    problems: tuple[InputError, ...]


def find_subjects(listings: Sequence[Listing]) -> Found:
    """Sort out the subjects of a data set before anything long begins; nothing but names is looked at.

    A subject with one visit that cannot be used is not prepared at all, because its other visits may be
    prepared otherwise with it. Lesion masks need not be there yet.

    Raises:
        InputError: the names of two subjects make one BIDS label.
    """
    usable: list[Subject] = []
    broken = {name for listing in listings for name in listing.incomplete}
    problems = [error for listing in listings for error in listing.unusable]
    told = set(map(str, problems))
    for listing in listings:
        for name, visits in _by_subject(listing):
            wrong = list(_problems(listing, visits))
            problems += wrong
            told |= set(map(str, wrong))
            if wrong:
                broken.add(name)
            elif name not in broken:
                usable.append(Subject(name, visits))
        # Such as an image that stands for two subjects.
        problems += [error for error in _problems(listing, listing.visits) if str(error) not in told]
    distinct_labels([subject.name for subject in usable])
    return Found(tuple(usable), frozenset(broken), tuple(problems))


def _by_subject(listing: Listing) -> list[tuple[str, tuple[VisitFiles, ...]]]:
    """Each subject's visits: the baseline first, wherever a table names it."""
    found: dict[str, list[VisitFiles]] = defaultdict(list)
    for visit in sorted(listing.visits, key=lambda visit: visit.role is Role.FOLLOW_UP):
        found[visit.subject].append(visit)
    names = dict.fromkeys(visit.subject for visit in listing.visits)
    return [(name, tuple(found[name])) for name in names]


def _problems(listing: Listing, visits: Sequence[VisitFiles]) -> Iterator[InputError]:
    yield from problems_of(listing.root, visits, annotated=False, incomplete=listing.incomplete)
    for visit in visits:
        yield from visit.missing()
    try:
        for name in dict.fromkeys(visit.subject for visit in visits):
            distinct_labels({visit.session for visit in visits if visit.subject == name})
    except InputError as error:
        yield error
