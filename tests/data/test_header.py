"""Headers that say too little, too much, or two things at once."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from psft_jax.data.nifti import count_volumes, read_series, read_volume
from psft_jax.errors import InputError

AFFINE = np.array([[-1.0, 0, 0, 4], [0, 2, 0, -6], [0, 0, 3, 10], [0, 0, 0, 1]])
STORED = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
SLOPE, INTERCEPT = 112, 116  # where the fields lie in a NIfTI-1 header


def file_with(path: Path, sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int] = (1, 1)) -> Path:
    image = nib.Nifti1Image(STORED, sform)
    image.set_sform(sform, code=codes[0])
    image.set_qform(qform, code=codes[1])
    nib.save(image, path)
    return path


def moved(millimetres: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[1, 3] += millimetres
    return affine


def test_forms_may_differ_by_rounding(tmp_path: Path) -> None:
    volume = read_volume(file_with(tmp_path / "both.nii.gz", AFFINE, moved(0.4)))
    np.testing.assert_array_equal(volume.file_grid.affine, AFFINE)  # the sform counts


@pytest.mark.parametrize(
    ("qform", "apart"),
    [
        (moved(0.6), "0.6"),
        (np.diag([-1.0, 1, 1, 1]) @ AFFINE, "8"),  # left and right swapped: x = 4 or -4
        (AFFINE @ np.diag([1, 1, 2.0, 1]), "12"),  # twice the slice spacing: 4 slices of 3 mm
    ],
)
def test_an_sform_and_a_qform_that_disagree_are_refused(
    qform: np.ndarray, apart: str, tmp_path: Path
) -> None:
    path = file_with(tmp_path / "both.nii.gz", AFFINE, qform)
    with pytest.raises(
        InputError, match=rf"both\.nii\.gz: found an sform and a qform .* {apart} mm apart; .* 0\.5 mm"
    ):
        read_volume(path)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1)])
def test_a_form_that_is_not_set_says_nothing(codes: tuple[int, int], tmp_path: Path) -> None:
    other = moved(50)
    path = file_with(tmp_path / "one.nii.gz", *((AFFINE, other) if codes[0] else (other, AFFINE)), codes)
    np.testing.assert_allclose(read_volume(path).file_grid.affine, AFFINE, atol=1e-6)


def test_an_oblique_volume_follows_its_own_axes_and_is_not_resampled(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_euler("x", 20, degrees=True).as_matrix() @ AFFINE[:3, :3]
    path = file_with(tmp_path / "oblique.nii.gz", affine, affine)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, STORED[::-1].transpose())  # LAS: only x is flipped
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 2.0, 1.0), rtol=1e-6)
    # The first voxel of the array is the last of the file's first axis.
    np.testing.assert_allclose(volume.affine[:3, 3], (affine @ [2, 0, 0, 1])[:3], atol=1e-6)


def scaled(path: Path, slope: float, intercept: float) -> Path:
    content = bytearray(nib.Nifti1Image(STORED, AFFINE).to_bytes())
    content[SLOPE : SLOPE + 4] = np.float32(slope).tobytes()
    content[INTERCEPT : INTERCEPT + 4] = np.float32(intercept).tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("slope", "intercept", "factor", "offset"),
    [(2.0, -3.0, 2, -3), (0.0, 5.0, 1, 0), (np.nan, np.nan, 1, 0), (np.nan, 5.0, 1, 0), (-1.0, 0.0, -1, 0)],
)
def test_stored_integers_are_scaled_unless_the_factor_is_0_or_nan(
    slope: float, intercept: float, factor: int, offset: int, tmp_path: Path
) -> None:
    volume = read_volume(scaled(tmp_path / "scaled.nii", slope, intercept))
    np.testing.assert_array_equal(volume.data, (factor * STORED + offset)[::-1].transpose())


@pytest.mark.parametrize(
    ("slope", "intercept", "message"),
    [
        (np.inf, 0.0, r"found the scaling factor inf \(scl_slope\)"),
        (-np.inf, np.nan, r"found the scaling factor -inf"),
        (np.inf, np.inf, r"found the scaling factor inf \(scl_slope\)"),
        (1.0, np.inf, r"found the scaling offset inf \(scl_inter\) in the header; expected a finite factor"),
        (2.0, np.nan, r"found the scaling offset nan \(scl_inter\)"),
        # 4 e38 and more: all from 4 on
        (1e38, 0.0, r"found 56 values that .* once scaled by the header \(scl_slope 1e\+38, scl_inter 0\)"),
    ],
)
def test_scaling_that_loses_the_values_is_refused(
    slope: float, intercept: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_volume(scaled(tmp_path / "scaled.nii", slope, intercept))


def test_values_that_were_stored_so_are_not_put_down_to_the_header(tmp_path: Path) -> None:
    values = STORED.astype(np.float32)
    values[0, 0, 0] = np.nan
    image = nib.Nifti1Image(values, AFFINE)
    nib.save(image, tmp_path / "nan.nii")
    with pytest.raises(InputError, match=r"found 1 values that are NaN, infinite or too large; .* set these"):
        read_volume(tmp_path / "nan.nii")


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 1, 5), (4, 5, 1), (4, 5, 1, 3)])
def test_a_single_slice_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), AFFINE), tmp_path / "slice.nii.gz")
    with pytest.raises(InputError, match=r"slice\.nii\.gz: found a single slice .* a localiser"):
        read_series(tmp_path / "slice.nii.gz")


def test_a_series_is_read_volume_by_volume(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(np.float32)
    path = tmp_path / "series.nii.gz"
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    volumes = read_series(path)
    assert count_volumes(path) == len(volumes) == 6
    for place, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.data, values[::-1, ..., place].transpose())
        assert volume.file_grid.shape == (3, 4, 5)
    with pytest.raises(InputError, match="found a series of 6 volumes; expected one 3-D volume"):
        read_volume(path)


def test_what_cannot_be_counted_is_left_to_reading(tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("no image")
    assert count_volumes(tmp_path / "text.nii") is None
    assert count_volumes(tmp_path / "absent.nii.gz") is None


@pytest.mark.parametrize("name", ["päthö 1/image of 日本.nii", "päthö 1/image of 日本.nii.gz"])
def test_spaces_and_letters_of_other_languages_in_paths(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(STORED, AFFINE), path)
    np.testing.assert_array_equal(read_volume(path).data, STORED[::-1].transpose())
