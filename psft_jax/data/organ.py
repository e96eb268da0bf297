"""Scans as the task ``organ`` sees them: the organ is what is sought, and it is sought in the whole image.

To this task the organ mask is what the lesion mask is to the others, and ``Scan.lesion`` holds it: None where
there is none yet. Lesion masks play no part, and visits need none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from psft_jax.data.listing import Listing
from psft_jax.data.visit_files import Role
from psft_jax.scan import Scan


def seeking_organ(scan: Scan) -> Scan:
    """A scan with its organ mask in the place of the lesion mask, and the whole image for its organ."""
    return replace(scan, organ=np.ones(scan.shape, dtype=bool), lesion=scan.organ)


def seeking_organs(listing: Listing) -> Listing:
    """The same for scans in files.

    Without an organ mask an image is not taken to be skull-stripped: its organ is what nobody knows yet.
    """
    visits = tuple(replace(files, organ=None, lesion=files.organ) for files in listing.visits)
    rules = replace(listing.rules, ignored_label=None, whole_image=True)
    return replace(listing, visits=visits, annotated=False, rules=rules)


def without_unlabelled_training(listing: Listing) -> Listing:
    """A listing without the training visits that have no mask of what is sought: nothing is learnt there."""
    visits = tuple(v for v in listing.visits if v.lesion is not None or v.role is not Role.TRAINING)
    return replace(listing, visits=visits)
