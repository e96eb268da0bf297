"""The readers on real scans, against nibabel's own view of the files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from psft_jax.data import bids, mslesseg, open_ms, table
from psft_jax.data.checks import is_change_mask
from psft_jax.data.nifti import read_volume, write_volume
from psft_jax.data.normalise import normalise
from psft_jax.errors import InputError
from psft_jax.scan import Scan

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def visit(real_data: Path) -> Path:
    return real_data / "mslesseg" / "train" / "P14" / "T1"


@pytest.fixture(scope="module")
def scan(real_data: Path) -> Scan:
    cohort = mslesseg.find(real_data / "mslesseg").cohort()
    patient = next(p for p in cohort.test if p.subject == "mslesseg-P14")
    assert [v.session for v in patient.visits] == ["T1", "T2"]
    return patient.baseline.load()


def test_the_grid_of_a_baseline(scan: Scan) -> None:
    assert scan.shape == (182, 218, 182)
    assert scan.spacing_mm == (1.0, 1.0, 1.0)
    assert nib.aff2axcodes(scan.affine) == ("R", "A", "S")
    assert scan.file_grid is not None
    assert nib.aff2axcodes(scan.file_grid.affine) == ("L", "A", "S")


def test_a_place_in_the_head_has_the_intensity_that_the_file_gives_it(scan: Scan, visit: Path) -> None:
    rng = np.random.default_rng(0)
    voxels = rng.choice(np.argwhere(scan.organ), 500)
    world = voxels[:, ::-1] @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    assert (world[:, 0] < -20).any()  # on both sides, so that a swap of left and right would show
    assert (world[:, 0] > 20).any()
    for sequence, name in zip(scan.sequences, ("FLAIR", "T1"), strict=True):
        file = nib.load(visit / f"P14_T1_{name}.nii.gz")
        i, j, k = np.rint(nib.affines.apply_affine(np.linalg.inv(file.affine), world)).astype(int).T
        expected = file.get_fdata()[i, j, k]
        np.testing.assert_array_equal(sequence[(*voxels.T, 0)], expected)
        mirrored = sequence[:, :, ::-1][(*voxels.T, 0)]
        assert (mirrored != expected).mean() > 0.5


def test_volumes_of_lesions_and_brain(scan: Scan, visit: Path) -> None:
    file = nib.load(visit / "P14_T1_MASK.nii.gz")
    assert scan.lesion is not None
    lesion_ml = scan.lesion.sum() * scan.voxel_volume_ml
    assert lesion_ml == pytest.approx((file.get_fdata() == 1).sum() * np.prod(file.header.get_zooms()) / 1000)
    # The centre of mass in mm is the same point in the file and in the scan.
    np.testing.assert_allclose(
        nib.affines.apply_affine(scan.affine, ndimage.center_of_mass(scan.lesion)[::-1]),
        nib.affines.apply_affine(file.affine, ndimage.center_of_mass(file.get_fdata())),
        atol=1e-6,
    )
    assert 1000 < scan.organ.sum() * scan.voxel_volume_ml < 2000
    assert scan.organ[scan.lesion].all()


def test_a_mask_goes_back_onto_the_file(scan: Scan, visit: Path, tmp_path: Path) -> None:
    assert scan.lesion is not None
    write_volume(tmp_path / "mask.nii.gz", scan.lesion, scan)
    original, copy = nib.load(visit / "P14_T1_MASK.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(copy.dataobj), np.asarray(original.dataobj))
    np.testing.assert_array_equal(copy.affine, nib.load(visit / "P14_T1_FLAIR.nii.gz").affine)


def test_normalised_intensities_are_of_the_networks_scale(scan: Scan) -> None:
    for sequence in normalise(scan).sequences:
        assert abs(sequence.mean(dtype=np.float64)) < 1e-5
        assert sequence[scan.organ].mean() > 0 > sequence[~scan.organ].mean()
        assert sequence.max() < 20


def test_a_patient_of_another_scanner(real_data: Path) -> None:
    found = {p.subject: p for p in open_ms.find(real_data / "open_ms").patients()}
    scan = found["open_ms-patient19"].baseline.load()
    assert scan.shape == (182, 218, 182)
    assert scan.lesion is not None
    assert scan.lesion.sum() * scan.voxel_volume_ml == pytest.approx(49.769)
    assert 1000 < scan.organ.sum() * scan.voxel_volume_ml < 2000


def test_an_oblique_acquisition_goes_back_onto_its_file(real_data: Path, tmp_path: Path) -> None:
    file = nib.load(real_data / "open_ms/longitudinal/raw/patient01/study2_T1W.nii.gz")
    volume = read_volume(file.get_filename())
    assert nib.aff2axcodes(file.affine) == ("L", "P", "S")
    assert volume.data.shape == file.shape[::-1]
    np.testing.assert_allclose(volume.spacing_mm, file.header.get_zooms()[::-1], rtol=1e-5)
    image = volume.data[..., None]
    scan = Scan(
        "P1", "T2", (image, image), volume.data > 0, None, volume.spacing_mm, volume.affine, volume.file_grid
    )
    write_volume(tmp_path / "copy.nii.gz", volume.data, scan)
    copy = nib.load(tmp_path / "copy.nii.gz")
    np.testing.assert_array_equal(np.asarray(copy.dataobj), file.get_fdata())
    np.testing.assert_allclose(copy.affine, file.affine, atol=1e-5)


def in_other_layouts(real_data: Path, folder: Path) -> tuple[Path, Path]:
    """P14's two visits as a BIDS folder and in a table, both of links to the published files."""
    root = folder / "bids é"
    rows = ["subject\tsession\trole\tFLAIR\tT1\torgan\tlesion"]
    for session, role in (("T1", "baseline"), ("T2", "follow_up")):
        stem = f"sub-P14_ses-{session}"
        anat = Path(f"sub-P14/ses-{session}/anat")
        links = {
            "FLAIR": root / anat / f"{stem}_FLAIR.nii.gz",
            "T1": root / anat / f"{stem}_T1w.nii.gz",
            "MASK": root / "derivatives" / "by hand" / anat / f"{stem}_label-L_mask.nii.gz",
        }
        for what, link in links.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(real_data / "mslesseg/train/P14" / session / f"P14_{session}_{what}.nii.gz")
        files = (str(links[what].relative_to(folder)) for what in ("FLAIR", "T1", "MASK"))
        flair, t1, mask = files
        rows.append("\t".join(("P14", session, role, flair, t1, "n/a", mask)))
    table_path = folder / "visits.tsv"
    table_path.write_text("\n".join(rows), encoding="utf-8")
    return root, table_path


def test_bids_and_a_table_give_the_scans_that_mslesseg_gives(
    real_data: Path, scan: Scan, tmp_path: Path
) -> None:
    root, table_path = in_other_layouts(real_data, tmp_path)
    for cohort in (bids.find(root).cohort(), table.find(table_path).cohort()):
        (patient,) = cohort.test
        assert [v.session.removeprefix("ses-") for v in patient.visits] == ["T1", "T2"]
        other = patient.baseline.load()
        for one, same in zip(scan.sequences, other.sequences, strict=True):
            np.testing.assert_array_equal(one, same)
        np.testing.assert_array_equal(scan.organ, other.organ)
        np.testing.assert_array_equal(scan.lesion, other.lesion)
        np.testing.assert_array_equal(scan.affine, other.affine)


def test_raw_longitudinal_visits_are_found_and_their_grids_refused(real_data: Path) -> None:
    listing = open_ms.find_longitudinal(real_data / "open_ms", open_ms.Space.RAW)
    assert [visit.name for visit in listing.visits] == [
        "open_ms-patient01_study1",
        "open_ms-patient01_study2",
    ]
    assert not listing.problems
    for files in listing.visits:
        with pytest.raises(InputError, match=r"T1W\.nii\.gz: found shape"):
            listing.visit(files).load()


def test_a_change_mask_is_refused(real_data: Path) -> None:
    assert is_change_mask(real_data / "open_ms/longitudinal/raw/patient01/gt.nii.gz")
