"""What the readers of FLAIR and T1 data sets share.

Where there is no brain mask, the images are skull-stripped and the brain is where FLAIR is not 0: lesions are
annotated on FLAIR, and T1 images are often stripped more generously.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from pathlib import Path

from psft_jax.data.assemble import MaskRules
from psft_jax.data.listing import Listing
from psft_jax.data.visit_files import VisitFiles
from psft_jax.scan import Sequence

SEQUENCES = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))


def published(name: str, root: Path, visits: Listed[VisitFiles], rules: MaskRules | None = None) -> Listing:
    """The listing of a data set whose layout says what each file is called.

    Args:
        name: what figures call the cohort.
        root: the folder of the data set.
        visits: with files named ``.nii.gz``; each may be stored as ``.nii`` instead, but not as both.
        rules: how its masks are read.
    """
    doubled = [(visit.subject, error) for visit in visits for error in visit.stored_twice()]
    return Listing(
        name,
        root,
        SEQUENCES,
        tuple(visit.as_stored() for visit in visits),
        unusable=tuple(error for _, error in doubled),
        incomplete=frozenset(subject for subject, _ in doubled),
        rules=rules or MaskRules(),
    )
