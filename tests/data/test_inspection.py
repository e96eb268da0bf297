"""A scan in numbers, and whether it serves for its role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from psft_jax.data.inspection import check_usable, inspect_scan
from psft_jax.data.visit_files import Role
from psft_jax.errors import InputError
from psft_jax.scan import FileGrid, Scan, Sequence

NAMES = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1a", "T1b")))


def test_numbers_by_hand(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan()
    lesion = scan.lesion.copy()
    lesion[0, 4, 6] = True  # 26-connected to nothing: 1:3, 8:12, 7:11 is the other
    inside = np.linspace(1, 1001, int(scan.organ.sum()), dtype=np.float32)
    first = np.zeros_like(scan.sequences[0])
    first[scan.organ, 0] = inside
    scan = replace(scan, lesion=lesion, sequences=(first, np.abs(scan.sequences[1])))
    found = inspect_scan(scan, NAMES)
    assert (found.shape, found.spacing_mm, found.channels) == ((4, 24, 20), (3.0, 1.0, 1.0), (1, 2))
    assert (found.orientation, found.oblique_deg) == ("RAS", 0.0)
    assert found.organ_ml == pytest.approx(4 * 14 * 13 * 3 / 1000)
    assert found.lesions == 2
    assert found.lesion_ml == pytest.approx((2 * 4 * 4 + 1) * 3 / 1000)
    values = found.intensities["FLAIR"]
    assert (values.minimum, values.median, values.maximum) == pytest.approx((1, 501, 1001))
    assert values.p998 == pytest.approx(999)
    assert list(found.intensities) == ["FLAIR", "T1"]
    assert found.remarks == ()


def test_an_oblique_file(make_scan: Callable[..., Scan]) -> None:
    angle = np.deg2rad(10)
    affine = np.eye(4)
    affine[:2, :2] = [[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    found = inspect_scan(make_scan(file_grid=FileGrid((20, 24, 4), affine)), NAMES)
    assert found.orientation == "LAS"
    assert found.oblique_deg == pytest.approx(10)


def test_what_is_strange_is_remarked(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan()
    shifted = np.roll(scan.lesion, 8, axis=2)  # columns 15 to 18, of which the organ ends at 17
    first = np.abs(scan.sequences[0])
    first[scan.organ & (np.arange(24) < 10)[:, None]] *= -1  # rows 3 to 9 of 3 to 16: half of the organ
    found = inspect_scan(replace(scan, lesion=shifted, sequences=(first, np.abs(scan.sequences[1]))), NAMES)
    assert found.remarks == (
        "25 % of the lesions' volume lie outside the organ mask",
        "50 % of FLAIR inside the organ are below 0",
    )
    unannotated = inspect_scan(replace(scan, lesion=None), NAMES)
    assert unannotated.lesions is None
    assert unannotated.lesion_ml is None


def test_a_scan_without_a_lesion_serves_as_follow_up_alone(make_scan: Callable[..., Scan]) -> None:
    empty = make_scan(lesion=np.zeros((4, 24, 20), dtype=bool))
    check_usable(empty, Role.FOLLOW_UP)
    for role in (Role.TRAINING, Role.BASELINE):
        with pytest.raises(InputError, match=f"a lesion mask without a lesion, of a visit for {role}"):
            check_usable(empty, role)


def test_a_scan_that_cannot_be_normalised_serves_for_nothing(make_scan: Callable[..., Scan]) -> None:
    flat = make_scan()
    flat = flat.with_sequences(np.ones_like(flat.sequences[0]), flat.sequences[1])
    with pytest.raises(InputError, match="the constant value 1"):
        check_usable(flat, Role.FOLLOW_UP)
