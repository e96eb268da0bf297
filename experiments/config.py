"""What the YAML values of ``conf/`` become: checked, plain dataclasses.

Hydra composes and overrides; pydantic turns the result into the dataclasses that each room defines, so a
wrong type or value fails before anything runs, with a sentence that names the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from experiments.datasets import Dataset
from psft_jax.errors import InputError, check_fields
from psft_jax.model.config import PNetConfig
from psft_jax.model.dropout import Masks
from psft_jax.model.precision import Precision
from psft_jax.scan import OrganTask, Task
from psft_jax.tracking import TrackingConfig
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.finetune import Execution
from psft_jax.training.settings import FinetuneConfig

GB = 10**9
PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Base CNNs that come with the project, in a folder for each task."""


@dataclass(frozen=True)
class TaskConfig:
    """What is asked of the network, and how its probabilities become lesions (section 2.4).

    Args:
        kind: segmentation or detection; decides the measures and the statistics.
        threshold: probability from which on a voxel is lesion.
        opening: remove specks by a morphological opening (liver only).
    """

    kind: Literal[Task.SEGMENTATION, Task.DETECTION]
    threshold: float = 0.5
    opening: bool = False

    def __post_init__(self) -> None:
        _check_threshold(self)


@dataclass(frozen=True)
class OrganTaskConfig:
    """What is asked of a network that finds the organ itself.

    Args:
        kind: organ.
        threshold: probability from which on a voxel is organ.
    """

    kind: Literal[OrganTask.ORGAN]
    threshold: float = 0.5

    def __post_init__(self) -> None:
        _check_threshold(self)


class SlicesIn(StrEnum):
    """Where base training keeps the slices of the training patients; the numbers are the same."""

    MEMORY = "memory"
    """In memory and on the device."""
    DISK = "disk"
    """In the run's folder until the run is finished; a thread reads those of the next steps."""
    AUTO = "auto"
    """In memory as long as they take no more than ``slices_gb``, else on disk."""


@dataclass(frozen=True)
class HardwareConfig:
    """Where it runs.

    Args:
        platform: JAX's platform (cpu, cuda, tpu), or none for the best there is.
        steps_per_dispatch: training steps in one call to the device; 1 is best on a CPU.
        devices: how many share a minibatch, which they must divide; none for as many as there are and do.
        slices: where base training keeps its slices.
        slices_gb: what they may take in memory, in GB (10^9 bytes); loading and training need about four
            times as much in all.
        features_gb: what fine-tuning may take, on each device, to keep the trunk's features of patches that
            come again.
        patients_at_once: patients that are fine-tuned together; 1 is best on a CPU.
    """

    platform: str | None = None
    steps_per_dispatch: int = 1
    devices: int | None = None
    slices: SlicesIn = SlicesIn.AUTO
    slices_gb: float = 4.0
    features_gb: float = 2.0
    patients_at_once: int = 1

    def __post_init__(self) -> None:
        valid = {
            "steps_per_dispatch": (self.steps_per_dispatch >= 1, "at least 1 (on a GPU about 25)"),
            "devices": (self.devices is None or self.devices >= 1, "at least 1, or null"),
            "slices_gb": (self.slices_gb > 0, "more than 0"),
            "features_gb": (0 <= self.features_gb < float("inf"), "0 (keep none) or more, and finite"),
            "patients_at_once": (self.patients_at_once >= 1, "at least 1"),
        }
        check_fields(self, valid, remedy="conf/hardware/ has the usual values.")

    @property
    def execution(self) -> Execution:
        """How fine-tuning uses it."""
        return Execution(self.steps_per_dispatch, int(self.features_gb * GB), self.devices)


@dataclass(frozen=True)
class ModelConfig:
    """The network: the name of its preset, and its numbers."""

    name: str
    pnet: PNetConfig


class TunedOn(StrEnum):
    """Whose scans the head is tuned on; all but the first are controls: is a gain the patient's own?"""

    OWN = "own"
    """The patient's own baseline: the method."""
    OTHER = "other"
    """The baseline of another test patient, another one for each seed; where there is no other test patient,
    a scan of a training patient."""
    TRAINING = "training"
    """All scans of the training patients, which the base CNN has seen already."""
    NOBODY = "nobody"
    """Nothing: the base CNN itself, whatever the other settings say."""


@dataclass(frozen=True)
class TuneConfig:
    """Fine-tuning.

    Args:
        name: of its preset.
        settings: its numbers.
        tuned_on: the patient's own baseline, or a control.
        tune_threshold: choose the threshold on the probability that is best on the patient's baseline.
    """

    name: str
    settings: FinetuneConfig
    tuned_on: TunedOn = TunedOn.OWN
    tune_threshold: bool = False

    @property
    def differences(self) -> tuple[str, ...]:
        """What differs from the paper's setting, in words."""
        threshold = ("threshold tuned",) if self.tune_threshold else ()
        if self.tuned_on is TunedOn.NOBODY:
            return ("not tuned", *threshold)
        controls = {TunedOn.OTHER: "on another patient", TunedOn.TRAINING: "on the training patients"}
        whose = (controls[self.tuned_on],) if self.tuned_on in controls else ()
        return (*whose, *self.settings.differences, *threshold)

    @property
    def label(self) -> str:
        """What tables call it."""
        return ", ".join(self.differences) or "the paper's setting"

    @property
    def variant(self) -> str:
        """What results call it; unique to the setting."""
        return f"fine-tuned ({self.label})" if self.differences else "fine-tuned"


class Outputs(StrEnum):
    """What a patient's folder holds beside the results."""

    FULL = "full"
    """Volumes, pictures and the tuned network."""
    RESULTS = "results"
    """Nothing: enough for the tables of an ablation."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every command has.

    Args:
        task: segmentation, detection or organ.
        dataset: the cohort.
        tracking: Weights & Biases.
        hardware: where it runs.
        precision: of the arithmetic of convolutions and matrix products.
        seed: of everything random but the phantoms, which have their own.
        out: folder of all runs.
        name: the run's folder under ``out/STAGE``; made of dataset, model and configuration without one.
        overwrite: delete what an earlier run left under the same name.
    """

    task: Annotated[TaskConfig | OrganTaskConfig, Field(discriminator="kind")]
    dataset: Dataset
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    precision: Precision = Precision.FLOAT32
    seed: int = 0
    out: str = "runs"
    name: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        plain_name = self.name is None or (Path(self.name).name == self.name not in ("", ".."))
        valid = {
            "seed": (self.seed >= 0, "0 or more"),
            "name": (plain_name, "one folder's name, without a slash"),
        }
        check_fields(self, valid, remedy="Correct it, or leave it out.")


@dataclass(frozen=True, kw_only=True)
class TrainBaseRun(RunConfig):
    """``python -m experiments.train_base``."""

    model: ModelConfig
    train: TrainConfig


@dataclass(frozen=True, kw_only=True)
class BasedRun(RunConfig):
    """What every command has that uses a base CNN.

    Args:
        base: folder of a finished ``train_base`` run, or ``pretrained`` for the one that comes with the
            project.
    """

    base: str

    @property
    def base_folder(self) -> Path:
        """Where the base CNN lies.

        Raises:
            InputError: none comes with the project for the task.
        """
        if self.base != "pretrained":
            return Path(self.base)
        folder = PRETRAINED / self.task.kind
        if not folder.is_dir():
            there = ", ".join(sorted(path.name for path in PRETRAINED.iterdir()))
            raise InputError(
                "base",
                found=f"pretrained, for the task {self.task.kind}",
                expected=f"a task that has one ({there})",
                remedy="Train a base CNN (python -m experiments.train_base), and give base=FOLDER.",
            )
        return folder


@dataclass(frozen=True, kw_only=True)
class FinetuneRun(BasedRun):
    """``python -m experiments.finetune``.

    Args:
        task: segmentation or detection.
        finetune: the fine-tuning.
        monte_carlo_samples: dropout samples of the uncertainty (section 3.6); 0 for none.
        monte_carlo_masks: what a dropout mask is drawn for.
        patients: only these test patients; all without one.
        outputs: also volumes, pictures and the tuned network of each patient, or results alone.
        sweep: the ablations that the run is part of, for W&B.
    """

    task: TaskConfig
    finetune: TuneConfig
    monte_carlo_samples: int = 25
    monte_carlo_masks: Masks = Masks.ELEMENTWISE
    patients: tuple[str, ...] = ()
    outputs: Outputs = Outputs.FULL
    sweep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_samples(self)


@dataclass(frozen=True, kw_only=True)
class StudyRun(FinetuneRun):
    """``python -m experiments.study``: the runs of several ablations at once.

    Args:
        ablations: names of files under ``conf/ablation``.
        seeds: each of the runs once with each of them, in place of ``seed``.
    """

    ablations: tuple[str, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = {
            "ablations": (len(self.ablations) > 0, "at least one of those under conf/ablation"),
            "seeds": (len(self.seeds) > 0 and min(self.seeds) >= 0, "at least one, each 0 or more"),
        }
        check_fields(self, valid, remedy="For instance ablations=[iterations,slices] seeds=[0,1,2].")


@dataclass(frozen=True, kw_only=True)
class DemoRun(RunConfig):
    """``python -m experiments.demo``: base training and fine-tuning in one go."""

    task: TaskConfig
    model: ModelConfig
    train: TrainConfig
    finetune: TuneConfig
    monte_carlo_samples: int = 25
    monte_carlo_masks: Masks = Masks.ELEMENTWISE

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_samples(self)


def _check_threshold(config: TaskConfig | OrganTaskConfig) -> None:
    valid = {"threshold": (0.0 < config.threshold < 1.0, "a probability between 0 and 1")}
    check_fields(config, valid, remedy="The paper's is 0.5.")


def _check_samples(config: FinetuneRun | DemoRun) -> None:
    valid = {"monte_carlo_samples": (config.monte_carlo_samples >= 0, "0 (no uncertainty) or more")}
    check_fields(config, valid, remedy="The paper draws 25.")
