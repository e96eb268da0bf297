"""Everything that is wrong with one visit's files, not the first thing alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psft_jax.data.assemble import MaskRules
from psft_jax.data.diagnosis import diagnose
from psft_jax.data.listing import load_scan
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError
from psft_jax.scan import Sequence
from tests.data.layouts import LAS, brain, lesion, save

SEQUENCES = (Sequence("DCE", ("0", "1", "2")), Sequence("DWI", ("b10",)))


@pytest.fixture
def files(tmp_path: Path) -> VisitFiles:
    """Three phases in three files, one b-value, organ and lesion mask, all of them right."""
    dce = tuple(save(tmp_path / f"phase{phase}.nii.gz", brain(phase)) for phase in range(3))
    dwi = (save(tmp_path / "dwi.nii.gz", brain(5)),)
    organ = save(tmp_path / "organ.nii.gz", (brain() > 0).astype(np.uint8))
    mask = save(tmp_path / "lesion.nii.gz", lesion())
    return VisitFiles("P", "1", Role.TRAINING, (dce, dwi), organ, mask)


def told(files: VisitFiles, rules: MaskRules | None = None) -> list[str]:
    problems = diagnose(files, SEQUENCES, rules or MaskRules())
    return [f"{Path(problem.where.split(',')[0]).name}: {problem.found[:24]}" for problem in problems]


def test_nothing_is_wrong_with_a_good_visit(files: VisitFiles) -> None:
    assert not told(files)
    assert load_scan(files, SEQUENCES, MaskRules()).channels == (3, 1)


def test_each_file_is_told_of(files: VisitFiles, tmp_path: Path) -> None:
    (tmp_path / "phase0.nii.gz").unlink()
    (tmp_path / "phase1.nii.gz").write_bytes(b"no image")
    save(tmp_path / "dwi.nii.gz", brain(5, (12, 14, 9)))
    moved = LAS.copy()
    moved[0, 3] += 1
    save(tmp_path / "organ.nii.gz", (brain() > 0).astype(np.uint8), moved)
    save(tmp_path / "lesion.nii.gz", lesion() * 7)
    assert told(files) == [
        "phase0.nii.gz: no such file",
        "phase1.nii.gz: a file that cannot be re",
        "dwi.nii.gz: shape (Z, Y, X) (9, 14, ",
        "organ.nii.gz: an affine with the rows ",
        "lesion.nii.gz: the labels 0, 7",
    ]
    assert "organ.nii.gz: an affine with the rows " not in told(files, MaskRules(resample=True))
    with pytest.raises(InputError, match="phase0"):
        load_scan(files, SEQUENCES, MaskRules())


def test_a_phase_too_many(files: VisitFiles, tmp_path: Path) -> None:
    save(tmp_path / "phase1.nii.gz", np.stack([brain(), brain()], axis=-1))
    assert told(files) == ["phase0.nii.gz: 4 volumes"]


def test_the_label_that_is_ignored_is_no_problem(files: VisitFiles, tmp_path: Path) -> None:
    save(tmp_path / "lesion.nii.gz", lesion() * 2)
    assert told(files) == ["lesion.nii.gz: the labels 0, 2"]
    assert not told(files, MaskRules(ignored_label=2))
