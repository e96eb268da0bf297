"""Train the base CNN on a cohort's training patients.

python -m experiments.train_base dataset=... model=... train=...
"""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
import pandas as pd
from tqdm import tqdm

from experiments.config import TrainBaseRun
from experiments.datasets import load_cohort
from experiments.launch import command, finish, open_run, register_resolvers, start_tracking
from psft_jax.errors import InputError
from psft_jax.model.network import Network
from psft_jax.reporting.figures import loss_figure, save_figure
from psft_jax.sampling.slices import Slices, lesion_slices, slices_of, stack
from psft_jax.scan import Cohort
from psft_jax.tracking import METRICS, read_metrics
from psft_jax.training.base import train_base
from psft_jax.training.checkpoints import TrainingCheckpoints
from psft_jax.training.saved import BaseRecord, fingerprint, save_base

STAGE = "train_base"

logger = logging.getLogger(__name__)


def run(config: TrainBaseRun) -> Path:
    """Train a base CNN, or find it trained.

    Returns:
        The run's folder, which ``base=`` of fine-tuning takes.
    """
    cohort = load_cohort(config.dataset)  # before anything is written: it names what is missing
    with open_run(config, STAGE, inputs={}) as opened:
        if not opened.finished:
            _train(config, cohort, opened.folder)
            finish(opened.folder)
    return opened.folder


def _train(config: TrainBaseRun, cohort: Cohort, folder: Path) -> None:
    slices = training_slices(cohort)
    network = Network(config.model.pnet, cohort.channels)
    logger.info(
        "%s (%s): %d lesion slices of %d training patients; %s with %d parameters, receptive field %d pixels",
        cohort.name, cohort.provenance.value, len(slices), len(cohort.training),
        config.model.name, network.parameter_count, config.model.pnet.receptive_field,
    )  # fmt: skip
    checkpoints = TrainingCheckpoints(folder / "checkpoints")
    with start_tracking(config, folder, cohort, STAGE) as tracker:
        tracker.rewind(checkpoints.latest_step() or 0)
        variables = train_base(
            network,
            slices,
            config.train,
            checkpoints,
            seed=config.seed,
            log=tracker.log,
            steps_per_dispatch=config.hardware.steps_per_dispatch,
        )
        record = BaseRecord(
            task=config.task.kind,
            model=config.model.pnet,
            model_name=config.model.name,
            channels=cohort.channels,
            sequences=(cohort.sequences[0].name, cohort.sequences[1].name),
            dataset=cohort.name,
            provenance=cohort.provenance,
            training_subjects=tuple(p.subject for p in cohort.training),
            seed=config.seed,
            sha256=fingerprint(variables),
        )
        save_base(folder, record, variables)
        metrics = pd.DataFrame(read_metrics(folder / METRICS))
        figure = folder / "figures" / "loss.png"
        curve = loss_figure(metrics, title=folder.name, provenance=cohort.provenance)
        save_figure(curve, figure, overwrite=True)
        tracker.artifact(f"{folder.name}-base", "model", folder / "network")
        tracker.images({"loss": figure}, step=config.train.iterations)
        tracker.summary({"validation_loss": float(metrics["validation_loss"].min())})


def training_slices(cohort: Cohort) -> Slices:
    """The lesion slices of all training patients (section 2.1).

    Raises:
        InputError: the cohort has no training patient, or one without lesions.
    """
    if not cohort.training:
        raise InputError(
            f"cohort {cohort.name}",
            found="no training patient",
            expected="at least one patient with a single visit, to train the base CNN on",
            remedy="Add such patients, or fine-tune a base CNN that was trained on others: base=FOLDER.",
        )
    visits = [visit for patient in cohort.training for visit in patient.visits]
    parts = []
    for visit in tqdm(visits, desc="loading training scans", unit="scan", leave=False):
        scan = visit.load()
        parts.append(slices_of(scan, lesion_slices(scan)))
    return stack(parts)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train_base")
@command(TrainBaseRun)
def main(config: TrainBaseRun) -> None:
    """Train, and say how to go on."""
    folder = run(config)
    logger.info("base CNN: %s", folder)
    logger.info("next: python -m experiments.finetune base=%s dataset=...", folder)


if __name__ == "__main__":
    register_resolvers(TrainBaseRun, STAGE)
    main()
