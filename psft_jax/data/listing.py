"""One path from files to a cohort: a layout's reader lists visits and their files, and this makes scans.

Nothing but names and headers is read before a visit is loaded, and all that is wrong is told at once.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from psft_jax.data.assemble import MaskRules, assemble
from psft_jax.data.checks import combined, problems_of
from psft_jax.data.nifti import LoadedVolume, read_series, read_volume
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.scan import Cohort, Patient, Provenance, Scan, Sequence, Visit


@dataclass(frozen=True)
class Listing:
    """What the reader of a layout found.

    Args:
        name: what tables and figures call the cohort.
        root: the folder or table.
        sequences: the two MRI sequences and their channels.
        visits: those whose files are complete by name, a patient's earliest first.
        unusable: what was found and is no visit, an error each.
        incomplete: patients with visits that cannot be used or ordered, so that the roles of the others prove
            nothing.
        notes: what the user should know and need not mend.
        annotated: whether the layout has lesion masks at all.
        rules: how its masks are read.
        provenance: where the images come from.
    """

    name: str
    root: Path
    sequences: tuple[Sequence, Sequence]
    visits: tuple[VisitFiles, ...]
    unusable: tuple[InputError, ...] = ()
    incomplete: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    annotated: bool = True
    rules: MaskRules = field(default_factory=MaskRules)
    provenance: Provenance = Provenance.REAL

    @property
    def folder(self) -> Path:
        """The folder of the data set; of a table, the one that it lies in."""
        return self.root if self.root.is_dir() else self.root.parent

    @cached_property
    def problems(self) -> tuple[InputError, ...]:
        """Everything that is wrong, but for missing and unreadable files."""
        found = problems_of(self.root, self.visits, annotated=self.annotated, incomplete=self.incomplete)
        return (*self.unusable, *found)

    def visit(self, files: VisitFiles) -> Visit:
        """A visit, loaded when it is needed."""
        load = partial(load_scan, files, self.sequences, self.rules)
        return Visit(files.subject, files.session, load, files.files)

    def patients(self) -> tuple[Patient, ...]:
        """All patients in the order of the listing, their baseline first.

        Raises:
            InputError: there are problems, or files are missing; it names all of them.
        """
        self._check()
        subjects = dict.fromkeys(files.subject for files in self.visits)
        return tuple(Patient(subject, self._visits_of(subject)) for subject in subjects)

    def cohort(self, also_training: tuple[Patient, ...] = ()) -> Cohort:
        """The cohort; its scans are loaded when they are needed.

        Args:
            also_training: patients of another listing with the same sequences, for training.

        Raises:
            InputError: as ``patients`` does, and ``psft_jax.scan.Cohort``.
        """
        found = self.patients()
        trains = {files.subject for files in self.visits if files.role is Role.TRAINING}
        return Cohort(
            name=self.name,
            provenance=self.provenance,
            sequences=self.sequences,
            training=(*(p for p in found if p.subject in trains), *also_training),
            test=tuple(p for p in found if p.subject not in trains),
        )

    def _visits_of(self, subject: str) -> tuple[Visit, ...]:
        of_subject = [files for files in self.visits if files.subject == subject]
        ordered = sorted(of_subject, key=lambda files: files.role is Role.FOLLOW_UP)
        return tuple(map(self.visit, ordered))

    def _check(self) -> None:
        """Check what can be checked before anything long begins."""
        problems = list(self.problems)
        missing = {Path(error.where): error for files in self.visits for error in files.missing()}
        if missing:
            folder = self.folder
            shown = (str(f.relative_to(folder) if f.is_relative_to(folder) else f) for f in missing)
            problems.append(
                InputError(
                    self.root,
                    found=f"{len(missing)} missing files: {', '.join(shown)}",
                    expected="the sequences and masks of every visit",
                    remedy="Complete the download, or leave these visits out.",
                )
            )
        if problems:
            raise combined(self.root, problems)


def load_scan(files: VisitFiles, sequences: tuple[Sequence, Sequence], rules: MaskRules) -> Scan:
    """Read the files of a visit into a scan.

    Raises:
        InputError: a file cannot be read (``psft_jax.data.nifti``), the files do not fit together
            (``psft_jax.data.assemble``), or a sequence has another number of channels.
    """
    first, second = (_read(paths, of) for paths, of in zip(files.sequences, sequences, strict=True))
    organ, lesion = (None if path is None else read_volume(path) for path in (files.organ, files.lesion))
    return assemble(files.subject, files.session, (first, second), organ, lesion, rules)


def layout_error(root: Path, layout: str) -> InputError:
    """The error for a folder that holds nothing in the published layout."""
    names = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return InputError(
        root,
        found=f"a folder with {shown or 'nothing in it'}" if root.is_dir() else "no such folder",
        expected=f"files in the layout {layout}",
        remedy="Give the folder into which the data set was unpacked.",
    )


def check_channels(paths: Listed[Path], volumes: Listed[LoadedVolume], sequence: Sequence) -> None:
    """Check that the files of a sequence hold as many volumes as it has channels.

    Raises:
        InputError: they hold another number.
    """
    if len(volumes) != len(sequence.channels):
        raise InputError(
            ", ".join(map(str, paths)),
            found=f"{len(volumes)} volumes",
            expected=f"{len(sequence.channels)} of sequence {sequence.name}, as in the other visits",
            remedy="Give all volumes of the sequence, in the order of their acquisition, and no others.",
        )


def _read(paths: Listed[Path], sequence: Sequence) -> list[LoadedVolume]:
    volumes = [volume for path in paths for volume in read_series(path)]
    check_channels(paths, volumes, sequence)
    return volumes
