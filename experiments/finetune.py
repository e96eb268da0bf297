"""Fine-tune to each test patient and quantify the follow-up.

python -m experiments.finetune base=RUN dataset=...
python -m experiments.finetune base=RUN dataset=... +ablation=iterations seed=0,1,2
"""

from __future__ import annotations

import logging
from pathlib import Path

import hydra

from experiments.conclude import REPORT, STAGE
from experiments.config import FinetuneRun
from experiments.launch import command, register_resolvers
from experiments.runs import run_all
from psft_jax.evaluation.rows import RESULTS

logger = logging.getLogger(__name__)


def run(config: FinetuneRun) -> Path:
    """Fine-tune to every test patient, or find it done.

    Returns:
        The run's folder.

    Raises:
        InputError: the base CNN does not fit, or some patients could not be done; the others are kept.
    """
    (folder,) = run_all([config])
    return folder


@hydra.main(version_base="1.3", config_path="../conf", config_name="finetune")
@command(FinetuneRun)
def main(config: FinetuneRun) -> None:
    """Fine-tune, and say where the results lie."""
    folder = run(config)
    logger.info("results: %s", folder / RESULTS.file)
    logger.info("report: %s", folder / REPORT)


if __name__ == "__main__":
    register_resolvers(FinetuneRun, STAGE)
    main()
