"""Files appear whole or not at all: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from psft_jax.errors import InputError

_REFUSALS = {
    errno.ENOSPC: "a full disk",
    errno.EDQUOT: "an exhausted disk quota",
    errno.EFBIG: "the largest file size that this disk or account allows",
    errno.EROFS: "a read-only disk",
    errno.EACCES: "a folder without write permission",
    errno.ENOTDIR: "a file where a folder should be",
}


@contextlib.contextmanager
def refused_by_disk(path: str | Path) -> Iterator[None]:
    """Turn what a full or unwritable disk makes a writer raise into one sentence.

    Args:
        path: what is written in the block.

    Raises:
        InputError: the disk refused.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise InputError(
            path,
            found=f"{refusal} while writing",
            expected="room, and leave to write",
            remedy="Make room or choose another folder, then run again; what was written before is intact.",
        ) from error


def _refusal(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return _REFUSALS[error.errno]
    # Orbax hands on what the system says of the disk in words alone.
    return next((what for code, what in _REFUSALS.items() if os.strerror(code) in str(error)), None)


@contextlib.contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that takes its name when the block ends without an error.

    The temporary name ends as ``path`` does, so that writers which go by the suffix (``.nii.gz``, ``.png``)
    write the right format. The folder is made where it is missing. Where the block raises, the temporary
    file is removed and whatever stood at ``path`` before is left as it was.

    Args:
        path: the file to write.
        overwrite: replace a file that is already there.

    Yields:
        The path to write to; it does not exist yet.

    Raises:
        InputError: the file exists and ``overwrite`` is False, or the disk is full or
            may not be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "note.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     print((Path(folder) / "note.txt").read_text())
    whole
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(
            path,
            found="a file of this name",
            expected="no file, so that no earlier result is lost",
            remedy="Choose another name, move the file away, or ask for it to be overwritten.",
        )
    with refused_by_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own lets the temporary file keep its name, and takes with it whatever a writer
        # that fails leaves beside its file.
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            temporary = folder / path.name
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        InputError: as ``atomic_path`` does.
    """
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(files: Iterable[Path]) -> str:
    """One SHA-256 of many files: of their own SHA-256 digests, in their order."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
