"""The one exception that bad input raises; an entry point shows it as a sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class InputError(ValueError):
    """Something that the user gave cannot be used.

    Args:
        where: the file, setting or patient that is wrong.
        found: what was found there.
        expected: what would have been right.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, *, found: str, expected: str, remedy: str) -> None:
        self.where = str(where)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{where}: found {found}; expected {expected}. {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickling needs, so that the error survives its way back from a worker process."""
        return _rebuild, (self.where, self.found, self.expected, self.remedy)


class FieldError(InputError):
    """A field of a configuration is out of its range; ``field`` is its name."""

    def __init__(self, where: object, field: str, *, found: str, expected: str, remedy: str) -> None:
        self.field = field
        super().__init__(f"{where}.{field}", found=found, expected=expected, remedy=remedy)

    def inside(self, group: str) -> InputError:
        """The same error with the name that the field has in a larger configuration."""
        return InputError(
            f"{group}.{self.field}" if group else self.field,
            found=self.found,
            expected=self.expected,
            remedy=self.remedy,
        )


def check_fields(config: object, valid: Mapping[str, tuple[bool, str]], *, remedy: str) -> None:
    """Raise where a field of a configuration is out of its range.

    Args:
        config: the configuration, a dataclass.
        valid: field name -> whether its value is valid, and what would be.
        remedy: what the user can do about it.

    Raises:
        FieldError: the first field that is not valid.
    """
    for name, (good, expected) in valid.items():
        if not good:
            found = str(getattr(config, name))
            raise FieldError(type(config).__name__, name, found=found, expected=expected, remedy=remedy)


def _rebuild(where: str, found: str, expected: str, remedy: str) -> InputError:
    return InputError(where, found=found, expected=expected, remedy=remedy)
