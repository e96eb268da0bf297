"""Organ masks through the commands: a network learns from those that are given, and makes the others."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from experiments import finetune, inspect, organ, train_base
from experiments.config import FinetuneRun, TrainBaseRun
from experiments.datasets import load_cohort
from experiments.inspect import InspectRun
from experiments.organ import OrganRun
from experiments.organ_scans import organ_cohort
from experiments.parsing import config_hash
from experiments.training_slices import training_slices
from psft_jax.data.nifti import read_volume
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import RESULTS, read_results
from psft_jax.phantoms.liver import LiverPhantomSettings, liver_cohort
from psft_jax.sampling.slices import all_slices
from psft_jax.scan import Cohort, OrganTask, Scan, Task
from psft_jax.training.saved import load_base
from tests.integration.commands import CONF, composed, tiny

SETTINGS = LiverPhantomSettings(n_training=2, n_test=2, shape=(16, 48, 48))
UNMASKED = ("liver-train-001_baseline", "liver-test-000_follow_up")
NETWORK = ("model=demo", "model.pnet.width=4", "model.pnet.dilations=[[1,1],[2,2]]", "train=organ_small")
TRAINING = ("train.iterations=4", "train.validate_every=2", "train.patches.size=32")
ANYWHERE = "task.threshold=0.001"
"""A network that was hardly trained reaches it somewhere."""


def write_files(folder: Path, scan: Scan) -> list[str]:
    """A scan as files in LAS order, and their cells of a table."""
    affine = scan.affine @ np.diag([-1.0, 1, 1, 1])
    arrays = {
        "dce": scan.sequences[0],
        "dwi": scan.sequences[1],
        "organ": scan.organ.astype(np.uint8),
        "lesion": scan.lesion.astype(np.uint8),
    }
    for name, array in arrays.items():
        in_file = np.moveaxis(array[:, :, ::-1], (0, 1, 2), (2, 1, 0))
        nib.save(nib.Nifti1Image(in_file, affine), folder / f"{scan.name}_{name}.nii.gz")
    cells = [f"{scan.name}_{name}.nii.gz" for name in arrays]
    if scan.name in UNMASKED:
        cells[2] = ""
    return cells


@pytest.fixture(scope="module")
def livers() -> dict[str, Scan]:
    """By their names, those of the training patients first."""
    return {scan.name: scan for scan in all_scans(liver_cohort(SETTINGS))}


@pytest.fixture(scope="module")
def scans(livers: dict[str, Scan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of livers, of which one for training and one follow-up have no organ mask."""
    folder = tmp_path_factory.mktemp("livers é")
    rows = ["subject,session,role,DCE,DWI,organ,lesion"]
    for scan in livers.values():
        role = "training" if "train" in scan.subject else scan.session
        rows.append(",".join([scan.subject, scan.session, role, *write_files(folder, scan)]))
    (folder / "scans.csv").write_text("\n".join(rows))
    return folder / "scans.csv"


def words(table: Path, out: Path) -> list[str]:
    return ["dataset=table_liver", f"dataset.path='{table}'", "dataset.provenance=phantom", f"out={out}"]


@pytest.fixture(scope="module")
def trained(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    more = ("task=organ", *NETWORK, *TRAINING, "tracking=off")
    return train_base.run(composed(TrainBaseRun, *words(scans, out), *more))


@pytest.fixture(scope="module")
def done(scans: Path, trained: Path) -> Path:
    return masks(scans, trained)


def masks(table: Path, base: Path, *more: str) -> Path:
    return organ.run(composed(OrganRun, *words(table, base.parents[1]), f"base={base}", ANYWHERE, *more))


def test_a_dataset_does_not_take_the_task_away() -> None:
    for kind, more in ((TrainBaseRun, ["task=organ"]), (OrganRun, ["base=x"])):
        for dataset in ("table_liver", "phantom_liver", "phantom_brain", "bids"):
            assert composed(kind, f"dataset={dataset}", *more).task.kind is OrganTask.ORGAN


@pytest.mark.parametrize(
    ("kind", "more", "named"),
    [
        (
            FinetuneRun,
            ["base=x", "task=organ"],
            "task.kind: found 'organ'; expected 'segmentation' or 'detection'",
        ),
        (OrganRun, ["base=x", "task=detection"], "task.kind: found 'detection'"),
        (TrainBaseRun, ["task=organ", "task.threshold=1.5"], "task.threshold: found 1.5"),
        (TrainBaseRun, ["task=organ", "+task.opening=true"], "task.opening: found a key that nothing reads"),
    ],
)
def test_what_is_no_organ_task_is_refused(kind: type, more: Sequence[str], named: str) -> None:
    with pytest.raises(InputError, match=named.replace(".", r"\.")):
        composed(kind, *more)


def test_all_slices_of_the_visits_with_a_mask_are_learnt_from(
    scans: Path, trained: Path, livers: dict[str, Scan]
) -> None:
    record, _ = load_base(trained)
    assert (record.task, record.training_subjects) == (OrganTask.ORGAN, ("liver-train-000",))
    assert (record.sequences, record.channels) == (("DCE", "DWI"), (6, 3))
    config = composed(TrainBaseRun, *words(scans, trained), "task=organ")
    slices = training_slices(organ_cohort(config.dataset), config.hardware, trained / "no", all_slices)
    np.testing.assert_array_equal(slices.lesion, livers["liver-train-000_baseline"].organ)
    assert slices.boxes.tolist() == [[0, 48, 0, 48]] * 16


def test_visits_without_a_mask_get_one_on_their_own_grid(scans: Path, done: Path) -> None:
    made = sorted(path.name for path in (done / "masks").glob("*.nii.gz"))
    assert made == sorted(f"{name}_organ.nii.gz" for name in UNMASKED)
    for name in UNMASKED:
        path = done / "masks" / f"{name}_organ.nii.gz"
        image, dce = nib.load(path), nib.load(scans.parent / f"{name}_dce.nii.gz")
        np.testing.assert_array_equal(image.affine, dce.affine)
        assert image.shape == dce.shape[:3]
        assert path.with_name(f"{name}_organ.png").stat().st_size > 10_000
        told = json.loads(path.with_name(f"{name}_organ.json").read_text())
        assert [Path(source).name for source in told["Sources"]] == [
            f"{name}_dce.nii.gz",
            f"{name}_dwi.nii.gz",
        ]
        voxels = int(read_volume(path).data.sum())
        assert told["Measures"] == {
            "volume_ml": pytest.approx(voxels * np.prod(dce.header.get_zooms()[:3]) / 1e3)
        }
        assert told["Network"]["Provenance"] == "phantom"


def test_masks_that_were_given_are_compared_with_and_kept(scans: Path, done: Path) -> None:
    results = read_results(done / RESULTS.file)
    dsc = results[results["metric"] == "dsc"]
    compared = [
        ("liver-test-000", "baseline"),
        ("liver-test-001", "baseline"),
        ("liver-test-001", "follow_up"),
    ]
    assert list(zip(dsc["patient"], dsc["session"], strict=True)) == compared
    assert (results["task"].unique().tolist(), len(results)) == (["organ"], 3 * 5 + 2)
    for (patient, session), value in zip(compared, dsc["value"], strict=True):
        made = read_volume(done / "compared" / f"{patient}_{session}_organ.nii.gz").data > 0
        given = read_volume(scans.parent / f"{patient}_{session}_organ.nii.gz").data > 0
        assert value == pytest.approx(2 * (made & given).sum() / (made.sum() + given.sum()))


def test_the_table_serves_the_next_command(done: Path, livers: dict[str, Scan]) -> None:
    cohort = load_cohort(composed(TrainBaseRun, *words(done / "scans.csv", done)).dataset)
    assert [patient.subject for patient in cohort.training] == ["liver-train-000", "liver-train-001"]
    read = {scan.name: scan for scan in all_scans(cohort)}
    assert list(read) == list(livers)
    for name, scan in read.items():
        expected = livers[name].organ
        if name in UNMASKED:
            expected = read_volume(done / "masks" / f"{name}_organ.nii.gz").data > 0
        np.testing.assert_array_equal(scan.organ, expected)
        np.testing.assert_array_equal(scan.lesion, livers[name].lesion)


def all_scans(cohort: Cohort) -> list[Scan]:
    return [visit.load() for patient in (*cohort.training, *cohort.test) for visit in patient.visits]


def test_a_mask_that_the_user_draws_takes_the_place_of_ours(scans: Path, trained: Path, done: Path) -> None:
    """And what has been made of the same files is not made again."""
    rows = scans.read_text().splitlines()
    place = next(n for n, row in enumerate(rows) if row.startswith("liver-train-001"))
    cells = rows[place].split(",")
    cells[5] = "liver-train-001_baseline_organ.nii.gz"
    table = scans.with_name("drawn.csv")
    table.write_text("\n".join([*rows[:place], ",".join(cells), *rows[place + 1 :]]))
    first = masks(table, trained, "name=drawn")
    made = sorted(first.glob("*/*.nii.gz"))
    assert [path.parent.name for path in made] == ["compared"] * 3 + ["masks"]
    written = [path.stat().st_mtime_ns for path in made]
    assert masks(table, trained, "name=drawn") == first
    assert [path.stat().st_mtime_ns for path in made] == written
    named = pd.read_csv(first / "scans.csv").set_index(["subject", "session"])["organ"]
    assert named["liver-train-001", "baseline"] == str(scans.with_name(cells[5]))
    assert named["liver-test-000", "follow_up"] == "masks/liver-test-000_follow_up_organ.nii.gz"


@pytest.mark.parametrize("resample", [False, True])
def test_the_words_that_it_ends_with_read_the_table(
    scans: Path, done: Path, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, resample: bool
) -> None:
    caplog.set_level("INFO")
    more = ["dataset.resample_masks=true", "name=resampled"] if resample else []
    masks(scans, trained, *more)
    (line,) = re.findall(r"all visits with masks: \S*python\S* -m experiments\.inspect (.*)", caplog.text)
    config = composed(InspectRun, *shlex.split(line), f"out={tmp_path}", "name=looked", "per_sheet=0")
    assert config.task.kind is Task.DETECTION
    assert config.dataset.resample_masks == resample
    inspect.run(config)
    assert len(pd.read_csv(tmp_path / "inspect" / "looked" / "inspect.csv")) == 6


def test_one_broken_visit_stops_no_other(
    scans: Path, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in scans.parent.glob("*.nii.gz"):
        (tmp_path / file.name).symlink_to(file)
    table = tmp_path / "scans.csv"
    table.write_text(scans.read_text())
    broken = tmp_path / "liver-test-000_follow_up_dwi.nii.gz"
    whole = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(whole[:-200])
    with pytest.raises(InputError, match="visits that failed: liver-test-000_follow_up"):
        masks(table, trained, "name=broken")
    assert "liver-test-000_follow_up failed" in caplog.text
    folder = trained.parents[1] / "organ" / "broken"
    kept = folder / "masks" / "liver-train-001_baseline_organ.nii.gz"
    written = kept.stat().st_mtime_ns
    left = pd.read_csv(folder / "scans.csv")["subject"].tolist()
    assert left == ["liver-train-000", "liver-train-001", "liver-test-001", "liver-test-001"]
    broken.write_bytes(whole)
    masks(table, trained, "name=broken")
    assert kept.stat().st_mtime_ns == written
    assert len(pd.read_csv(folder / "scans.csv")) == 6

    # A corrected mask stays as it is, also where its scan changes.
    corrected = save_changed(kept, lambda values: values[::-1])
    changed = tmp_path / "liver-train-001_baseline_dwi.nii.gz"
    save_changed(changed, lambda values: values + 1)
    with pytest.raises(InputError, match="visits that failed: liver-train-001_baseline"):
        masks(table, trained, "name=broken")
    assert "found a mask that was corrected by hand" in caplog.text
    assert kept.read_bytes() == corrected


def save_changed(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Write an image with other values in place of what may be a link, and return its bytes."""
    image = nib.load(path)
    values = change(np.asanyarray(image.dataobj))
    path.unlink()
    nib.save(nib.Nifti1Image(values, image.affine), path)
    return path.read_bytes()


def test_where_nothing_is_found_there_is_no_mask(
    scans: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a mask to compare with it counts as a DSC of 0."""
    monkeypatch.setattr("experiments.organ_visit.organ_mask", lambda p, threshold: np.zeros(p.shape, bool))
    with pytest.raises(InputError, match=f"visits that failed: {', '.join(UNMASKED)}"):
        masks(scans, trained, "name=nothing")
    results = read_results(trained.parents[1] / "organ" / "nothing" / RESULTS.file)
    assert results[results["metric"] == "dsc"]["value"].tolist() == [0.0, 0.0, 0.0]
    assert results[results["metric"] == "h95_mm"]["value"].isna().all()


def test_without_a_mask_to_learn_from_there_is_nothing_to_train(scans: Path, tmp_path: Path) -> None:
    rows = [row.split(",") for row in scans.read_text().splitlines()]
    table = scans.with_name("none.csv")
    table.write_text("\n".join(",".join([*row[:5], row[5] * (row[2] != "training"), row[6]]) for row in rows))
    config = composed(TrainBaseRun, *words(table, tmp_path), "task=organ", *NETWORK, *TRAINING)
    with pytest.raises(InputError, match="found no training visit with an organ mask"):
        train_base.run(config)


def test_a_network_for_organs_finds_no_lesions(trained: Path, scans: Path) -> None:
    with pytest.raises(InputError, match="a base CNN for organ with"):
        finetune.run(composed(FinetuneRun, *words(scans, trained.parents[1]), f"base={trained}"))


def test_a_network_counts_by_what_it_is(trained: Path) -> None:
    ways = [trained, f"{trained}/", trained / ".." / trained.name]
    assert len({config_hash(composed(OrganRun, f"base={way}")) for way in ways}) == 1


def test_generated_scans_are_compared_with_and_make_no_table(tmp_path: Path) -> None:
    run = [*tiny("phantom_brain", tmp_path), "dataset.phantom.n_training=1", "dataset.phantom.n_test=1"]
    base = train_base.run(composed(TrainBaseRun, *run, "task=organ", *NETWORK, *TRAINING))
    folder = organ.run(composed(OrganRun, *run, f"base={base}"))
    assert len(list((folder / "compared").glob("*_organ.png"))) == 2
    assert not (folder / "masks").exists()
    assert not (folder / "scans.csv").exists()
    results = read_results(folder / RESULTS.file)
    assert results["metric"].value_counts()["dsc"] == 2


PAGE = (CONF.parent / "docs" / "organ_masks.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")


@pytest.mark.parametrize("line", [line for line in CODE.splitlines() if line])
def test_the_commands_of_the_page_compose(line: str) -> None:
    interpreter, _, module, *given = shlex.split(line)
    assert interpreter == ".venv/bin/python"
    kinds = {"train_base": TrainBaseRun, "organ": OrganRun, "inspect": InspectRun}
    composed(kinds[module.removeprefix("experiments.")], *given)
