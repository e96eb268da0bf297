"""The whole path in small, for both tasks, through the functions behind the commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from experiments import finetune, heads, runs, train_base
from experiments.datasets import load_cohort
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import COLUMNS, read_results
from psft_jax.files import refused_by_disk
from psft_jax.inference.postprocess import postprocess
from psft_jax.scan import Task
from psft_jax.tracking import read_metrics
from psft_jax.training.saved import load_base
from tests.integration.commands import tiny_finetuning, tiny_training

Trained = tuple[str, Path, Path]


@pytest.fixture(scope="session")
def tuned(trained: Trained) -> tuple[str, Path, Path, Path]:
    """A finished fine-tuning of two patients on top of the trained base."""
    dataset, out, base = trained
    return dataset, out, base, finetune.run(tiny_finetuning(dataset, out, base))


def test_base_training_leaves_its_record(trained: Trained) -> None:
    dataset, _, base = trained
    assert {"config.yaml", "metrics.jsonl", "base.json", "network", "done.json"} <= {
        path.name for path in base.iterdir()
    }
    metrics = read_metrics(base / "metrics.jsonl")
    assert [line["step"] for line in metrics if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in metrics if "validation_loss" in line] == [3, 6]
    assert (base / "figures" / "loss.png").stat().st_size > 5_000
    record, _ = load_base(base)
    assert record.provenance.value == "phantom"
    assert len(record.training_subjects) == 2
    assert record.channels == {"phantom_brain": (1, 1), "phantom_liver": (6, 3)}[dataset]


def test_a_finished_run_is_skipped_and_an_other_configuration_refused(trained: Trained) -> None:
    dataset, out, base = trained
    before = (base / "metrics.jsonl").stat().st_mtime_ns
    assert train_base.run(tiny_training(dataset, out)) == base
    assert (base / "metrics.jsonl").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="a run with another configuration"):
        train_base.run(tiny_training(dataset, out, "seed=5", f"name={base.name}"))


def test_devices_that_are_not_there_are_refused_before_anything_is_written(trained: Trained) -> None:
    dataset, out, base = trained
    config = tiny_finetuning(dataset, out, base, "hardware.devices=2", "name=two_devices")
    with pytest.raises(InputError, match=r"hardware\.devices: found 2 devices"):
        finetune.run(config)
    assert not (out / "finetune" / "two_devices").exists()


@pytest.mark.parametrize(("together", "told"), [(1, True), (3, True), (4, False)])
def test_devices_that_cannot_share_the_patients_are_told_of(
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    together: int,
    told: bool,
) -> None:
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    dataset, out, base = trained
    runs.inputs_of(
        tiny_finetuning(dataset, out, base, "hardware.devices=2", f"hardware.patients_at_once={together}")
    )
    assert ("cannot be shared by 2 devices: fine-tuning uses 1" in caplog.text) == told


def test_results_are_tidy_and_complete(tuned: tuple[str, Path, Path, Path]) -> None:
    dataset, out, base, run = tuned
    results = read_results(run / "results.csv")
    assert tuple(results.columns) == COLUMNS
    assert set(results["variant"]) == {"base", tiny_finetuning(dataset, out, base).finetune.variant}
    assert results["patient"].nunique() == 2
    counts = results.groupby(["patient", "variant"]).size()
    assert counts.nunique() == 1
    task = Task.DETECTION if dataset == "phantom_liver" else Task.SEGMENTATION
    assert set(results["task"]) == {task.value}
    wanted = {"tpr", "fpc", "f1"} if task is Task.DETECTION else {"dsc", "avd_percent", "h95_mm", "max_sd"}
    assert wanted <= set(results["metric"])


def test_volumes_lie_on_the_scans_grid_and_agree_with_each_other(
    tuned: tuple[str, Path, Path, Path],
) -> None:
    dataset, out, base, run = tuned
    config = tiny_finetuning(dataset, out, base)
    scan = load_cohort(config.dataset).test[0].follow_up.load()
    folder = run / "patients" / scan.subject
    for variant in ("base", "fine-tuned"):
        images = {
            name: nib.load(folder / variant / f"{scan.name}_{name}.nii.gz")
            for name in ("mask", "probability", "mean", "sd")
        }
        for image in images.values():
            assert image.shape == scan.shape[::-1]
            np.testing.assert_allclose(image.affine, scan.affine, atol=1e-5)
        arrays = {name: np.asarray(image.dataobj).T for name, image in images.items()}
        assert not arrays["probability"][~scan.organ].any()
        assert not arrays["sd"][~scan.organ].any()
        assert (arrays["sd"][scan.organ] > 0).any()
        again = postprocess(arrays["probability"].astype(np.float32), scan.organ, opening=config.task.opening)
        np.testing.assert_array_equal(arrays["mask"].astype(bool), again)
        results = read_results(run / "results.csv")
        is_base = results["variant"] == "base"
        of_this = results[(results["patient"] == scan.subject) & (is_base == (variant == "base"))]
        volume = float(of_this.set_index("metric")["value"]["volume_ml"])
        assert volume == pytest.approx(np.count_nonzero(again) * scan.voxel_volume_ml)


def test_pictures_and_report_are_there(tuned: tuple[str, Path, Path, Path]) -> None:
    dataset, _, _, run = tuned
    page = (run / "report.html").read_text()
    assert "PHANTOM" in page
    for folder in (run / "patients").iterdir():
        assert folder.name in page
        assert (folder / "overlay.png").stat().st_size > 10_000
        assert (folder / "sd.png").stat().st_size > 10_000
        assert (folder / "objects.png").exists() == (dataset == "phantom_liver")
        with np.load(folder / "preview.npz") as preview:
            assert preview["image"].max() <= 1.0
            assert {f"mask:{name}" for name in ("base", "fine-tuned", "reference")} <= set(preview)
            assert preview["sd:base"].shape == preview["mask:base"].shape == preview["image"].shape


def test_only_the_last_two_layers_were_tuned(tuned: tuple[str, Path, Path, Path]) -> None:
    from psft_jax.training.checkpoints import restore_tree

    _, _, base, run = tuned
    variables = load_base(base)[1]
    for folder in (run / "patients").iterdir():
        after = restore_tree(folder / "network", variables._asdict(), what="the tuned network")
        paths = jax.tree_util.tree_flatten_with_path(after)[0]
        before = jax.tree.leaves(variables._asdict())
        changed = {
            jax.tree_util.keystr(path, simple=True, separator="/")
            for (path, new), old in zip(paths, before, strict=True)
            if np.asarray(new).tobytes() != np.asarray(old).tobytes()
        }
        layers = {f"params/head/conv{n}/{leaf}" for n in (1, 2) for leaf in ("kernel", "bias")}
        assert changed == layers


def test_interrupted_finetuning_goes_on_with_the_missing_patient(
    tuned: tuple[str, Path, Path, Path], tmp_path: Path
) -> None:
    dataset, _, base, run = tuned
    copied = tmp_path / "finetune" / "again"
    shutil.copytree(run, copied)
    for name in ("done.json", "results.csv"):
        (copied / name).unlink()
    kept, lost = sorted((copied / "patients").iterdir())
    (lost / "results.csv").unlink()  # an interruption in the middle of this patient
    before = (kept / "results.csv").stat().st_mtime_ns
    finetune.run(tiny_finetuning(dataset, tmp_path, base, "name=again"))
    assert (kept / "results.csv").stat().st_mtime_ns == before
    assert (copied / "results.csv").read_text() == (run / "results.csv").read_text()


def test_one_failing_patient_loses_no_other(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, base = trained
    config = tiny_finetuning(dataset, tmp_path, base)
    first, second = (patient.subject for patient in load_cohort(config.dataset).test)
    whole = heads.finetune

    def broken(network: Any, base: Any, name: str, *args: Any, **named: Any) -> Any:
        if name == first:
            raise InputError(name, found="a", expected="b", remedy="c")
        return whole(network, base, name, *args, **named)

    monkeypatch.setattr(heads, "finetune", broken)
    with pytest.raises(InputError, match=rf"patients that failed: .*: {first}; expected"):
        finetune.run(config)
    (run,) = (path for path in (tmp_path / "finetune").iterdir() if path.is_dir())
    assert set(read_results(run / "results.csv")["patient"]) == {second}
    assert not (run / "done.json").exists()
    monkeypatch.undo()
    finetune.run(config)
    assert set(read_results(run / "results.csv")["patient"]) == {first, second}


def without_reference(load: Callable[..., Any]) -> Callable[..., Any]:
    """A cohort whose follow-ups nobody has annotated."""
    from dataclasses import replace

    def loaded(dataset: Any) -> Any:
        def blank(scan: Any) -> Any:
            return replace(scan, lesion=None) if scan.session == "follow_up" else scan

        return load(dataset).map(blank)

    return loaded


def test_a_follow_up_without_annotation_is_quantified(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, base = trained
    monkeypatch.setattr(runs, "load_cohort", without_reference(load_cohort))
    run = finetune.run(tiny_finetuning(dataset, tmp_path, base))
    results = read_results(run / "results.csv")
    assert set(results["metric"]) == {"n_objects", "volume_ml", "max_sd"}
    assert results["value"].notna().all()


def test_a_base_of_the_other_task_is_refused(trained: Trained, tmp_path: Path) -> None:
    dataset, _, base = trained
    other = {"phantom_brain": "phantom_liver", "phantom_liver": "phantom_brain"}[dataset]
    with pytest.raises(InputError, match="a base CNN for"):
        finetune.run(tiny_finetuning(other, tmp_path, base))


def test_a_test_patient_that_the_base_has_seen_is_refused(trained: Trained, tmp_path: Path) -> None:
    dataset, _, base = trained
    config = tiny_finetuning(dataset, tmp_path, base)
    seen = load_cohort(config.dataset).test[0].subject
    copied = tmp_path / "base"
    shutil.copytree(base, copied)
    record = json.loads((copied / "base.json").read_text())
    record["training_subjects"].append(seen)
    (copied / "base.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"test patients that this base CNN was trained on: {seen}"):
        finetune.run(tiny_finetuning(dataset, tmp_path, copied))


def test_an_unknown_patient_is_refused(trained: Trained, tmp_path: Path) -> None:
    dataset, _, base = trained
    with pytest.raises(InputError, match="nobody, not among the test patients"):
        finetune.run(tiny_finetuning(dataset, tmp_path, base, "patients=[nobody]"))


def test_overwriting_replaces_a_run_when_the_new_one_is_finished(
    tuned: tuple[str, Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, base, run = tuned
    shutil.copytree(run, tmp_path / "finetune" / "mine")
    old = (run / "results.csv").read_text()
    again = tiny_finetuning(dataset, tmp_path, base, "name=mine", "overwrite=true", "seed=4")

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "quantify", broken)
    for _ in range(2):  # interrupted twice
        with pytest.raises(KeyboardInterrupt):
            finetune.run(again)
        assert (tmp_path / "finetune" / "mine.replaced" / "results.csv").read_text() == old
    monkeypatch.undo()
    finetune.run(again)
    assert not (tmp_path / "finetune" / "mine.replaced").exists()
    assert set(read_results(tmp_path / "finetune" / "mine" / "results.csv")["seed"]) == {4}


def test_wrong_inputs_leave_an_earlier_run_as_it_was(
    tuned: tuple[str, Path, Path, Path], tmp_path: Path
) -> None:
    dataset, _, _, run = tuned
    shutil.copytree(run, tmp_path / "finetune" / "mine")
    with pytest.raises(InputError, match="no such folder"):
        finetune.run(tiny_finetuning(dataset, tmp_path, Path("nowhere"), "name=mine", "overwrite=true"))
    assert (tmp_path / "finetune" / "mine" / "results.csv").exists()


def test_a_base_that_was_trained_again_is_another_base(
    tuned: tuple[str, Path, Path, Path], tmp_path: Path
) -> None:
    dataset, _, original, _ = tuned
    base = tmp_path / "train_base" / "base"
    shutil.copytree(original, base)
    config = tiny_finetuning(dataset, tmp_path, base, "name=mine", "finetune.settings.iterations=0")
    run = finetune.run(config)
    results = read_results(run / "results.csv").drop(columns="variant")
    # Without an iteration the fine-tuned network is the base network.
    half = len(results) // 4
    by_patient = [results.iloc[n * half : (n + 1) * half].reset_index(drop=True) for n in range(4)]
    assert by_patient[0].equals(by_patient[1])
    assert by_patient[2].equals(by_patient[3])
    shutil.rmtree(base)
    train_base.run(tiny_training(dataset, tmp_path, "name=base", "seed=7"))
    with pytest.raises(InputError, match="a run with another base CNN"):
        finetune.run(config)


def test_a_cohort_without_training_patients_is_refused(trained: Trained, tmp_path: Path) -> None:
    dataset, _, _ = trained
    with pytest.raises(InputError, match="no training patient"):
        train_base.run(tiny_training(dataset, tmp_path, "dataset.phantom.n_training=0"))


def test_a_full_disk_is_told_in_a_sentence(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, _ = trained
    out = tmp_path / "out"
    (out / "train_base").mkdir(parents=True)
    (out / "train_base" / "full").mkdir()
    (out / "train_base" / "full" / "metrics.jsonl").symlink_to("/dev/full")
    monkeypatch.setattr("psft_jax.tracking.Tracker.rewind", lambda *_: None)
    with pytest.raises(InputError, match="a full disk"), refused_by_disk(out):
        train_base.run(tiny_training(dataset, out, "name=full"))


def test_two_processes_do_not_write_to_one_run(tuned: tuple[str, Path, Path, Path]) -> None:
    dataset, out, base, run = tuned
    with (
        FileLock(run.with_name(f".{run.name}.lock")),
        pytest.raises(InputError, match="another process at work"),
    ):
        finetune.run(tiny_finetuning(dataset, out, base))
