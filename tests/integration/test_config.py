"""Every file under ``conf/`` composes, and wrong words are refused with a sentence that names them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from experiments.config import DemoRun, FinetuneRun, TrainBaseRun
from experiments.parsing import config_hash, plain, run_folder
from psft_jax.errors import InputError
from psft_jax.model.leaves import Scope
from psft_jax.model.network import Network
from psft_jax.scan import Task
from tests.integration.commands import CONF, composed


def options(group: str) -> list[str]:
    files = (CONF / group).rglob("*.yaml")
    return sorted(path.relative_to(CONF / group).with_suffix("").as_posix() for path in files)


@pytest.mark.parametrize(
    ("group", "option"),
    [(g, o) for g in ("dataset", "task", "model", "train", "tracking", "hardware") for o in options(g)],
)
def test_every_option_of_train_base_composes(group: str, option: str) -> None:
    config = composed(TrainBaseRun, f"{group}={option}")
    assert config.train.iterations >= 1
    assert Network(config.model.pnet, (1, 1)).parameter_count > 0


@pytest.mark.parametrize("option", options("finetune"))
def test_every_finetuning_composes(option: str) -> None:
    config = composed(FinetuneRun, "base=anywhere", f"finetune={option}")
    assert config.finetune.name == option.removeprefix("control/")


def test_defaults_are_the_papers() -> None:
    base = composed(TrainBaseRun)
    assert base.train.iterations == 10_000
    assert base.train.learning_rate == 1e-4
    assert base.train.class_weights == (1.0, 5.0)
    assert base.train.patches.size == 128
    assert base.train.patches.batch == 4
    assert base.train.patches.rotation_deg == 45.0
    assert Network(base.model.pnet, (1, 1)).parameter_count == 973_442
    tuned = composed(FinetuneRun, "base=anywhere")
    assert tuned.finetune.settings.iterations == 100
    assert tuned.finetune.settings.scope is Scope.LAST2
    assert tuned.finetune.settings.class_weights == (1.0, 5.0)
    assert tuned.monte_carlo_samples == 25


@pytest.mark.parametrize(
    ("dataset", "task"),
    [
        ("phantom_brain", Task.SEGMENTATION),
        ("mslesseg", Task.SEGMENTATION),
        ("phantom_liver", Task.DETECTION),
    ],
)
def test_a_dataset_brings_its_task(dataset: str, task: Task) -> None:
    config = composed(TrainBaseRun, f"dataset={dataset}")
    assert config.task.kind is task
    assert config.task.opening is (task is Task.DETECTION)


def test_demo_takes_the_task() -> None:
    config = composed(DemoRun, "task=detection")
    assert config.task.kind is Task.DETECTION
    assert config.dataset.source == "phantom_liver"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train.iterations=0"], "train.iterations"),
        (["train.iterations=many"], "train.iterations"),
        (["dataset.phantom.n_test=abc"], "dataset.phantom.n_test"),
        (["dataset.phantom.shape=[1,2]"], "dataset.phantom.shape"),
        (["model.pnet.taps=sideways"], "model.pnet.taps"),
        (["model.pnet.dropout=1.5"], "model.pnet.dropout"),
        (["task.threshold=1.5"], "task.threshold"),
        (["seed=-1"], "seed"),
        (["hardware.steps_per_dispatch=0"], "hardware.steps_per_dispatch"),
        (["hardware.devices=0"], "hardware.devices"),
        (["hardware.slices=tape"], "hardware.slices"),
        (["hardware.slices_gb=0"], "hardware.slices_gb"),
        (["hardware.features_gb=.inf"], "hardware.features_gb"),
        (["name=a/b"], "name"),
        (["name=''"], "name"),
        (["name=.."], "name"),
        (["+train.itterations=3"], "train.itterations"),
        (["+dataset.phantom.lesions.cyst=1"], "dataset.phantom.lesions.cyst"),
        (
            ["train.patches.angle_bank=2", "train.patches.first_unrotated=true"],
            "train.patches.first_unrotated",
        ),
    ],
)
def test_wrong_values_are_named(words: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named.replace(".", r"\.")):
        composed(TrainBaseRun, *words)


def test_a_missing_base_is_named() -> None:
    with pytest.raises(InputError, match="base: found no value"):
        composed(FinetuneRun)


def test_hash_names_what_changes_results_and_nothing_else() -> None:
    config = composed(TrainBaseRun)
    same = [["out=elsewhere"], ["name=x"], ["tracking=off"], ["hardware=gpu"], ["overwrite=true"]]
    other = [["seed=1"], ["train.iterations=9"], ["dataset.phantom.seed=1"], ["model=pnet_small"]]
    assert {config_hash(composed(TrainBaseRun, *words)) for words in same} == {config_hash(config)}
    hashes = {config_hash(composed(TrainBaseRun, *words)) for words in other}
    assert len(hashes | {config_hash(config)}) == len(other) + 1


def test_run_folder() -> None:
    assert run_folder(composed(TrainBaseRun, "out=here", "name=mine"), "train_base") == Path(
        "here/train_base/mine"
    )
    config = composed(TrainBaseRun, "model=pnet_small")
    expected = f"runs/train_base/phantom_brain-pnet_small-seed0-{config_hash(config)}"
    assert run_folder(config, "train_base") == Path(expected)


def test_a_base_counts_by_what_it_is_and_not_by_its_path(trained: tuple[str, Path, Path]) -> None:
    _, _, base = trained
    ways = [base, f"{base}/", base / ".." / base.name]
    assert len({config_hash(composed(FinetuneRun, f"base={way}")) for way in ways}) == 1
    assert config_hash(composed(FinetuneRun, "base=elsewhere")) != config_hash(
        composed(FinetuneRun, f"base={base}")
    )


def test_a_run_is_called_after_what_differs_from_the_paper() -> None:
    config = composed(
        FinetuneRun, "base=x", "finetune=unweighted", "finetune.settings.iterations=50", "seed=3"
    )
    assert config.finetune.variant == "fine-tuned (50 iterations, class weight 1)"
    assert run_folder(config, "finetune").name.startswith("phantom_brain-50_iterations_class_weight_1-seed3-")
    assert composed(FinetuneRun, "base=x").finetune.variant == "fine-tuned"


def test_plain_holds_nothing_but_plain_values() -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        else:
            assert type(value) in (str, int, float, bool, type(None))

    for kind, dataset in product((TrainBaseRun, DemoRun), ("phantom_brain", "phantom_liver", "mslesseg")):
        check(plain(composed(kind, f"dataset={dataset}")))
