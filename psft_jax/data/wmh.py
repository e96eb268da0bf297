"""WMH segmentation challenge (MICCAI 2017), as published: FLAIR, T1 and mask of single visits, for training.

Kuijf et al., IEEE Trans. Med. Imaging 38 (2019); https://doi.org/10.34894/AECRSD. The base CNN's training set
of the paper (section 2.1.2).

Label 2 of its masks is other pathology. The challenge ignores it: it is no lesion and what is found there is
not scored. Here its voxels leave the organ mask, so that no lesion is found there (but for gaps that the
closing fills) and no measure counts them. The loss knows no organ mask: in training they are background.
"""

from __future__ import annotations

from pathlib import Path

from psft_jax.data.assemble import MaskRules
from psft_jax.data.brain import published
from psft_jax.data.listing import Listing, layout_error
from psft_jax.data.visit_files import Role, VisitFiles

OTHER_PATHOLOGY = 2
LAYOUT = "[SITE/...]SUBJECT/{pre/FLAIR.nii.gz, pre/T1.nii.gz, wmh.nii.gz}"
SESSION = "pre"


def find(root: str | Path, *, brain: str | None = None, resample_masks: bool = False) -> Listing:
    """All subjects below a folder, whatever the sites' folders between; the names are those of the folders.

    Args:
        root: the folder of the data set or of a part of it, such as ``training``.
        brain: the brain mask's path inside a subject's folder, for instance ``pre/brain.nii.gz``. The
            published images are not skull-stripped; without a mask, they must have been since.
        resample_masks: bring masks on another grid onto that of the images.

    Raises:
        InputError: there are no such subjects.
    """
    root = Path(root)
    folders = {path.parents[1] for path in root.rglob("pre/FLAIR.nii*")}
    folders |= {path.parent for path in root.rglob("wmh.nii*")}
    visits = [_visit(root, folder, brain) for folder in sorted(folders)]
    if not visits:
        raise layout_error(root, LAYOUT)
    rules = MaskRules(resample=resample_masks, ignored_label=OTHER_PATHOLOGY)
    return published("wmh", root, visits, rules)


def _visit(root: Path, folder: Path, brain: str | None) -> VisitFiles:
    return VisitFiles(
        subject="-".join(("wmh", *folder.relative_to(root).parts)),
        session=SESSION,
        role=Role.TRAINING,
        sequences=((folder / "pre" / "FLAIR.nii.gz",), (folder / "pre" / "T1.nii.gz",)),
        organ=None if brain is None else folder / brain,
        lesion=folder / "wmh.nii.gz",
    )
