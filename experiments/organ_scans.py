"""The scans of a data set as the task ``organ`` sees them (``psft_jax.data.organ``), normalised.

Normalisation counts all voxels of an image, so it needs no organ mask.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.datasets import Dataset, FilesDataset
from psft_jax.data.listing import Listing
from psft_jax.data.normalise import normalise
from psft_jax.data.organ import seeking_organ, seeking_organs, without_unlabelled_training
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.scan import Cohort, Visit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OrganVisit:
    """A visit and its organ mask, if it has one.

    Args:
        visit: loads the scan, whose ``lesion`` is the organ mask that was given.
        test: whether it is one of a test patient.
        files: as the layout has them, None for a scan that is generated.
    """

    visit: Visit
    test: bool
    files: VisitFiles | None

    @property
    def name(self) -> str:
        """Subject and session in one word."""
        return self.visit.name

    @property
    def has_mask(self) -> bool:
        """Whether a mask was given; generated scans have one."""
        return self.files is None or self.files.organ is not None


def organ_cohort(dataset: Dataset) -> Cohort:
    """The cohort to train on; training visits without an organ mask are left out.

    Raises:
        InputError: no training visit has an organ mask, or as the dataset's ``raw_cohort``.
    """
    if not isinstance(dataset, FilesDataset):
        return _all_scans(dataset, ())
    found = [seeking_organs(listing) for listing in dataset.listings()]
    labelled = [without_unlabelled_training(listing) for listing in found]
    total, used = (sum(len(listing.visits) for listing in listings) for listings in (found, labelled))
    if used < total:
        logger.info("%d training visits have no organ mask: nothing is learnt from them", total - used)
    cohort = dataset.cohort_of(labelled).map(normalise)
    if total and not cohort.training:
        raise InputError(
            f"cohort {cohort.name}",
            found="no training visit with an organ mask",
            expected="organ masks of some training patients, to learn from",
            remedy="Draw a few, and name them in the column organ of a table (docs/organ_masks.md), or use a "
            "network that was trained on other patients.",
        )
    return cohort


def organ_visits(dataset: Dataset, listings: Sequence[Listing]) -> tuple[Cohort, tuple[OrganVisit, ...]]:
    """All visits of a data set, training patients first, and the cohort that they make.

    Args:
        dataset: the data set.
        listings: its, where it is read from files; else none.

    Raises:
        InputError: as the dataset's ``raw_cohort``, but for lesion masks, which nobody needs here.
    """
    cohort = _all_scans(dataset, listings)
    return cohort, tuple(_visits(listings, cohort))


def _all_scans(dataset: Dataset, listings: Sequence[Listing]) -> Cohort:
    if isinstance(dataset, FilesDataset):
        raw = dataset.cohort_of([seeking_organs(listing) for listing in listings])
    else:
        raw = dataset.raw_cohort().map(seeking_organ)
    return raw.map(normalise)


def _visits(listings: Sequence[Listing], cohort: Cohort) -> Iterator[OrganVisit]:
    files = {(f.subject, f.session): f for listing in listings for f in listing.visits}
    for patients, test in ((cohort.training, False), (cohort.test, True)):
        for visit in (visit for patient in patients for visit in patient.visits):
            yield OrganVisit(visit, test, files.get((visit.subject, visit.session)))
