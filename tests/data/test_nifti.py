"""Reading and writing NIfTI files: orientation, exact round trips, and what is refused."""

from __future__ import annotations

import errno
import gzip
import itertools
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from psft_jax.data.nifti import read_volume, write_volume
from psft_jax.errors import InputError
from psft_jax.scan import FileGrid, Scan

SPACING_RAS = np.array([1.0, 2.0, 3.0])  # mm along left-right, posterior-anterior, inferior-superior
SIZE_RAS = (4, 5, 3)
ORIENTATIONS = [
    "".join(axes)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for axes in itertools.product(*order)
]


def orientation_affine(axcodes: str) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of a file whose axes point to ``axcodes``, over one fixed box of space."""
    affine, shape = np.eye(4), [0, 0, 0]
    affine[:3, :3] = 0
    for axis, code in enumerate(axcodes):
        world = ["RL", "AP", "SI"].index(next(pair for pair in ("RL", "AP", "SI") if code in pair))
        forward = code in "RAS"
        shape[axis] = SIZE_RAS[world]
        affine[world, axis] = SPACING_RAS[world] * (1 if forward else -1)
        affine[world, 3] = -7.0 if forward else -7.0 + SPACING_RAS[world] * (SIZE_RAS[world] - 1)
    return (shape[0], shape[1], shape[2]), affine


def intensity(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image in which every point of space, not every index, has its own intensity."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = indices @ affine[:3, :3].T + affine[:3, 3]
    return (world @ [1.0, 10.0, 100.0]).astype(np.float32)


def scan_of(path: Path) -> Scan:
    volume = read_volume(path)
    image = volume.data[..., None]
    organ = np.ones(volume.data.shape, dtype=bool)
    return Scan("P1", "T1", (image, image), organ, None, volume.spacing_mm, volume.affine, volume.file_grid)


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_every_orientation_is_read_to_the_same_volume_and_written_back_exactly(
    axcodes: str, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    shape, affine = orientation_affine(axcodes)
    assert nib.aff2axcodes(affine) == tuple(axcodes)
    values = intensity(affine, shape)
    path = write_nifti("image.nii.gz", values, affine)

    volume = read_volume(path)
    z, y, x = np.meshgrid(np.arange(3), np.arange(5), np.arange(4), indexing="ij")
    expected = (-7 + 1 * x) + 10 * (-7 + 2 * y) + 100 * (-7 + 3 * z)
    np.testing.assert_array_equal(volume.data, expected.astype(np.float32))
    np.testing.assert_allclose(
        volume.affine, [[1, 0, 0, -7], [0, 2, 0, -7], [0, 0, 3, -7], [0, 0, 0, 1]], atol=1e-9
    )
    assert volume.spacing_mm == (3.0, 2.0, 1.0)
    assert volume.file_grid.shape == shape

    write_volume(tmp_path / "copy.nii.gz", volume.data, scan_of(path))
    copy = nib.load(tmp_path / "copy.nii.gz")
    np.testing.assert_array_equal(copy.get_fdata(), values)
    np.testing.assert_array_equal(copy.affine, nib.load(path).affine)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.floats(-30, 30)] * 3),
    st.tuples(*[st.floats(0.3, 6)] * 3),
    st.randoms(use_true_random=False),
)
def test_oblique_masks_come_back_voxel_by_voxel(axcodes, angles, spacing, random) -> None:
    shape, affine = orientation_affine(axcodes)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ (np.sign(affine[:3, :3]) * spacing)
    values = np.array([random.random() < 0.5 for _ in range(np.prod(shape))]).reshape(shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nii"
        nib.save(nib.Nifti1Image(values.astype(np.uint8), affine), path)
        scan = scan_of(path)
        # The canonical volume keeps every voxel at its place in space.
        index = np.array([random.randrange(n) for n in scan.shape])
        world = scan.affine @ [*index[::-1], 1]
        i, j, k = np.rint((np.linalg.inv(nib.load(path).affine) @ world)[:3]).astype(int)
        assert scan.sequences[0][(*index, 0)] == values[i, j, k]

        write_volume(Path(folder) / "copy.nii", scan.sequences[0][..., 0] > 0.5, scan)
        copy = nib.load(Path(folder) / "copy.nii")
        assert copy.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(copy.dataobj), values)
        np.testing.assert_array_equal(copy.affine, nib.load(path).affine)


def test_a_generated_scan_is_written_in_ras_order(tmp_path: Path) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    both = (image[..., None], image[..., None])
    scan = Scan("phantom", "T1", both, image >= 0, None, (3.0, 2.0, 1.0), affine)
    write_volume(tmp_path / "probability.nii.gz", image.astype(np.float64) / 24, scan)
    written = nib.load(tmp_path / "probability.nii.gz")
    assert written.shape == (4, 3, 2)
    assert written.get_data_dtype() == np.float32
    assert written.header.get_xyzt_units()[0] == "mm"
    assert written.dataobj[3, 2, 1] == np.float32(23 / 24)
    assert nib.aff2axcodes(written.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(read_volume(tmp_path / "probability.nii.gz").affine, affine)


def test_scaled_integers_trailing_axes_and_nifti2_are_read(tmp_path: Path) -> None:
    stored = np.arange(8, dtype=np.int16).reshape(2, 2, 2, 1, 1)
    image = nib.Nifti2Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, 1.0)
    nib.save(image, tmp_path / "scaled.nii.gz")
    volume = read_volume(tmp_path / "scaled.nii.gz")
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(
        volume.data, nib.load(tmp_path / "scaled.nii.gz").get_fdata()[..., 0, 0].transpose()
    )
    assert volume.file_grid.shape == (2, 2, 2)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.nii\.gz: found no such file"):
        read_volume(tmp_path / "absent.nii.gz")
    with pytest.raises(InputError, match="found a folder"):
        read_volume(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_counted(bad: float, write_nifti: Callable[..., Path]) -> None:
    values = np.ones((3, 4, 5))
    values[1, 2, 3] = values[0, 0, 0] = bad
    with pytest.raises(InputError, match="found 2 values that are NaN, infinite or too large"):
        read_volume(write_nifti("bad.nii.gz", values))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 2), (4, 5, 6, 1, 3)])
def test_other_than_three_dimensions_are_refused(shape: tuple[int, ...], write_nifti) -> None:
    with pytest.raises(InputError, match="expected one 3-D volume"):
        read_volume(write_nifti("series.nii.gz", np.ones(shape, dtype=np.float32)))


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_complex_and_coloured_voxels_are_refused(dtype: np.dtype, write_nifti) -> None:
    with pytest.raises(InputError, match="expected real numbers"):
        read_volume(write_nifti("other.nii.gz", np.zeros((3, 3, 3), dtype=dtype)))


def test_a_file_without_orientation_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), dtype=np.float32), None), tmp_path / "nowhere.nii.gz")
    with pytest.raises(InputError, match="no orientation"):
        read_volume(tmp_path / "nowhere.nii.gz")


def test_a_flat_affine_is_refused(tmp_path: Path) -> None:
    content = bytearray(nib.Nifti1Image(np.ones((3, 3, 3), dtype=np.float32), np.eye(4)).to_bytes())
    content[312:328] = bytes(16)  # the header's field srow_z
    (tmp_path / "flat.nii").write_bytes(content)
    with pytest.raises(InputError, match="not invertible"):
        read_volume(tmp_path / "flat.nii")


NIFTI = nib.Nifti1Image(intensity(np.eye(4), (5, 6, 7)), np.eye(4)).to_bytes()
GZIPPED = gzip.compress(NIFTI)


def read_bytes(content: bytes, suffix: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        return read_volume(path).data


@settings(deadline=None, max_examples=80)
@given(st.integers(0, len(GZIPPED) - 1))
def test_a_gzipped_file_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(InputError, match="found a file that cannot be read"):
        read_bytes(GZIPPED[:length], ".nii.gz")


@settings(deadline=None, max_examples=80)
@given(st.integers(0, len(NIFTI) - 1))
def test_a_plain_file_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(InputError, match="found a file that cannot be read"):
        read_bytes(NIFTI[:length], ".nii")


@settings(deadline=None, max_examples=150)
@given(st.integers(10, len(GZIPPED) - 1), st.integers(1, 255))
def test_a_damaged_byte_behind_the_gzip_header_never_passes(position: int, change: int) -> None:
    damaged = bytearray(GZIPPED)
    damaged[position] ^= change
    with pytest.raises(InputError, match="found a file that cannot be read"):
        read_bytes(bytes(damaged), ".nii.gz")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 351), st.integers(1, 255))
@example(43, 128)  # a negative size
@example(307, 89)  # an affine with one row that outweighs the others
def test_a_damaged_header_raises_nothing_but_input_errors(position: int, change: int) -> None:
    damaged = bytearray(NIFTI)
    damaged[position] ^= change
    try:
        volume = read_bytes(bytes(damaged), ".nii")
    except InputError:
        return
    assert volume.ndim == 3
    assert np.isfinite(volume).all()


def test_a_header_that_claims_more_than_memory_holds_is_refused() -> None:
    damaged = bytearray(NIFTI)
    damaged[42:48] = np.array([32767] * 3, dtype="<i2").tobytes()  # the header's field dim
    with pytest.raises(InputError, match="its header speaks of 140"):
        read_bytes(bytes(damaged), ".nii")


@pytest.fixture
def scan(write_nifti: Callable[..., Path]) -> Scan:
    """A scan read from a file with values that do not compress."""
    values = np.random.default_rng(0).standard_normal((20, 21, 22)).astype(np.float32)
    return scan_of(write_nifti("input.nii.gz", values))


@pytest.fixture
def small_file_limit() -> Iterator[None]:
    """No file of this process may grow beyond 4 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def folder_content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_disk_that_fills_while_writing_leaves_the_earlier_file(
    scan: Scan, tmp_path: Path, small_file_limit: None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "sd.nii.gz").write_bytes(b"earlier result")
    with pytest.raises(InputError, match="what was written before is intact"):
        write_volume(out / "sd.nii.gz", scan.sequences[0][..., 0], scan, overwrite=True)
    assert folder_content(out) == {"sd.nii.gz": b"earlier result"}
    assert [p.name for p in out.iterdir()] == ["sd.nii.gz"]


def test_a_full_disk_is_called_full(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(image: nib.Nifti1Image, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", save)
    with pytest.raises(InputError, match="found a full disk while writing"):
        write_volume(tmp_path / "out" / "mask.nii.gz", scan.organ, scan)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_existing_file_is_replaced_only_when_asked(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    write_volume(path, scan.organ, scan)
    before = path.read_bytes()
    with pytest.raises(InputError, match="ask for it to be overwritten"):
        write_volume(path, ~scan.organ, scan)
    assert path.read_bytes() == before
    write_volume(path, ~scan.organ, scan, overwrite=True)
    assert not nib.load(path).get_fdata().any()


def test_wrong_suffix_and_wrong_shape_are_refused(scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.nii or \.nii\.gz"):
        write_volume(tmp_path / "mask.img", scan.organ, scan)
    with pytest.raises(InputError, match=r"found a volume of shape \(21, 21, 20\)"):
        write_volume(tmp_path / "mask.nii.gz", scan.organ[1:], scan)
    assert not (tmp_path / "mask.nii.gz").exists()


def test_a_file_grid_is_what_the_file_said(scan: Scan) -> None:
    assert isinstance(scan.file_grid, FileGrid)
    assert scan.file_grid.shape == (20, 21, 22)
    assert nib.aff2axcodes(scan.file_grid.affine) == ("L", "A", "S")
