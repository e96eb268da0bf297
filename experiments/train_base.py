"""Train the base CNN on a cohort's training patients, or a network that finds the organ.

python -m experiments.train_base dataset=... model=... train=...
python -m experiments.train_base task=organ dataset=... model=... train=organ
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import hydra
import jax
import pandas as pd
from jax.sharding import Mesh

from experiments.config import TrainBaseRun
from experiments.datasets import load_cohort
from experiments.launch import as_typed, command, finish, open_run, register_resolvers, start_tracking
from experiments.organ_scans import organ_cohort
from experiments.training_slices import Positions, training_slices
from psft_jax.devices import data_mesh, device_count
from psft_jax.model.network import Network
from psft_jax.reporting.figures import loss_figure, save_figure
from psft_jax.sampling.slices import all_slices, lesion_slices
from psft_jax.scan import Cohort, OrganTask
from psft_jax.tracking import METRICS, read_metrics
from psft_jax.training.base import train_base
from psft_jax.training.checkpoints import TrainingCheckpoints
from psft_jax.training.saved import BaseRecord, fingerprint, save_base

STAGE = "train_base"
SLICES = "slices"
"""Folder of a run that holds the training slices where they are on disk, as long as the run goes on."""

logger = logging.getLogger(__name__)


def run(config: TrainBaseRun) -> Path:
    """Train a base CNN, or find it trained.

    Returns:
        The run's folder, which ``base=`` of the commands that come next takes.
    """
    cohort, positions = _material(config)  # before anything is written: it names what is missing
    batch = config.train.patches.batch
    devices = device_count(config.hardware.devices, batch, what="patches in a minibatch")
    with open_run(config, STAGE, inputs={}) as opened:
        if not opened.finished:
            _train(config, cohort, positions, opened.folder, data_mesh(devices))
            finish(opened.folder)
    return opened.folder


def _material(config: TrainBaseRun) -> tuple[Cohort, Positions]:
    """What is learnt from: whose scans, and which of their slices."""
    if config.task.kind is OrganTask.ORGAN:
        return organ_cohort(config.dataset), all_slices
    return load_cohort(config.dataset), lesion_slices


def _train(config: TrainBaseRun, cohort: Cohort, positions: Positions, folder: Path, mesh: Mesh) -> None:
    shelf = folder / SLICES
    slices = training_slices(cohort, config.hardware, shelf, positions)
    network = Network(config.model.pnet, cohort.channels, config.precision)
    logger.info(
        "%s (%s): %d slices of %d training patients; %s with %d parameters, receptive field %d pixels",
        cohort.name, cohort.provenance.value, len(slices), len(cohort.training),
        config.model.name, network.parameter_count, config.model.pnet.receptive_field,
    )  # fmt: skip
    logger.info(
        "%d of %d %s devices, each with %d of the %d patches of a minibatch",
        mesh.size, jax.device_count(), jax.default_backend(),
        config.train.patches.batch // mesh.size, config.train.patches.batch,
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
            mesh=mesh,
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
    shutil.rmtree(shelf, ignore_errors=True)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train_base")
@command(TrainBaseRun)
def main(config: TrainBaseRun) -> None:
    """Train, and say how to go on."""
    folder = run(config)
    logger.info("base CNN: %s", folder)
    then = "organ" if config.task.kind is OrganTask.ORGAN else "finetune"
    logger.info("next: %s", as_typed(then, f"base={folder}", "dataset=..."))


if __name__ == "__main__":
    register_resolvers(TrainBaseRun, STAGE)
    main()
