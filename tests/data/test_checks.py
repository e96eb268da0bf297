"""What shows of a cohort's visits before any is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from psft_jax.data.checks import combined, copies_among, is_change_mask, problems_of
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.errors import InputError

WHERE = Path("here")


def visit(subject: str, session: str, role: Role, *, annotated: bool = True) -> VisitFiles:
    stem = f"{subject}{session}"
    lesion = Path(f"{stem}_lesion.nii") if annotated else None
    return VisitFiles(
        subject, session, role, ((Path(f"{stem}_f.nii"),), (Path(f"{stem}_t.nii"),)), None, lesion
    )


def found(*visits: VisitFiles, **how: object) -> list[str]:
    return [problem.found for problem in problems_of(WHERE, visits, **how)]  # type: ignore[arg-type]


def test_good_visits_have_no_problems() -> None:
    assert not found(
        visit("a", "1", Role.TRAINING),
        visit("a", "2", Role.TRAINING),
        visit("b", "1", Role.BASELINE),
        visit("b", "2", Role.FOLLOW_UP, annotated=False),
        visit("b", "3", Role.FOLLOW_UP),
    )


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ((Role.BASELINE,), "1 baseline"),
        ((Role.FOLLOW_UP, Role.FOLLOW_UP), "2 follow_up"),
        ((Role.BASELINE, Role.BASELINE, Role.FOLLOW_UP), "2 baseline, 1 follow_up"),
        ((Role.TRAINING, Role.FOLLOW_UP), "visits for training and for testing (1 training, 1 follow_up)"),
    ],
)
def test_roles_that_make_no_patient(roles: tuple[Role, ...], said: str) -> None:
    visits = [visit("a", str(number), role) for number, role in enumerate(roles)]
    assert found(*visits) == [said]
    assert not found(*visits, incomplete=frozenset({"a"}))  # others of the patient are known to be broken


def test_what_the_network_learns_from_needs_a_mask_where_there_are_masks() -> None:
    visits = [
        visit("a", "1", Role.BASELINE, annotated=False),
        visit("a", "2", Role.FOLLOW_UP, annotated=False),
    ]
    assert found(*visits) == ["no lesion mask for visit 1 (baseline)"]
    assert not found(*visits, annotated=False)


def test_files_of_the_same_bytes(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "2"), ("c", "1"), ("d", "3")):
        (tmp_path / name).write_text(content)
    files = [tmp_path / name for name in ("a", "b", "c", "d", "a", "absent")]
    assert copies_among(files) == [[tmp_path / "a", tmp_path / "c"]]


@pytest.mark.parametrize(
    ("name", "changes"), [("gt.nii.gz", True), ("p1_gt.nii", True), ("lesion.nii.gz", False)]
)
def test_a_change_mask_is_known_by_its_name_beside_two_studies(
    name: str, changes: bool, tmp_path: Path
) -> None:
    assert not is_change_mask(tmp_path / name)
    (tmp_path / "p1_study1_FLAIRreg.nii.gz").touch()
    assert is_change_mask(tmp_path / name) is changes


def test_several_errors_become_one_that_holds_each() -> None:
    one, two = (InputError(name, found=name * 2, expected="x", remedy="Do.") for name in "ab")
    assert combined(WHERE, [one]) is one
    assert str(combined(WHERE, [one, two])) == (
        "here: found 2 problems: (1) a: found aa; expected x. Do. (2) b: found bb; expected x. Do.; "
        "expected none. Mend all of them, or leave these visits out."
    )
