"""docs/performance.md: what stands between two markers is written from the measurements, never by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from psft_jax.errors import InputError
from psft_jax.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def measured(path: Path) -> Any:
    """What a measurement left in a file.

    Raises:
        InputError: there is none, or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            path,
            found=f"no file of measurements ({error})",
            expected="what a run without --render has written",
            remedy="Measure first, or name another file with --out.",
        ) from error


def replaced(page: str, block: str, body: str) -> str:
    """The page with another body between the markers of a block.

    Raises:
        ValueError: the page does not have both markers once each.

    >>> replaced("a <!-- bench: x --> old <!-- end: x --> b", "x", "new")
    'a <!-- bench: x -->\\nnew\\n<!-- end: x --> b'
    """
    begin, end = f"<!-- bench: {block} -->", f"<!-- end: {block} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs {begin} and {end} once each")
    before, rest = page.split(begin)
    return f"{before}{begin}\n{body}\n{end}{rest.split(end)[1]}"


def write(block: str, body: str, page: Path = PAGE) -> None:
    """Put a body between the markers of a block."""
    text = replaced(page.read_text(encoding="utf-8"), block, body)
    write_text(page, text, overwrite=True)
