"""Rigid registration finds a motion that is known, the same each time."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from psft_jax.errors import InputError
from psft_jax.preprocess.itk_images import affine_of, matrix_of, resample_image, resample_mask, to_itk
from psft_jax.preprocess.registration import Registered, described, register, write_transform
from tests.preprocess.brains import QUICK, distance_mm, head, motion, points_of

MOVED = motion((3.0, -2.0, 5.0), (6.0, -4.0, 5.0))


def found(moved: np.ndarray, **changes: int) -> Registered:
    """The T1 of a head that has moved, registered to its FLAIR."""
    scan = head()
    flair, t1 = (sequence[..., 0] for sequence in scan.sequences)
    return register(
        "the T1",
        to_itk(flair, scan.affine),
        to_itk(t1, moved @ scan.affine),
        to_itk(scan.organ, scan.affine),
        QUICK.registration,
        **{"threads": 1, **changes},
    )


def test_images_that_lie_on_each_other_stay_there() -> None:
    registered = found(np.eye(4))
    assert registered.told["start"] == "headers"
    assert distance_mm(matrix_of(registered.transform), np.eye(4), points_of(head())) < 0.4


def test_a_known_motion_is_found() -> None:
    scan = head()
    points = points_of(scan)
    assert distance_mm(np.eye(4), MOVED, points) > 7
    registered = found(MOVED)
    assert registered.told["information"] > registered.told["information_at_start"]
    # A tenth of a voxel, whose sides are 6, 1.9 and 1.9 mm.
    assert distance_mm(matrix_of(registered.transform), MOVED, points) < 0.4
    assert distance_mm(matrix_of(registered.inverse.transform), np.linalg.inv(MOVED), points) < 0.4


def test_headers_that_place_the_images_apart_are_put_right() -> None:
    far = motion((2.0, 0.0, -3.0), (0.0, 300.0, -150.0))
    registered = found(far)
    assert registered.told["start"] == "centres of mass"
    assert distance_mm(matrix_of(registered.transform), far, points_of(head())) < 0.4


def test_the_same_is_found_each_time_and_nearly_the_same_by_two_threads() -> None:
    first, second = found(MOVED), found(MOVED)
    assert first.transform.GetParameters() == second.transform.GetParameters()
    by_two = found(MOVED, threads=2)
    apart = distance_mm(matrix_of(first.transform), matrix_of(by_two.transform), points_of(head()))
    assert apart < 0.2


def test_an_image_of_another_part_of_the_body_is_refused() -> None:
    scan = head()
    flair = to_itk(scan.sequences[0][..., 0], scan.affine)
    neck = to_itk(scan.sequences[1][:5, ..., 0], scan.affine)  # the lowest 30 mm
    brain = to_itk(scan.organ, scan.affine)
    with pytest.raises(InputError, match=r"^T1.nii: found images that overlap in \d+ % of the brain"):
        register("T1.nii", flair, neck, brain, QUICK.registration, 1)


def test_the_file_resamples_what_moves_and_the_matrix_moves_points(tmp_path: Path) -> None:
    # A quarter turn about z, then 10 mm to the right: anatomy at (20, 0, 5) comes to (10, 20, 5).
    turn = motion((0.0, 0.0, 90.0), (10.0, 0.0, 0.0))
    in_lps = sitk.Euler3DTransform()
    in_lps.SetMatrix(turn[:3, :3].ravel().tolist())  # a turn about z is the same in LPS+
    in_lps.SetTranslation((-10.0, 0.0, 0.0))
    registered = Registered(in_lps.GetInverse(), {"information": 1.0})
    write_transform(tmp_path / "xfm.txt", registered)
    told = described(registered, moving="one", fixed="two")
    np.testing.assert_allclose(told["matrix_of_points_ras_mm"], turn, atol=1e-12)
    assert (told["from"], told["to"]) == ("one", "two")
    read = sitk.ReadTransform(str(tmp_path / "xfm.txt"))
    # ITK asks where in the moving image a point of the fixed image lies: (10, 20, 5) from (20, 0, 5).
    np.testing.assert_allclose(read.TransformPoint((-10.0, -20.0, 5.0)), (-20.0, 0.0, 5.0), atol=1e-9)


def test_grids_survive_the_way_to_simpleitk_and_back() -> None:
    oblique = motion((10.0, 20.0, -30.0), (1.0, 2.0, 3.0)) @ np.diag([1.0, 2.0, 3.0, 1.0])
    sheared = oblique + np.pad([[0, 0.1, 0], [0, 0, 0.2], [0, 0, 0]], ((0, 1), (0, 1)))
    for affine in (oblique, sheared):
        image = to_itk(np.zeros((4, 3, 2), np.float32), affine)
        np.testing.assert_allclose(affine_of(image), affine, atol=1e-12)
        corner = image.TransformIndexToPhysicalPoint((1, 2, 3))
        x, y, z = nib.affines.apply_affine(affine, [1, 2, 3])
        np.testing.assert_allclose(corner, (-x, -y, z), atol=1e-12)


def test_resampling_moves_voxels_by_the_transform_and_keeps_the_range() -> None:
    values = np.zeros((5, 6, 7), np.float32)
    values[2, 3, 4] = 100
    image, mask = to_itk(values, np.eye(4)), to_itk(values > 0, np.eye(4))
    shift = sitk.TranslationTransform(3, (-1.0, 0.0, 0.0))  # reads from 1 mm to the right (in LPS+)
    for moved in (resample_image(image, image, shift, 1) / 100, resample_mask(mask, mask, shift, 1)):
        voxels = sitk.GetArrayFromImage(moved)
        assert voxels[2, 3, 3] == pytest.approx(1, abs=1e-5)
        assert np.count_nonzero(voxels > 1e-5) == 1
    half = resample_image(image, image, sitk.TranslationTransform(3, (0.5, 0.0, 0.0)), 1)
    assert sitk.GetArrayFromImage(half).min() == 0  # splines go below
