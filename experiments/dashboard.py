"""The W&B workspace that compares ablations: a JSON file, and in W&B with tracking=online.

python -m experiments.dashboard tracking=online
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiments.config import TaskConfig
from experiments.launch import errors_as_sentences
from experiments.parsing import parse
from psft_jax.evaluation.measures import MEASURES
from psft_jax.reporting.tables import HEADLINE
from psft_jax.tracking import TrackingConfig, TrackingMode
from psft_jax.tracking.dashboard import build, push, save

FILE = "dashboard.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DashboardRun:
    """``python -m experiments.dashboard``.

    Args:
        task: whose measures are compared.
        tracking: which runs, and whether the dashboard is pushed.
        out: folder of the JSON file.
    """

    task: TaskConfig
    tracking: TrackingConfig
    out: str = "runs"


def run(config: DashboardRun) -> Path:
    """Write the dashboard, and push it where W&B is online.

    Returns:
        The JSON file.

    Raises:
        InputError: wandb-workspaces is missing, or W&B is out of reach.
    """
    task = config.task.kind
    path = Path(config.out) / FILE
    measures = {name: MEASURES[name].label for name in HEADLINE[task]}
    workspace = build(f"Fine-tuning: {task.value}", measures, config.tracking)
    if config.tracking.mode is TrackingMode.ONLINE:
        logger.info("dashboard: %s", push(workspace, path))
    else:
        save(workspace, path)
        logger.info("to push it: the same command with tracking=online")
    logger.info("dashboard as JSON: %s", path)
    return path


@hydra.main(version_base="1.3", config_path="../conf", config_name="dashboard")
def main(composed: DictConfig) -> None:
    """Write, push, and say where it is."""
    with errors_as_sentences():
        run(parse(composed, DashboardRun))


if __name__ == "__main__":
    main()
