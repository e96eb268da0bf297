"""What the readers of skull-stripped FLAIR and T1 data sets share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psft_jax.data.assemble import assemble
from psft_jax.data.nifti import read_volume
from psft_jax.errors import InputError
from psft_jax.scan import Scan, Sequence, Visit

SEQUENCES = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))


@dataclass(frozen=True)
class BrainFiles:
    """The files of one visit.

    Args:
        subject: the patient's identifier.
        session: the visit's identifier.
        flair: the FLAIR image, skull-stripped.
        t1: the T1-weighted image, on the grid of the FLAIR image.
        lesion: the reference annotation, or None where nobody has annotated this visit.
    """

    subject: str
    session: str
    flair: Path
    t1: Path
    lesion: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(file for file in (self.flair, self.t1, self.lesion) if file is not None)

    def missing(self) -> list[Path]:
        """Those of the files that do not exist."""
        return [file for file in self.files if not file.is_file()]

    def load(self) -> Scan:
        """Read the files into a scan.

        The brain is where FLAIR is not 0: lesions are annotated on FLAIR, and T1 images are often stripped
        more generously.

        Raises:
            InputError: see ``psft_jax.data.nifti.read_volume`` and ``psft_jax.data.assemble.assemble``.
        """
        lesion = None if self.lesion is None else read_volume(self.lesion)
        sequences = ((read_volume(self.flair),), (read_volume(self.t1),))
        return assemble(self.subject, self.session, sequences, organ=None, lesion=lesion)

    def visit(self) -> Visit:
        """The visit, loaded when it is needed."""
        return Visit(self.subject, self.session, self.load, self.files)


def check_complete(root: Path, visits: list[BrainFiles]) -> None:
    """Check that every file of every visit exists, before anything long begins.

    Raises:
        InputError: files are missing; it names all of them.
    """
    missing = [file.relative_to(root) for visit in visits for file in visit.missing()]
    if missing:
        raise InputError(
            root,
            found=f"{len(missing)} missing files: {', '.join(map(str, missing))}",
            expected="FLAIR, T1 and lesion mask of every visit",
            remedy="Complete the download, or move these visits out of the folder.",
        )


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
