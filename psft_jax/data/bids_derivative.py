"""What makes a folder of results a BIDS derivative: its description, its files' sidecars, their sources.

BIDS 1.10, https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html. Where files lie
in it is said by ``psft_jax.data.bids_names``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psft_jax.data.bids_names import bids_label
from psft_jax.errors import InputError
from psft_jax.files import write_text

BIDS_VERSION = "1.10.0"
PIPELINE = "psft_jax"
"""What the descriptions of the project's derivatives call their maker."""
DESCRIPTION = "dataset_description.json"
DERIVATIVES = "derivatives"
"""The folder of a data set that derivatives may lie in."""


@dataclass(frozen=True)
class Sources:
    """Where the files that a derivative is made from lie.

    Args:
        folders: of each data set (BIDS or not) its folder, by the name that BIDS URIs call it.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)

    def uri(self, file: Path) -> str:
        """A file's BIDS URI, or, where it lies in none of the folders, its file URI.

        >>> Sources({"raw": Path("/data/ms")}).uri(Path("/data/ms/sub-01/anat/sub-01_FLAIR.nii.gz"))
        'bids:raw:sub-01/anat/sub-01_FLAIR.nii.gz'
        """
        file = file.resolve()
        for name, folder in self.folders.items():
            if file.is_relative_to(folder.resolve()):
                return f"bids:{name}:{quote(file.relative_to(folder.resolve()).as_posix())}"
        return file.as_uri()

    def told(self, files: Iterable[Path]) -> dict[str, Any]:
        """The part of a sidecar that names the files that another was made from, with their SHA-256."""
        checksums = {self.uri(file): checksum(file) for file in files}
        return {"Sources": list(checksums), "SourcesSHA256": checksums}

    def links(self, derivative: Path) -> dict[str, str]:
        """The folders as a derivative's description names them: relative where they hold the derivative."""
        inside = derivative.resolve()
        return {
            name: os.path.relpath(folder.resolve(), inside)
            if inside.is_relative_to(folder.resolve())
            else folder.resolve().as_uri()
            for name, folder in self.folders.items()
        }


def write_dataset_description(
    folder: Path,
    *,
    name: str,
    description: str,
    sources: Sources | None = None,
    version: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``dataset_description.json``, which makes a folder a BIDS derivative.

    Args:
        folder: of the derivative; it is made where it is missing.
        name: of the derivative.
        description: what the project did to make it.
        sources: what it was made from.
        version: of the project when it did; the installed one without it.
        more: further fields.

    Returns:
        The file.

    Raises:
        InputError: there is one already.
    """
    links = sources.links(folder) if sources else {}
    version = version or importlib.metadata.version(PIPELINE)
    told: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": PIPELINE, "Version": version, "Description": description}],
    }
    if links:
        told |= {"SourceDatasets": [{"URL": link} for link in links.values()], "DatasetLinks": links}
    return write_json(folder / DESCRIPTION, {**told, **(more or {})})


def read_dataset_description(folder: Path) -> dict[str, Any] | None:
    """A data set's description; None where it has none.

    Raises:
        InputError: there is one that cannot be read.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return told
        problem = f"a {type(told).__name__}"
    except ValueError as error:
        problem = f"no JSON ({error})"
    raise InputError(path, found=problem, expected="the description of a BIDS data set", remedy="Mend it.")


def made_here(folder: Path) -> bool:
    """Whether a folder is a derivative that the project made; not, where its description cannot be read."""
    try:
        makers = (read_dataset_description(folder) or {}).get("GeneratedBy")
    except InputError:
        return False
    listed = makers if isinstance(makers, list) else []
    return any(isinstance(maker, dict) and maker.get("Name") == PIPELINE for maker in listed)


def sidecar_of(image: Path) -> Path:
    """Where the JSON file of an image (or table) lies.

    >>> sidecar_of(Path("sub-01_desc-base_mask.nii.gz")).name
    'sub-01_desc-base_mask.json'
    """
    return image.with_name(image.name.removesuffix(".gz").rpartition(".")[0] + ".json")


def write_sidecar(image: Path, told: Mapping[str, Any]) -> Path:
    """Write the JSON file of an image beside it.

    Args:
        image: the image.
        told: its fields; BIDS asks for ``Description`` and ``Sources``, with ``space`` in the name for
            ``SpatialReference``, and of a mask for ``Type`` (Brain, Lesion, ROI).

    Returns:
        The sidecar.

    Raises:
        InputError: there is one already.
    """
    return write_json(sidecar_of(image), told)


def write_json(path: Path, told: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write a JSON file for people to read.

    Raises:
        InputError: there is one already, and ``overwrite`` is False.
    """
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", overwrite=overwrite)
    return path


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file of the project's own holds."""
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def checksum(file: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def distinct_labels(names: Iterable[str]) -> dict[str, str]:
    """The BIDS label of each name.

    Raises:
        InputError: two names become one label (P-1 and P1), or nothing is left of one.
    """
    labels = {name: bids_label(name) for name in names}
    by_label: dict[str, list[str]] = defaultdict(list)
    for name, label in labels.items():
        by_label[label.casefold()].append(name)  # some disks take sub-a and sub-A for one folder
    for same in by_label.values():
        if len(same) > 1:
            raise InputError(
                ", ".join(same),
                found=f"names that become one BIDS label ({labels[same[0]]})",
                expected="names that differ in their letters (a to z) and digits",
                remedy="Rename one of them, for instance in a table (docs/layouts.md).",
            )
    return labels


def check_place(folder: Path, roots: Iterable[Path] = ()) -> None:
    """Make sure that a derivative in a folder would not mix with what a data set above it holds.

    Args:
        folder: the derivative's.
        roots: folders of data sets without a ``dataset_description.json``.

    Raises:
        InputError: it is a data set's folder, or inside one and not in its ``derivatives``.
    """
    inside = folder.resolve()
    known = {root.resolve() for root in roots}
    for above in (inside, *inside.parents):
        if above not in known and not (above / DESCRIPTION).is_file():
            continue
        parts = inside.relative_to(above).parts
        if above == inside and made_here(inside):
            continue
        if parts[:1] != (DERIVATIVES,) or len(parts) < 2:
            raise InputError(
                folder,
                found=f"a folder among the files of the data set {above}",
                expected=f"one outside of it, or in {above / DERIVATIVES}",
                remedy=f"Choose for instance {above / DERIVATIVES / PIPELINE}.",
            )
