"""BIDS: FLAIR and T1w of subjects and sessions, and their masks from derivatives.

Images are ``sub-*/[ses-*/]anat/*_FLAIR.nii[.gz]`` and ``*_T1w.nii[.gz]``. Masks (``*_mask.nii[.gz]``) lie
beside them or in the derivatives' folder, with or without a pipeline's folder between: lesion masks have
``label-L`` or ``label-lesion``, brain masks ``label-brain`` or ``desc-brain``; without a brain mask the
images are skull-stripped. Where several files fit, ``Selection`` says which one is meant. Derivatives that
the project itself made are searched only where ``derivatives`` names one of them, or ``Selection`` the
``desc`` of the lesion masks: what a network found is not taken for an annotation by mistake.

A subject's sessions are ordered by ``acq_time`` of ``sub-*_sessions.tsv`` where it gives any, else by their
labels (ses-2 before ses-10). The earliest is the baseline and those after it are follow-ups; a single session
trains the base CNN. A table of roles says it otherwise.

Not read with pybids, which leaves out masks whose folder has no ``dataset_description.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

from psft_jax.data.assemble import MaskRules
from psft_jax.data.bids_derivative import made_here
from psft_jax.data.bids_sessions import Session, ordered, sessions_of, told
from psft_jax.data.brain import SEQUENCES
from psft_jax.data.checks import combined
from psft_jax.data.listing import Listing, layout_error
from psft_jax.data.visit_files import Role, VisitFiles, more_than_one
from psft_jax.errors import InputError
from psft_jax.scan import Provenance

LAYOUT = "sub-<label>/[ses-<label>/]anat/sub-<label>[_ses-<label>]_{FLAIR,T1w}.nii.gz"
SUFFIXES = {"flair": "FLAIR", "t1": "T1w"}
MASK, BRAIN = "mask", "brain"
_NAME = re.compile(r"((?:[a-zA-Z]+-[^_]+_)+)([a-zA-Z0-9]+)\.nii(?:\.gz)?")

Label = str | int | None
Wanted = Mapping[str, Label | tuple[Label, ...]]
"""Entities and the label, or the labels, that a file may have; None for a file without the entity."""


@dataclass(frozen=True)
class Selection:
    """Which file is meant where several fit: entities that it has, for instance ``{"run": 1}``.

    Args:
        flair: of the FLAIR image.
        t1: of the T1w image.
        lesion: of the lesion mask, such as ``{"desc": "manual"}``.
        brain: of the brain mask.
    """

    flair: dict[str, Label | tuple[Label, ...]] = field(default_factory=dict)
    t1: dict[str, Label | tuple[Label, ...]] = field(default_factory=dict)
    lesion: dict[str, Label | tuple[Label, ...]] = field(default_factory=dict)
    brain: dict[str, Label | tuple[Label, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """A file whose name is divided into its entities and its suffix."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    def has(self, wanted: Wanted) -> bool:
        """Whether every entity is as wanted; numbers are compared as such (run-01 is run 1)."""
        for entity, labels in wanted.items():
            allowed = labels if isinstance(labels, tuple) else (labels,)
            if _plain(self.entities.get(entity)) not in map(_plain, allowed):
                return False
        return True


def find(
    root: str | Path,
    *,
    derivatives: str | Path | None = None,
    lesion_labels: tuple[str, ...] = ("L", "lesion"),
    select: Selection | None = None,
    roles: str | Path | None = None,
    name: str | None = None,
    provenance: Provenance = Provenance.REAL,
    resample_masks: bool = False,
) -> Listing:
    """All sessions that have a FLAIR or a T1w image.

    Args:
        root: the data set's folder, or that of a derivative with skull-stripped images.
        derivatives: the folder of the masks, inside ``root`` where it is relative; None for ``derivatives``,
            which need not be there.
        lesion_labels: values of ``label`` that a lesion mask has.
        select: which file is meant where several fit.
        roles: a table (``psft_jax.data.table``) with the columns subject, session and role; sessions that it
            does not name are left out. Without one the order in time decides.
        name: what figures call the cohort, without one the folder's.
        provenance: where the images come from.
        resample_masks: bring masks on another grid onto that of the images.

    Raises:
        InputError: there is no session with such images, no such folder of derivatives, or the table of roles
            cannot be read.
    """
    root = Path(root)
    reader = _Reader(_masks_folder(root, derivatives), lesion_labels, select or Selection())
    folders = sorted(entry for entry in root.glob("sub-*") if entry.is_dir())
    sessions = [session for f in folders for session in sessions_of(f) if _images(session.folder)]
    # A table of roles says which sessions count, and so that these images do not.
    apart = {} if roles is not None else {f.name: error for f in folders if (error := _apart(f))}
    if not sessions:
        raise combined(root, [*apart.values()]) if apart else layout_error(root, LAYOUT)
    order = ordered(sessions) if roles is None else told(Path(roles), sessions)
    problems = [*apart.values(), *order.problems]
    visits = []
    incomplete = {*apart, *order.undecided}
    for session, role in order.sessions:
        visit, wrong = reader.visit(session, role)
        problems += wrong
        if visit is None:
            incomplete.add(session.subject)
        else:
            visits.append(visit)
    return Listing(
        name or root.resolve().name,
        root,
        SEQUENCES,
        tuple(visits),
        unusable=tuple(problems),
        incomplete=frozenset(incomplete),
        notes=(*_order_note(order.by_label), *_passed_over_note(reader.passed_over)),
        rules=MaskRules(resample=resample_masks),
        provenance=provenance,
    )


def _masks_folder(root: Path, derivatives: str | Path | None) -> Path | None:
    """The folder of the derivatives that the user names, or the usual one where there is one.

    Raises:
        InputError: the folder that the user names is not there.
    """
    folder = root / (derivatives or "derivatives")
    if folder.is_dir():
        return folder
    if derivatives is None:
        return None
    raise InputError(
        folder,
        found="no such folder",
        expected="the folder of the masks",
        remedy="Correct dataset.derivatives, whose path is relative to the data set's folder or absolute.",
    )


@dataclass(frozen=True)
class _Reader:
    """Finds the files of a session."""

    masks: Path | None
    lesion_labels: tuple[str, ...]
    select: Selection

    @cached_property
    def passed_over(self) -> tuple[Path, ...]:
        """Derivatives of the project's own that nobody asked for."""
        if self.masks is None or "desc" in self.select.lesion:
            return ()
        return tuple(folder for folder in _folders(self.masks) if made_here(folder))

    def visit(self, session: Session, role: Role) -> tuple[VisitFiles | None, list[InputError]]:
        """The visit, or, where files are missing or ambiguous, what is wrong."""
        images = _named(session.folder / "anat")
        masks = [file for folder in self._mask_folders(session) for file in _named(folder)]
        masks = [file for file in masks if file.suffix == MASK and session.holds(file.entities)]
        lesions = [file for file in masks if file.entities.get("label") in self.lesion_labels]
        brains = [file for file in masks if BRAIN in (file.entities.get("label"), file.entities.get("desc"))]
        chosen = {
            "flair": _fitting([f for f in images if f.suffix == SUFFIXES["flair"]], self.select.flair),
            "t1": _fitting([f for f in images if f.suffix == SUFFIXES["t1"]], self.select.t1),
            "lesion": _fitting(lesions, self.select.lesion),
            "brain": _fitting(brains, self.select.brain),
        }
        problems = [_ambiguous(what, files) for what, files in chosen.items() if len(files) > 1]
        problems += [_absent(session, what) for what in SUFFIXES if not chosen[what]]
        if problems:
            return None, problems
        paths = {what: files[0].path if files else None for what, files in chosen.items()}
        flair, t1 = chosen["flair"][0].path, chosen["t1"][0].path
        sequences = ((flair,), (t1,))
        return VisitFiles(session.subject, session.name, role, sequences, paths["brain"], paths["lesion"]), []

    def _mask_folders(self, session: Session) -> list[Path]:
        """Folders that may hold masks of the session: beside its images, and in derivatives."""
        folders = [session.folder / "anat"]
        if self.masks is not None:
            pipelines = [folder for folder in _folders(self.masks) if folder not in self.passed_over]
            for pipeline in (self.masks, *pipelines):
                of_subject = pipeline / session.subject
                folders += [of_subject / "anat"]
                folders += [of_subject / session.label / "anat"] if session.label else []
        return list(dict.fromkeys(folders))


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir())


def _named(folder: Path) -> list[Named]:
    """The images in a folder whose names are those of BIDS."""
    if not folder.is_dir():
        return []
    divided = ((path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [
        Named(path, dict(pair.split("-", 1) for pair in name[1].rstrip("_").split("_")), name[2])
        for path, name in divided
        if name
    ]


def _images(folder: Path) -> list[Path]:
    """FLAIR and T1w images of a session's folder, or of a subject's."""
    return [file.path for file in _named(folder / "anat") if file.suffix in SUFFIXES.values()]


def _fitting(files: Iterable[Named], wanted: Wanted) -> list[Named]:
    return [file for file in files if file.has(wanted)]


def _plain(label: Label) -> Label:
    return int(label) if isinstance(label, str) and label.isdecimal() else label


def _ambiguous(what: str, files: list[Named]) -> InputError:
    """The error for several files that fit, with words that choose one of them if any can."""
    entities = [{entity: _plain(label) for entity, label in file.entities.items()} for file in files]
    paths = [file.path for file in files]
    alone = [of_file for of_file in entities if entities.count(of_file) == 1]
    if not alone:
        return more_than_one(paths, what)
    names = dict.fromkeys(chain.from_iterable(entities))
    differing = [name for name in names if len({of_file.get(name) for of_file in entities}) > 1]
    words = [f"+dataset.select.{what}.{name}={alone[0].get(name, 'null')}" for name in differing]
    return more_than_one(
        paths, what, f"Say which one is meant by its entities, for instance {' '.join(words)}"
    )


def _absent(session: Session, what: str) -> InputError:
    return InputError(
        session.folder / "anat",
        found=f"no {SUFFIXES[what]} image that fits",
        expected="FLAIR and T1w of every session",
        remedy=f"Add it, correct dataset.select.{what}, or name the sessions to be used in a table of roles "
        "(dataset.roles=FILE).",
    )


def _apart(subject: Path) -> InputError | None:
    """The error for images of a subject that lie beside its sessions, and so belong to none."""
    images = _images(subject)
    if not images or not any(session.label for session in sessions_of(subject)):
        return None
    return InputError(
        subject / "anat",
        found=f"images beside the folders of sessions: {', '.join(image.name for image in images)}",
        expected="every image in the folder of its session",
        remedy="Move them there or away, or name the sessions to be used in a table of roles "
        "(dataset.roles=FILE).",
    )


def _order_note(by_label: tuple[str, ...]) -> tuple[str, ...]:
    if not by_label:
        return ()
    shown = ", ".join(by_label[:5]) + (f" and {len(by_label) - 5} more" if len(by_label) > 5 else "")
    return (f"No sessions.tsv says when the sessions of {shown} were acquired: their labels tell the order.",)


def _passed_over_note(folders: tuple[Path, ...]) -> tuple[str, ...]:
    if not folders:
        return ()
    return (
        f"Masks in {', '.join(map(str, folders))} are results of psft_jax, and are not read as annotations: "
        "+dataset.select.lesion.desc=... says which masks are meant, theirs or others.",
    )
