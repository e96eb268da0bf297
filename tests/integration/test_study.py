"""Ablations as multiruns, and all of them in one process: the same runs, and the same numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import initialize_config_dir

from experiments import finetune, heads, runs
from experiments.config import FinetuneRun, StudyRun, TunedOn
from experiments.datasets import load_cohort
from experiments.heads import other_visit
from experiments.launch import register_resolvers
from experiments.study import jobs_of
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import TABLES, read_table
from psft_jax.scan import Cohort, Patient, Task
from psft_jax.training.weighting import Weighting
from tests.integration.commands import CONF, composed, tiny

Trained = tuple[str, Path, Path]

ABLATIONS = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml"))
QUICK = ("finetune.settings.iterations=3", "finetune.settings.patches.size=32")


def planned(*words: str) -> list[FinetuneRun]:
    """The runs that a study with these words consists of."""
    study = composed(StudyRun, *words)
    register_resolvers(FinetuneRun, "finetune")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return jobs_of(study, words)


def settings_of(ablation: str, *words: str) -> list[str]:
    jobs = planned("base=x", *words, f"ablations=[{ablation}]")
    return [job.finetune.variant.removeprefix("fine-tuned").strip(" ()") for job in jobs]


def test_there_is_a_file_for_every_experiment() -> None:
    assert ABLATIONS == ["controls", "iterations", "scope", "slices", "uncertainty", "weighting"]


def test_iterations() -> None:
    assert settings_of("iterations") == [
        "0 iterations",
        "50 iterations",
        "",
        "500 iterations",
        "1000 iterations",
    ]


def test_slices() -> None:
    assert settings_of("slices") == [
        "1 slice of the organ",
        "2 slices of the organ",
        "all organ slices",
        "1 slice of those with lesions",
        "2 slices of those with lesions",
        "",
    ]


@pytest.mark.parametrize(("dataset", "task"), [("mslesseg", "segmentation"), ("phantom_liver", "detection")])
def test_weighting_takes_the_tasks_own_scheme(dataset: str, task: str) -> None:
    assert settings_of("weighting", f"dataset={dataset}") == ["", f"weighted for {task}"]
    jobs = planned("base=x", f"dataset={dataset}", "ablations=[weighting]")
    assert [job.finetune.settings.weighting for job in jobs] == [Weighting.NONE, Weighting(task)]
    assert {job.task.kind for job in jobs} == {Task(task)}


def test_scope() -> None:
    found = settings_of("scope")
    assert found[:3] == ["", "scope head_bn", "scope all"]
    assert found[3] == "class weight 1, scope all, linear labels, first unrotated"


def test_controls_come_with_and_without_the_class_weight() -> None:
    assert settings_of("controls") == [
        "",
        "class weight 1",
        "not tuned, threshold tuned",
        "on the training patients",
        "on the training patients, class weight 1",
        "on another patient",
        "on another patient, class weight 1",
    ]


def test_only_the_uncertainty_draws_samples() -> None:
    samples = {
        ablation: {job.monte_carlo_samples for job in planned("base=x", f"ablations=[{ablation}]")}
        for ablation in ABLATIONS
    }
    assert samples.pop("uncertainty") == {25}
    assert all(found == {0} for found in samples.values())


def test_a_run_that_several_ablations_ask_for_is_one_run() -> None:
    jobs = planned("base=x", "seeds=[0,1]")
    assert len(jobs) == 2 * 21
    assert len({(job.finetune.variant, job.monte_carlo_samples, job.seed) for job in jobs}) == len(jobs)


def test_words_of_the_command_line_hold_for_every_run() -> None:
    jobs = planned("base=x", "finetune.settings.learning_rate=0.01", "monte_carlo_samples=5", "seeds=[4]")
    assert {job.finetune.settings.learning_rate for job in jobs} == {0.01}
    assert {job.monte_carlo_samples for job in jobs} == {5}
    assert {job.seed for job in jobs} == {4}


@pytest.mark.parametrize(
    ("word", "ablation"),
    [("finetune.settings.iterations=7", "iterations"), ("finetune=unweighted", "scope")],
)
def test_a_word_that_leaves_an_ablation_nothing_to_vary_is_refused(word: str, ablation: str) -> None:
    with pytest.raises(InputError, match=f"expected what the ablation {ablation} varies"):
        planned("base=x", word)
    assert planned("base=x", word, "ablations=[uncertainty]")[0].monte_carlo_samples == 25


def test_a_single_seed_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected seeds=\[\.\.\.\]"):
        planned("base=x", "seed=3")


@pytest.mark.parametrize(
    ("words", "where"),
    [(("ablations=[]",), "ablations"), (("seeds=[]",), "seeds"), (("seeds=[-1]",), "seeds")],
)
def test_a_study_of_nothing_is_refused(words: tuple[str, ...], where: str) -> None:
    with pytest.raises(InputError, match=where):
        composed(StudyRun, "base=x", *words)


def cohort_of(n_training: int, n_test: int) -> Cohort:
    cohort = load_cohort(composed(FinetuneRun, "base=x").dataset)
    one, two = cohort.training[0], cohort.test[0]

    def copies(patient: Patient, kind: str, count: int) -> tuple[Patient, ...]:
        named = [f"{kind}{n}" for n in range(count)]
        return tuple(Patient(s, tuple(replace(v, subject=s) for v in patient.visits)) for s in named)

    return replace(cohort, training=copies(one, "t", n_training), test=copies(two, "p", n_test))


def test_every_seed_takes_another_other_patient() -> None:
    cohort = cohort_of(2, 4)
    for n in range(4):
        others = [other_visit(cohort, f"p{n}", seed).subject for seed in range(3)]
        assert sorted(others) == [f"p{m}" for m in range(4) if m != n]
    assert [other_visit(cohort, f"p{n}", 0).subject for n in range(4)] == ["p3", "p0", "p1", "p2"]
    assert other_visit(cohort, "p1", 0).session == "baseline"


def test_a_single_test_patient_is_compared_with_training_patients() -> None:
    cohort = cohort_of(3, 1)
    assert sorted(other_visit(cohort, "p0", seed).subject for seed in range(3)) == ["t0", "t1", "t2"]


CHOSEN = (
    (),
    ("finetune.settings.iterations=2",),
    ("finetune.settings.slices.count=1", "finetune.settings.slices.candidates=organ"),
    ("finetune.settings.weighting=${task.kind}", "monte_carlo_samples=0"),
    ("finetune=control/threshold",),
    ("finetune=control/training_patients_unweighted",),
    ("finetune=control/other_patient",),
    ("finetune.settings.scope=all", "seed=1"),
)


def chosen(dataset: str, out: Path, base: Path) -> list[FinetuneRun]:
    common = [*tiny(dataset, out), f"base={base}", *QUICK, "monte_carlo_samples=2", "outputs=results"]
    return [composed(FinetuneRun, *common, *words) for words in CHOSEN]


def test_all_in_one_process_gives_the_numbers_of_one_by_one(trained: Trained, tmp_path: Path) -> None:
    dataset, _, base = trained
    together = runs.run_all(chosen(dataset, tmp_path / "together", base))
    for config, folder in zip(chosen(dataset, tmp_path / "alone", base), together, strict=True):
        alone = finetune.run(config)
        assert alone.name == folder.name
        for table in TABLES:
            one, many = (read_table(run / table.file, table) for run in (alone, folder))
            for column in one:
                if one[column].dtype == float:
                    np.testing.assert_allclose(many[column], one[column], rtol=2e-3, atol=2e-4)
                else:
                    assert many[column].tolist() == one[column].tolist()


def test_each_head_is_trained_once(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _, base = trained
    seen: list[tuple[str, int]] = []
    whole = heads.finetune

    def counted(network, base, name, scans, variants, **how):  # type: ignore[no-untyped-def]
        seen.extend((name, hash(variant)) for variant in variants)
        return whole(network, base, name, scans, variants, **how)

    monkeypatch.setattr(heads, "finetune", counted)
    jobs = [job for job in chosen(dataset, tmp_path, base) if job.seed == 0]
    runs.run_all(jobs)
    assert len(seen) == len(set(seen))
    own = {job.finetune.settings for job in jobs if job.finetune.tuned_on in (TunedOn.OWN, TunedOn.OTHER)}
    assert len(seen) == 2 * len(own) + 1  # two patients, and the training patients


def test_patients_tuned_together_give_the_numbers_of_each_alone(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two patients in one call, and none left for a call of its own but the training patients' control."""
    dataset, _, base = trained
    jobs = [job for job in chosen(dataset, tmp_path / "alone", base) if job.seed == 0]
    alone = runs.run_all(jobs)
    called: list[str] = []
    whole = heads.finetune

    def counted(network, base, name, *rest, **how):  # type: ignore[no-untyped-def]
        called.append(name)
        return whole(network, base, name, *rest, **how)

    monkeypatch.setattr(heads, "finetune", counted)
    both = [
        replace(job, out=str(tmp_path / "both"), hardware=replace(job.hardware, patients_at_once=2))
        for job in jobs
    ]
    together = runs.run_all(both)
    assert called == [heads.TRAINING_PATIENTS]
    assert [folder.name for folder in together] == [folder.name for folder in alone]
    for one, other in zip(alone, together, strict=True):
        numbers = [pd.read_csv(folder / "results.csv")["value"] for folder in (one, other)]
        np.testing.assert_allclose(numbers[1], numbers[0], rtol=5e-3, atol=2e-3)


def test_a_study_that_was_stopped_does_only_what_is_missing(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, base = trained
    first, second, *_ = configs = chosen(dataset, tmp_path, base)[:3]
    done = finetune.run(first)
    finished = (done / "done.json").stat().st_mtime_ns
    quantified: list[int] = []
    whole = runs.quantify

    def counted(jobs, *rest):  # type: ignore[no-untyped-def]
        quantified.append(len(jobs))
        whole(jobs, *rest)

    monkeypatch.setattr(runs, "quantify", counted)
    folders = runs.run_all(configs)
    assert (done / "done.json").stat().st_mtime_ns == finished
    assert quantified == [2, 2]  # two patients, the two other runs
    (folders[1] / "done.json").unlink()
    lost = sorted((folders[1] / "patients").iterdir())[1]
    (lost / "results.csv").unlink()
    runs.run_all(configs)
    assert quantified[2:] == [1]
    assert all((folder / "done.json").exists() for folder in folders)
    assert second.finetune.settings.iterations == 2


def test_one_failing_run_loses_no_other(trained: Trained, tmp_path: Path) -> None:
    """A learning rate that makes the loss overflow, beside one that does not."""
    dataset, _, base = trained
    good, bad = chosen(dataset, tmp_path, base)[:2]
    bad = replace(
        bad, finetune=replace(bad.finetune, settings=replace(bad.finetune.settings, learning_rate=1e38))
    )
    with pytest.raises(InputError, match=r"patients that failed: .*learning_rate_1e_38"):
        runs.run_all([good, bad])
    by_name = {path.name: path for path in (tmp_path / "finetune").iterdir() if path.is_dir()}
    finished = {name: (path / "done.json").exists() for name, path in by_name.items()}
    assert finished == {name: "1e_38" not in name for name in by_name}


def test_changed_files_of_a_patient_are_noticed(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, base = trained
    (config,) = chosen(dataset, tmp_path, base)[:1]
    file = tmp_path / "flair.nii.gz"
    file.write_bytes(b"as it was")

    def with_files(dataset):  # type: ignore[no-untyped-def]
        cohort = load_cohort(dataset)
        first, *others = cohort.test
        visits = tuple(replace(visit, files=(file,)) for visit in first.visits)
        return replace(cohort, test=(replace(first, visits=visits), *others))

    monkeypatch.setattr(runs, "load_cohort", with_files)
    folder = finetune.run(config)
    finetune.run(config)
    file.write_bytes(b"corrected")
    with pytest.raises(InputError, match=r"a run with another files of .*test-000"):
        finetune.run(config)
    assert (folder / "done.json").exists()
