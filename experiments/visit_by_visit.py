"""Work on one visit after another, where one that fails stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from psft_jax.errors import InputError


class Named(Protocol):
    """A visit, as far as it is spoken of."""

    @property
    def name(self) -> str:
        """Subject and session in one word."""
        ...


AVisit = TypeVar("AVisit", bound=Named)
Result = TypeVar("Result")

Failures = dict[str, InputError]
"""Why a visit could not be done, by its name."""

logger = logging.getLogger(__name__)


def each(
    visits: Iterable[AVisit], work: Callable[[AVisit], Result], *, doing: str
) -> tuple[list[Result], Failures]:
    """Do the work on every visit, with a progress bar; errors are logged at once.

    Args:
        visits: in the order in which they are done.
        work: on one of them; raises an InputError where it cannot be done.
        doing: what the progress bar says.

    Returns:
        The results of the visits that could be done, and why the others could not.
    """
    todo, results = list(visits), []
    failures: Failures = {}
    with logging_redirect_tqdm():
        for visit in tqdm(todo, desc=doing, unit="visit", disable=len(todo) < 2):
            try:
                results.append(work(visit))
            except InputError as error:
                logger.error("%s failed: %s", visit.name, error)
                failures[visit.name] = error
    return results, failures


def check_all_done(folder: Path, failures: Failures, *, expected: str, remedy: str) -> None:
    """End with an error where some visits failed; by then all else is written.

    Raises:
        InputError: there are failures.
    """
    if failures:
        raise InputError(
            folder,
            found=f"visits that failed: {', '.join(failures)}",
            expected=expected,
            remedy=f"The reasons are above. {remedy} Then repeat the command: what is done is kept.",
        )
