"""Configurations composed as the command line composes them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from hydra import compose, initialize_config_dir

from experiments.config import DemoRun, FinetuneRun, RunConfig, StudyRun, TrainBaseRun
from experiments.inspect import InspectRun
from experiments.launch import register_resolvers
from experiments.organ import OrganRun
from experiments.parsing import parse
from experiments.preprocess import PreprocessRun
from experiments.segment import SegmentRun

CONF = Path(__file__).parents[2] / "conf"
NAMES: dict[type[RunConfig], str] = {
    TrainBaseRun: "train_base",
    FinetuneRun: "finetune",
    StudyRun: "study",
    DemoRun: "demo",
    InspectRun: "inspect",
    OrganRun: "organ",
    PreprocessRun: "preprocess",
    SegmentRun: "segment",
}

T = TypeVar("T", bound=RunConfig)

TINY = {
    "phantom_brain": ["dataset.phantom.shape=[12,60,60]"],
    "phantom_liver": ["dataset.phantom.shape=[16,48,48]"],
}
"""Overrides that make a cohort of two training and two test patients that takes no time."""


def composed(kind: type[T], *overrides: str) -> T:
    """The configuration of a command with these words after it."""
    register_resolvers(kind, NAMES[kind])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose(NAMES[kind], list(overrides)), kind)


def tiny(dataset: str, out: Path) -> list[str]:
    """The words that any command needs for a small and quick run."""
    return [
        *(f"dataset={dataset}", "dataset.phantom.n_training=2", "dataset.phantom.n_test=2"),
        *TINY[dataset],
        *(f"out={out}", "tracking=off"),
    ]


def tiny_training(dataset: str, out: Path, *more: str) -> TrainBaseRun:
    """A base training of a few iterations."""
    return composed(
        TrainBaseRun,
        *tiny(dataset, out),
        *("model=demo", "model.pnet.width=4", "model.pnet.dilations=[[1,1],[2,2]]", "train=demo"),
        *("train.iterations=6", "train.validate_every=3", "train.patches.size=32"),
        *more,
    )


def tiny_finetuning(dataset: str, out: Path, base: Path, *more: str) -> FinetuneRun:
    """A fine-tuning of a few iterations."""
    return composed(
        FinetuneRun,
        *tiny(dataset, out),
        *(f"base={base}", "finetune=demo_segmentation", "finetune.settings.iterations=3"),
        *("finetune.settings.patches.size=32", "monte_carlo_samples=3"),
        *more,
    )
