"""The sentence that bad input gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from psft_jax.errors import InputError


def error() -> InputError:
    return InputError(Path("a.nii"), found="NaN", expected="numbers", remedy="Export it again.")


def test_the_message_is_a_sentence_with_its_remedy() -> None:
    assert str(error()) == "a.nii: found NaN; expected numbers. Export it again."
    assert (error().where, error().found) == ("a.nii", "NaN")


def test_it_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="found NaN"):
        raise error()
