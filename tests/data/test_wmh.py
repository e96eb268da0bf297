"""The layout of the WMH challenge, and its label of other pathology."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from psft_jax.data import wmh
from psft_jax.errors import InputError
from tests.data.layouts import brain, lesion, save


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two subjects of two sites, one of them a folder deeper; each with other pathology of three voxels."""
    mask = lesion()
    mask[3:6, 4, 4] = 2
    for subject in ("Utrecht/0", "Amsterdam/GE3T/100"):
        save(tmp_path / subject / "pre" / "FLAIR.nii.gz", brain(1))
        save(tmp_path / subject / "pre" / "T1.nii.gz", brain(2))
        save(tmp_path / subject / "orig" / "FLAIR.nii.gz", brain(3))
        save(tmp_path / subject / "wmh.nii.gz", mask)
    return tmp_path


def test_subjects_of_all_sites_train(root: Path) -> None:
    cohort = wmh.find(root).cohort()
    assert [p.subject for p in cohort.training] == ["wmh-Amsterdam-GE3T-100", "wmh-Utrecht-0"]
    assert not cohort.test
    assert wmh.find(root / "Utrecht").visits[0].subject == "wmh-0"


def test_other_pathology_is_no_lesion_and_leaves_the_organ(root: Path) -> None:
    scan = wmh.find(root).cohort().training[0].visits[0].load()
    assert scan.lesion is not None
    assert int(scan.lesion.sum()) == 2
    inside = int((brain(1) > 0).sum())
    assert int(scan.organ.sum()) == inside - 3
    # i = 3, 4, 5 of 12 in a LAS file are x = 8, 7, 6.
    assert not scan.organ[4, 4, 6:9].any()
    assert scan.organ[scan.lesion].all()


def test_another_label_is_still_refused(root: Path) -> None:
    mask = lesion()
    mask[3, 4, 4] = 3
    save(root / "Utrecht/0/wmh.nii.gz", mask)
    with pytest.raises(InputError, match=r"wmh\.nii\.gz: found the labels 0, 1, 3"):
        wmh.find(root).cohort().training[1].visits[0].load()


@pytest.mark.parametrize("name", ["pre/FLAIR.nii.gz", "pre/T1.nii.gz", "wmh.nii.gz"])
def test_an_image_may_be_gzipped_or_not_but_not_both(name: str, root: Path) -> None:
    path = root / "Utrecht/0" / name
    plain = path.with_suffix("")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    listing = wmh.find(root)
    (problem,) = listing.problems
    assert (problem.where, problem.remedy) == (str(path), "Move away those that are not.")
    assert listing.incomplete == {"wmh-Utrecht-0"}
    path.unlink()
    visit = wmh.find(root).cohort().training[1].visits[0]
    assert plain in visit.files
    assert visit.load().lesion.sum() == 2


def test_a_brain_mask_may_be_named(root: Path) -> None:
    box = np.zeros(lesion().shape, dtype=np.uint8)
    box[2:10, 2:12, 2:9] = 1
    with pytest.raises(InputError, match=r"2 missing files: .*pre/brain\.nii\.gz"):
        wmh.find(root, brain="pre/brain.nii.gz").cohort()
    for subject in ("Utrecht/0", "Amsterdam/GE3T/100"):
        save(root / subject / "pre" / "brain.nii.gz", box)
    scan = wmh.find(root, brain="pre/brain.nii.gz").cohort().training[0].visits[0].load()
    assert int(scan.organ.sum()) == box.sum() - 3


def test_a_subject_without_its_mask_or_its_flair_is_told(root: Path) -> None:
    (root / "Utrecht/0/wmh.nii.gz").unlink()
    (root / "Amsterdam/GE3T/100/pre/FLAIR.nii.gz").unlink()
    with pytest.raises(InputError, match=r"Amsterdam/GE3T/100/pre/FLAIR\.nii\.gz, Utrecht/0/wmh\.nii\.gz"):
        wmh.find(root).cohort()
    with pytest.raises(InputError, match="expected files in the layout"):
        wmh.find(root / "Utrecht/0/orig")
