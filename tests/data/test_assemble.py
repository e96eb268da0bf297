"""A Scan from volumes: same grid, known labels, organ from what is not 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label

from psft_jax.data.assemble import assemble, binary_mask, check_background, check_same_grid, nonzero_organ
from psft_jax.data.nifti import LoadedVolume, read_volume
from psft_jax.errors import InputError
from psft_jax.scan import FileGrid

SHAPE = (5, 6, 7)  # (I, J, K) in the files
LAS = np.array([[-1.0, 0, 0, 4], [0, 2, 0, -6], [0, 0, 3, 10], [0, 0, 0, 1]])


def volume(values: np.ndarray, affine: np.ndarray | None = None, name: str = "mask.nii.gz") -> LoadedVolume:
    affine = np.eye(4) if affine is None else affine
    z, y, x = values.shape
    return LoadedVolume(Path(name), values.astype(np.float32), affine, FileGrid((x, y, z), affine))


@pytest.fixture
def flair(write_nifti: Callable[..., Path]) -> LoadedVolume:
    values = np.random.default_rng(1).uniform(1, 9, SHAPE).astype(np.float32)
    values[0] = 0
    values[0, 2, 3] = 5  # a face of the organ's box that it hardly touches, as a brain does
    return read_volume(write_nifti("flair.nii.gz", values))


def test_the_scan_holds_what_the_files_held(flair: LoadedVolume, write_nifti: Callable[..., Path]) -> None:
    t1 = volume(flair.data + 1, flair.affine)
    lesion = np.zeros(SHAPE, dtype=np.uint8)
    lesion[4, 5, 6] = 1
    scan = assemble(
        "P1", "T2", ([flair], [t1, flair]), None, read_volume(write_nifti("lesion.nii.gz", lesion))
    )
    assert (scan.name, scan.shape, scan.channels) == ("P1_T2", (7, 6, 5), (1, 2))
    assert scan.spacing_mm == (3.0, 2.0, 1.0)
    np.testing.assert_array_equal(scan.sequences[1][..., 0], flair.data + 1)
    np.testing.assert_array_equal(scan.organ, flair.data != 0)
    # File index i = 4 is the patient's left (LAS), so x = 0 in the canonical order.
    assert scan.lesion is not None
    assert np.argwhere(scan.lesion).tolist() == [[6, 5, 0]]
    assert scan.file_grid is flair.file_grid


def test_an_empty_lesion_mask_is_a_valid_annotation(flair: LoadedVolume) -> None:
    empty = volume(np.zeros_like(flair.data), flair.affine)
    scan = assemble("P1", "T1", ([flair], [flair]), None, empty)
    assert scan.lesion is not None
    assert not scan.lesion.any()
    assert assemble("P1", "T1", ([flair], [flair]), None, None).lesion is None


def test_an_organ_mask_that_is_given_is_used(flair: LoadedVolume) -> None:
    box = np.zeros_like(flair.data)
    box[2:4, 1:5, 1:3] = 1
    scan = assemble("P1", "T1", ([flair], [flair]), volume(box, flair.affine), None)
    assert scan.organ_box == (slice(2, 4), slice(1, 5), slice(1, 3))


def test_an_empty_organ_is_refused_with_the_file_that_is_empty(flair: LoadedVolume) -> None:
    empty = volume(np.zeros_like(flair.data), flair.affine, "empty.nii.gz")
    with pytest.raises(InputError, match=r"^empty\.nii\.gz: found an empty organ mask"):
        assemble("P1", "T1", ([flair], [flair]), empty, None)
    with pytest.raises(InputError, match=r"^empty\.nii\.gz: found an image that is 0 everywhere"):
        assemble("P1", "T1", ([empty], [flair]), None, None)
    assert assemble("P1", "T1", ([flair], [empty]), None, None).organ.any()  # the organ is that of FLAIR


def test_raw_scans_are_sent_to_preprocessing(flair: LoadedVolume) -> None:
    t1 = volume(np.ones((7, 6, 4)), flair.affine, "t1.nii.gz")
    with pytest.raises(InputError, match=r"t1\.nii\.gz: found shape .* python -m experiments\.preprocess"):
        assemble("P1", "T1", ([flair], [t1]), None, None)


@pytest.mark.parametrize("role", ["t1", "lesion", "organ"])
def test_another_shape_is_refused_and_named(role: str, flair: LoadedVolume) -> None:
    others = {name: volume(np.ones_like(flair.data), flair.affine) for name in ("t1", "lesion", "organ")}
    others[role] = volume(np.ones((7, 6, 4)), flair.affine, f"{role}.nii.gz")
    with pytest.raises(
        InputError, match=rf"{role}\.nii\.gz: found shape .* \(7, 6, 4\); expected \(7, 6, 5\)"
    ):
        assemble("P1", "T1", ([flair], [others["t1"]]), others["organ"], others["lesion"])


@pytest.mark.parametrize("role", ["t1", "lesion", "organ"])
@pytest.mark.parametrize("entry", [(0, 3), (1, 1), (2, 0)])
def test_affines_may_differ_by_rounding_only(
    role: str, entry: tuple[int, int], flair: LoadedVolume, write_nifti: Callable[..., Path]
) -> None:
    def assembled(shift: float) -> None:
        moved = LAS.copy()
        moved[entry] += shift
        ones = np.ones(SHAPE, dtype=np.uint8)
        volumes = {
            name: read_volume(write_nifti(f"{name}.nii.gz", ones, moved if name == role else LAS))
            for name in ("t1", "lesion", "organ")
        }
        assemble("P1", "T1", ([flair], [volumes["t1"]]), volumes["organ"], volumes["lesion"])

    assembled(5e-4)
    with pytest.raises(
        InputError, match=rf"{role}\.nii\.gz: found an affine .* within 0\.001 mm, as in .*flair"
    ):
        assembled(5e-3)


def test_a_mask_stored_in_another_orientation_lines_up(
    flair: LoadedVolume, write_nifti: Callable[..., Path]
) -> None:
    in_file = nib.load(flair.path)
    ras = nib.as_closest_canonical(in_file)
    mask = write_nifti("mask.nii.gz", (ras.get_fdata() > 5).astype(np.uint8), ras.affine)
    scan = assemble("P1", "T1", ([flair], [flair]), None, read_volume(mask))
    np.testing.assert_array_equal(scan.lesion, scan.sequences[0][..., 0] > 5)
    moved = nib.Nifti1Image(np.asarray(ras.dataobj), ras.affine + 5e-3 * np.eye(4, k=3))
    nib.save(moved, mask)
    with pytest.raises(InputError, match="found an affine"):
        check_same_grid(flair, read_volume(mask))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 0], [False, True, True, False]),
        ([1e-7, 0.9999998, 1.0005, -1e-4], [False, True, True, False]),
        ([1, 1, 1, 1], [True] * 4),
    ],
)
def test_known_labels_become_a_mask(values, expected) -> None:
    mask = binary_mask(volume(np.array(values).reshape(1, 2, 2)))
    assert mask.dtype == bool
    assert mask.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 2, 0], r"mask\.nii\.gz: found the labels 0, 1, 2; expected only 0, 1\."),
        ([0, 255, 255, 0], r"found the labels 0, 255; expected"),
        ([0, 1, 0.5, 0.25], r"found the labels 0, 0\.25, 0\.5, 1; expected"),
        ([0, 1, 1.002, 0], r"found the labels 0, 1, 1\.002; expected"),
        ([0, 1, -1, 0], r"found the labels -1, 0, 1; expected"),
        (range(12), r"found the labels 0, 1, 2, 3, 4, 5, 6, 7 and 4 more; expected"),
    ],
)
def test_other_labels_are_named(values, message: str) -> None:
    with pytest.raises(InputError, match=message):
        binary_mask(volume(np.array(values).reshape(1, 2, -1)))


def test_the_organ_is_the_largest_component_without_holes() -> None:
    image = np.zeros((7, 9, 9))
    image[1:6, 1:6, 1:6] = -3.0  # spline interpolation leaves negative values inside a brain
    image[3, 3, 3] = 0  # a hole
    image[6, 6, 6] = 2.0  # touches the cube at a corner: 26-connected
    image[3, 3, 8] = 2.0  # apart
    organ = nonzero_organ(image)
    assert organ.sum() == 5**3 + 1
    assert organ[3, 3, 3]
    assert organ[6, 6, 6]
    assert not organ[3, 3, 8]


def test_a_cavity_open_to_the_outside_is_not_filled() -> None:
    image = np.ones((5, 5, 5))
    image[2, 2, 2:] = 0
    np.testing.assert_array_equal(nonzero_organ(image), image > 0)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.float32, (4, 5, 6), elements=st.sampled_from([0.0, 0.0, 0.0, -1.0, 2.0])))
def test_the_organ_agrees_with_scikit_image(image: np.ndarray) -> None:
    organ = nonzero_organ(image)
    components = label(image != 0, connectivity=3)
    sizes = np.bincount(components.ravel())[1:]
    if not sizes.size:
        assert not organ.any()
        return
    # Of several largest components any one will do; what is filled in was 0, enclosed by 6-neighbours.
    kept = np.unique(components[organ & (image != 0)])
    assert sizes.max() in sizes[kept - 1]
    outside = label(~organ, connectivity=1)
    border = np.ones(image.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert set(np.unique(outside)) - {0} <= set(np.unique(outside[border]))


def head(shape: tuple[int, int, int] = (20, 24, 22)) -> np.ndarray:
    """A ball-shaped brain that touches every side of its volume: the tightest of crops."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return np.where(np.sum(np.square(axes), axis=0) <= 1.02, 100.0, 0.0)


def refuses(image: np.ndarray) -> None:
    scan = volume(image, name="flair.nii.gz")
    with pytest.raises(InputError, match=r"flair\.nii\.gz: found .* on all sides.*Strip the skull"):
        check_background(scan, nonzero_organ(scan.data))


def test_a_background_that_is_not_0_is_refused() -> None:
    noise = np.random.default_rng(0).rayleigh(1, (20, 24, 22))
    brain = head()
    for background in (noise, np.floor(noise), np.full_like(noise, -1.3)):  # in float, in integers, scaled
        refuses(np.where(brain > 0, brain, background))
    framed = np.pad(np.where(brain > 0, brain, noise), 3)  # a field of view resampled into a larger one
    refuses(framed)
    scan = volume(framed)
    with pytest.raises(InputError, match="background is 0"):
        assemble("P1", "T1", ([scan], [scan]), None, None)


@pytest.mark.parametrize("crop", [slice(None), slice(9, 12), slice(10, 11), slice(0, 9)])
def test_a_tight_crop_or_a_slab_of_a_brain_passes(crop: slice) -> None:
    for axis in range(3):
        scan = volume(np.moveaxis(np.moveaxis(head(), axis, 0)[crop], 0, axis))
        check_background(scan, nonzero_organ(scan.data))


def test_a_scan_that_is_not_stripped_may_be_used_with_its_organ_mask() -> None:
    scan = volume(head() + 1)
    assert (
        assemble("P1", "T1", ([scan], [scan]), volume(head() / 100), None).organ.sum() == (head() > 0).sum()
    )
