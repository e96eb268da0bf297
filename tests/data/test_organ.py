"""What the task organ sees of scans: the organ mask to learn, the whole image to look at, no lesions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import table
from psft_jax.data.assemble import MaskRules
from psft_jax.data.listing import Listing
from psft_jax.data.organ import seeking_organ, seeking_organs, without_unlabelled_training
from psft_jax.scan import Scan
from tests.data.layouts import brain, lesion, save


@pytest.fixture
def noisy(tmp_path: Path) -> Listing:
    """Images whose background is not 0; A and C train, B is tested; C and B's second visit have no mask."""
    rows = ["subject,session,role,FLAIR,T1,organ,lesion"]
    for name, role, masked in (
        ("A-1", "training", True),
        ("B-1", "baseline", True),
        ("B-2", "follow_up", False),
        ("C-1", "training", False),
    ):
        for sequence in ("flair", "t1"):
            save(tmp_path / f"{name}_{sequence}.nii.gz", brain() + 1)
        save(tmp_path / f"{name}_organ.nii.gz", (brain() > 0).astype(np.uint8))
        subject, session = name.split("-")
        organ = f"{name}_organ.nii.gz" if masked else ""
        rows.append(f"{subject},{session},{role},{name}_flair.nii.gz,{name}_t1.nii.gz,{organ},")
    (tmp_path / "scans.csv").write_text("\n".join(rows))
    return table.find(tmp_path / "scans.csv")


def test_the_organ_takes_the_place_of_the_lesions(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan()
    seen = seeking_organ(scan)
    assert seen.lesion is scan.organ
    assert seen.organ.all()
    assert seen.sequences is scan.sequences


def test_scans_in_files_need_neither_lesions_nor_a_background_of_0(noisy: Listing) -> None:
    assert noisy.problems  # as they are, lesion masks are missing
    visits = {v.name: v for v in seeking_organs(noisy).visits}
    assert not seeking_organs(noisy).problems
    listing = seeking_organs(noisy)
    given, missing = (listing.visit(visits[name]).load() for name in ("A_1", "C_1"))
    np.testing.assert_array_equal(given.lesion, (brain() > 0)[::-1].transpose())
    assert missing.lesion is None
    assert given.organ.all()
    assert missing.organ.all()


def test_only_training_visits_with_a_mask_are_learnt_from(noisy: Listing) -> None:
    cohort = without_unlabelled_training(seeking_organs(noisy)).cohort()
    assert [patient.subject for patient in cohort.training] == ["A"]
    assert [visit.session for visit in cohort.test[0].visits] == ["1", "2"]


def test_a_label_to_ignore_is_one_of_lesion_masks(noisy: Listing, tmp_path: Path) -> None:
    """Where lesion masks have a label 2, the organ mask is read as it is, and 2 is refused there."""
    rules = MaskRules(resample=True, ignored_label=2)
    seen = seeking_organs(replace(noisy, rules=rules))
    assert seen.rules == MaskRules(resample=True, whole_image=True)


def test_lesion_masks_are_not_read(noisy: Listing, tmp_path: Path) -> None:
    broken = save(tmp_path / "lesion.nii.gz", 3 * lesion())
    visits = tuple(replace(visit, lesion=broken) for visit in noisy.visits)
    seen = seeking_organs(replace(noisy, visits=visits))
    assert all(broken not in visit.files for visit in seen.visits)
