"""Files appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from psft_jax.errors import InputError
from psft_jax.files import atomic_path


def test_the_file_appears_under_its_name_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.name == "results.csv"
        assert temporary.is_relative_to(path.parent)  # on the same disk, so that the renaming is atomic
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def write_half(path: Path, error: Exception) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise error


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("earlier")
    with pytest.raises(KeyError):
        write_half(path, KeyError())
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("earlier")
    entered = False
    with pytest.raises(InputError, match=r"results\.csv: found a file of this name"), atomic_path(path):
        entered = True
    assert not entered
    with atomic_path(str(path), overwrite=True) as temporary:
        temporary.write_text("later")
    assert path.read_text() == "later"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "a full disk"),
        (errno.EDQUOT, "an exhausted disk quota"),
        (errno.EFBIG, "the largest file size"),
        (errno.EROFS, "a read-only disk"),
        (errno.EACCES, "a folder without write permission"),
    ],
)
def test_a_disk_that_refuses_is_reported_as_such(code: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{message}.* while writing"):
        write_half(tmp_path / "a.csv", OSError(code, "refused"))
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_system_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a broken disk") as raised, atomic_path(tmp_path / "a.csv"):
        raise OSError(errno.EIO, "a broken disk")
    assert not isinstance(raised.value, InputError)
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.csv"):
        pass
    assert list(tmp_path.iterdir()) == []
