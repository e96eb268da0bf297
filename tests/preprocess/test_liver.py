"""A liver examination from raw files to those that can be read, on the phantom with known motion.

Breathing is undone to a good part with a fraction of the iterations; docs/preprocessing.md has what all of
them do. SimpleITK, which reads the files of the transforms here, is not what registers.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hydra import compose, initialize_config_dir

from bench.liver_motion import (
    align_raw,
    coarse_grid,
    known,
    landmark_errors,
    moved_series,
    roughness,
    stay,
)
from experiments.datasets import TableDataset
from experiments.parsing import parse
from experiments.phantom_raw import RawPhantomRun, run
from psft_jax.data.channels import DCEChannels
from psft_jax.data.normalise import normalise
from psft_jax.data.table import find
from psft_jax.data.table_writing import write_scans
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.phantoms.liver import BASELINE, LiverPhantomSettings
from psft_jax.phantoms.liver_breathing import BreathingSettings, RawVisit, raw_visit
from psft_jax.phantoms.liver_geometry import spacing_of
from psft_jax.preprocess.groupwise import GroupwiseSettings
from psft_jax.preprocess.liver import LiverSettings, liver_pipeline
from psft_jax.preprocess.liver_alignment import LESION, LIVER, Aligned
from psft_jax.preprocess.liver_diffusion import DiffusionSettings
from psft_jax.preprocess.liver_files import read_examination
from psft_jax.preprocess.liver_grid import jacobian_determinants, resample_mask, voxel_places
from psft_jax.preprocess.outputs import Prepared
from psft_jax.scan import Mask

pytest.importorskip("itk")

CONF = Path(__file__).parents[2] / "conf"
SMALL = (28, 80, 80)
SETTINGS = LiverSettings(
    shape=SMALL,
    spacing_mm=spacing_of(SMALL),
    groupwise=GroupwiseSettings(iterations=40, samples=500),
    diffusion=DiffusionSettings(iterations=60, samples=2000),
)


raw_visit_once = lru_cache(raw_visit)


def raw() -> RawVisit:
    phantom = LiverPhantomSettings(n_training=1, n_test=0, shape=SMALL)
    return raw_visit_once(phantom, BreathingSettings(), "liver-train-000", BASELINE)


@lru_cache
def aligned() -> Aligned:
    return align_raw(raw(), SETTINGS)


def test_phases_are_brought_together() -> None:
    before = landmark_errors((stay,) * 16, raw().phases, raw().landmarks_mm)
    after = landmark_errors(aligned().to_phases, raw().phases, raw().landmarks_mm)
    assert before.mean() > 2.5
    assert after.mean() < 0.45 * before.mean()
    worst = before.mean(axis=1).argmax()
    assert after[worst].mean() < 0.5 * before[worst].mean()


def test_the_diffusion_scan_is_brought_onto_them() -> None:
    motion = (raw().diffusion,)
    before = landmark_errors((stay,), motion, raw().landmarks_mm).mean()
    after = landmark_errors((aligned().to_dwi,), motion, raw().landmarks_mm).mean()
    assert before > 4
    assert after < 0.5 * before


def test_enhancement_curves_become_smoother_and_nearly_as_smooth_as_without_motion() -> None:
    grid, liver = coarse_grid(raw())
    before, after, without_motion = (
        roughness(moved_series(raw(), grid, transforms), liver)
        for transforms in ((stay,) * 16, aligned().to_phases, tuple(map(known, raw().phases)))
    )
    assert after < before
    assert after - without_motion < 0.5 * (before - without_motion)


def test_nothing_folds_inside_the_liver() -> None:
    places = voxel_places(aligned().masks[LIVER], aligned().grid.affine)
    for transform in (*aligned().to_phases, aligned().to_dwi):
        assert jacobian_determinants(transform, places).min() > 0.5


def test_masks_and_what_is_told_fit() -> None:
    np.testing.assert_array_equal(aligned().masks[LIVER], raw().organ)
    np.testing.assert_array_equal(aligned().masks[LESION], raw().lesion)
    assert len(aligned().motion) == 17
    moved = [told["mean_displacement_mm"] for told in aligned().motion]
    true = [np.linalg.norm(phase.at(raw().landmarks_mm), axis=1).mean() for phase in raw().phases]
    assert np.corrcoef(moved[:-1], true)[0, 1] > 0.8
    assert all(told["smallest_jacobian_determinant"] > 0 for told in aligned().motion)


TINY = (16, 32, 32)
QUICK = LiverSettings(
    shape=TINY,
    spacing_mm=spacing_of(TINY),
    groupwise=GroupwiseSettings(lattice_mm=128.0, iterations=20, samples=200),
    diffusion=DiffusionSettings(iterations=3, samples=500),
    masks_from_phase=15,
)


def test_a_mask_that_was_drawn_on_a_phase_can_be_moved_with_it() -> None:
    phase = int(np.argmax([np.abs(motion.at(raw().landmarks_mm)).mean() for motion in raw().phases]))
    drawn = resample_mask(raw().organ, raw().dce_affine, aligned().grid, known(raw().phases[phase].inverse))
    moved = resample_mask(drawn, raw().dce_affine, aligned().grid, aligned().to_phases[phase])
    assert overlap(moved, raw().organ) > overlap(drawn, raw().organ) + 0.02


def overlap(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


WORDS = ["dataset=demo_detection", "dataset.phantom.n_training=0", "dataset.phantom.n_test=1"]


def written(out: Path) -> Path:
    """The table of a tiny patient with two visits, as the command writes it."""
    words = [*WORDS, f"dataset.phantom.shape={list(TINY)}", f"out={out}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return run(parse(compose("phantom_raw", words), RawPhantomRun))


@pytest.fixture(scope="module")
def raw_visits(tmp_path_factory: pytest.TempPathFactory) -> tuple[VisitFiles, ...]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("experiments.phantom_raw.raw_visit", raw_visit_once)
        return find(written(tmp_path_factory.mktemp("raw") / "livers"), ("DCE", "DWI")).visits


@pytest.fixture(scope="module")
def prepared(
    raw_visits: tuple[VisitFiles, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Prepared]]:
    folder = tmp_path_factory.mktemp("prepared")
    pipeline = pickle.loads(pickle.dumps(liver_pipeline(QUICK)))  # as it reaches another process
    return folder, pipeline(raw_visits, folder)


def test_raw_files_can_be_read_as_the_visits_that_they_are(raw_visits: tuple[VisitFiles, ...]) -> None:
    assert [(v.session, v.role.value) for v in raw_visits] == [
        ("baseline", "baseline"),
        ("follow_up", "follow_up"),
    ]
    dce, dwi = (nib.load(files[0]) for files in raw_visits[0].sequences)
    assert (dce.shape, dwi.shape) == ((32, 32, 16, 16), (21, 21, 13, 3))
    phantom = LiverPhantomSettings(n_training=0, n_test=1, shape=TINY)
    made = raw_visit_once(phantom, BreathingSettings(), "liver-test-000", "baseline")
    stored = np.asarray(dce.dataobj).transpose(2, 1, 0, 3)
    np.testing.assert_allclose(stored, made.dce, atol=1e-4 * made.dce.max())
    np.testing.assert_allclose(dwi.affine, made.dwi_affine, atol=1e-4)


def test_raw_files_are_written_to_an_empty_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="a folder with something in it"):
        written(tmp_path)


def test_outputs_are_named_as_a_derivatives_and_can_be_read(prepared: tuple[Path, list[Prepared]]) -> None:
    folder, visits = prepared
    home = folder / "sub-livertest000/ses-baseline/anat"
    start = "sub-livertest000_ses-baseline"
    files = {
        *(home / f"{start}_desc-preproc_{name}.nii.gz" for name in ("DCE", "DWI")),
        *(home / f"{start}_label-{name}_mask.nii.gz" for name in ("liver", "lesion")),
    }
    moving = [*(f"phase{number:02d}" for number in range(16)), "DWI"]
    transforms = {home / f"{start}_from-{name}_to-DCE_mode-image_xfm.txt" for name in moving}
    assert set(visits[0].files.files) == files
    assert files | transforms == set(home.iterdir())
    assert [visit.files.role.value for visit in visits] == ["baseline", "follow_up"]
    table = folder / "scans.csv"
    relative = [_relative(visit.files, folder) for visit in visits]
    write_scans(table, relative, ("DCE", "DWI"))
    dataset = TableDataset(path=str(table), sequences=("DCE", "DWI"), dce_channels=DCEChannels.BREATH_HOLDS)
    scan = normalise(dataset.raw_cohort().test[0].baseline.load())
    assert scan.shape == TINY
    assert scan.channels == (6, 3)
    np.testing.assert_allclose(scan.spacing_mm, QUICK.spacing_mm, rtol=1e-5)
    assert scan.lesion is not None
    assert scan.lesion.any()


def _relative(visit: VisitFiles, folder: Path) -> VisitFiles:
    first, second = (tuple(file.relative_to(folder) for file in files) for files in visit.sequences)
    assert visit.organ
    assert visit.lesion
    organ, lesion = visit.organ.relative_to(folder), visit.lesion.relative_to(folder)
    return replace(visit, sequences=(first, second), organ=organ, lesion=lesion)


def test_what_was_done_is_told_for_every_file(prepared: tuple[Path, list[Prepared]]) -> None:
    for visit in prepared[1]:
        home = visit.files.sequences[0][0].parent
        assert set(visit.steps) == set(home.iterdir()) > set(visit.files.files)
        told = json.loads(json.dumps({str(path): steps for path, steps in visit.steps.items()}))
        dce = told[str(visit.files.sequences[0][0])]
        assert len(dce["phases"]) == 16
        assert dce["settings"]["groupwise"]["iterations"] == 20
        dwi = told[str(visit.files.sequences[1][0])]
        assert dwi["smallest_jacobian_determinant"] > 0
        assert dwi["registration"] == "rigid, then B-splines"
        (phase,) = (steps for file, steps in told.items() if "from-phase03" in file)
        assert (phase["from"], phase["to"]) == ("phase03", "DCE")
        assert phase.items() >= dce["phases"][3].items()


def transform_of(visit: VisitFiles, moving: str) -> sitk.Transform:
    (file,) = visit.sequences[0][0].parent.glob(f"*_from-{moving}_to-DCE_mode-image_xfm.txt")
    return sitk.ReadTransform(str(file))


def test_raw_images_and_the_files_of_the_transforms_give_the_prepared_images(
    raw_visits: tuple[VisitFiles, ...], prepared: tuple[Path, list[Prepared]]
) -> None:
    raw_files, files = raw_visits[0], prepared[1][0].files
    liver = sitk.GetArrayFromImage(sitk.ReadImage(str(files.organ))) > 0
    for place, volume, moving in ((0, 3, "phase03"), (0, 15, "phase15"), (1, 2, "DWI")):
        before, after = (
            sitk.ReadImage(str(visit.sequences[place][0]))[..., volume] for visit in (raw_files, files)
        )
        expected = sitk.GetArrayFromImage(after)[liver]
        off = []
        for transform in (transform_of(files, moving), sitk.Transform()):
            found = sitk.Resample(before, after, transform, sitk.sitkBSpline)
            lowest, highest = np.percentile(sitk.GetArrayViewFromImage(before), (0, 100))
            within = sitk.GetArrayFromImage(found)[liver].clip(lowest, highest)
            off.append(np.abs(within - expected).max())
        assert off[0] < 1e-3 * expected.max()  # files hold integers of 16 bits
        assert off[1] > 0.05 * expected.max()


def test_a_mask_that_was_drawn_on_a_phase_is_moved_with_it(
    raw_visits: tuple[VisitFiles, ...], prepared: tuple[Path, list[Prepared]]
) -> None:
    drawn, moved = (sitk.ReadImage(str(visit.organ)) for visit in (raw_visits[0], prepared[1][0].files))
    to_phase = transform_of(prepared[1][0].files, "phase15")
    share = sitk.Resample(sitk.Cast(drawn, sitk.sitkFloat32), moved, to_phase, sitk.sitkLinear)
    expected = sitk.GetArrayFromImage(share) >= 0.5
    np.testing.assert_array_equal(sitk.GetArrayFromImage(moved) > 0, expected)
    assert (expected != sitk.GetArrayFromImage(drawn)).any()


def test_without_masks_images_alone_come_out_and_the_diffusion_scan_is_not_deformed(
    raw_visits: tuple[VisitFiles, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dce,) = raw_visits[0].sequences[0]
    few = changed(dce, tmp_path, lambda image: image.slicer[..., ::5])
    bare = with_sequence(replace(raw_visits[0], organ=None, lesion=None), 0, few)
    (visit,) = liver_pipeline(replace(QUICK, masks_from_phase=None))([bare], tmp_path / "prepared")
    assert visit.files.organ is visit.files.lesion is None
    assert len(list((tmp_path / "prepared").rglob("*.nii.gz"))) == 2
    assert visit.steps[visit.files.sequences[1][0]]["registration"] == "rigid"
    assert transform_of(visit.files, "DWI").IsLinear()
    assert "DWI: no mask of the liver, so registered by a rigid transform alone" in caplog.text


def changed(path: Path, folder: Path, change: Callable[[nib.Nifti1Image], nib.Nifti1Image]) -> Path:
    """A copy of a file with something else in it."""
    copy = folder / path.name
    nib.save(change(nib.load(path)), copy)
    return copy


def values(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


def with_sequence(visit: VisitFiles, place: int, *files: Path) -> VisitFiles:
    sequences = [files if at == place else given for at, given in enumerate(visit.sequences)]
    return replace(visit, sequences=(sequences[0], sequences[1]))


def test_visits_with_other_numbers_of_phases_are_refused(
    raw_visits: tuple[VisitFiles, ...], tmp_path: Path
) -> None:
    (dce,) = raw_visits[1].sequences[0]
    fewer = changed(dce, tmp_path, lambda image: image.slicer[..., :15])
    with pytest.raises(InputError, match="15 volumes of DCE; expected 16, as in the subject's first visit"):
        liver_pipeline(QUICK)([raw_visits[0], with_sequence(raw_visits[1], 0, fewer)], tmp_path)
    one = changed(dce, tmp_path, lambda image: image.slicer[..., 0])
    with pytest.raises(InputError, match="1 volumes of DCE; expected a series of phases"):
        liver_pipeline(QUICK)([with_sequence(raw_visits[1], 0, one)], tmp_path)


def test_phases_on_other_grids_are_refused(raw_visits: tuple[VisitFiles, ...], tmp_path: Path) -> None:
    (dce,) = raw_visits[0].sequences[0]
    other = changed(dce, tmp_path, lambda image: image.slicer[:, :, 1:, :2])
    with pytest.raises(InputError, match="Give the volumes as they were acquired, on one grid"):
        liver_pipeline(QUICK)([with_sequence(raw_visits[0], 0, dce, other)], tmp_path)


def test_a_mask_on_another_grid_is_resampled_only_if_asked(
    raw_visits: tuple[VisitFiles, ...], tmp_path: Path
) -> None:
    assert raw_visits[0].organ is not None
    other = changed(raw_visits[0].organ, tmp_path, lambda image: image.slicer[:, 1:])
    visit = replace(raw_visits[0], organ=other)
    with pytest.raises(InputError, match="resample the mask on the grid of the images"):
        liver_pipeline(QUICK)([visit], tmp_path)
    _, _, masks = read_examination(visit, resample_masks=True)
    _, _, given = read_examination(raw_visits[0], resample_masks=False)
    assert masks[LIVER].shape == given[LIVER].shape
    assert overlap(masks[LIVER], given[LIVER]) > 0.99


def test_an_empty_liver_is_refused(raw_visits: tuple[VisitFiles, ...], tmp_path: Path) -> None:
    assert raw_visits[0].organ is not None
    empty = changed(
        raw_visits[0].organ, tmp_path, lambda image: nib.Nifti1Image(0 * values(image), image.affine)
    )
    with pytest.raises(InputError, match="an empty mask"):
        liver_pipeline(QUICK)([replace(raw_visits[0], organ=empty)], tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shape": (8, 16, 16)}, "the grid of the outputs would cut"),
        ({"masks_from_phase": 16}, "masks_from_phase: found volume 16; expected one of the 16"),
        ({"diffusion": DiffusionSettings(reference=3)}, "diffusion.reference: found volume 3"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused(
    wrong: dict[str, Any], said: str, raw_visits: tuple[VisitFiles, ...], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        liver_pipeline(replace(QUICK, **wrong))(raw_visits[:1], tmp_path)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (LiverSettings, {"spacing_mm": (2.0, 0.0, 1.0)}),
        (LiverSettings, {"masks_from_phase": -1}),
        (GroupwiseSettings, {"lattice_mm": 0.0}),
        (DiffusionSettings, {"iterations": 0}),
    ],
)
def test_settings_that_cannot_be_are_refused(kind: type, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        kind(**wrong)
