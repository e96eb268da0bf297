"""The main job on a small generated cohort: python -m experiments.demo [task=detection]"""

from __future__ import annotations

import logging
from dataclasses import fields

import hydra

from experiments import finetune, train_base
from experiments.config import DemoRun, FinetuneRun, RunConfig, TrainBaseRun
from experiments.launch import command, register_resolvers

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../conf", config_name="demo")
@command(DemoRun)
def main(config: DemoRun) -> None:
    """Train a base CNN, fine-tune it to each test patient, quantify the follow-ups with and without."""
    shared = {field.name: getattr(config, field.name) for field in fields(RunConfig)}
    base = train_base.run(TrainBaseRun(**shared, model=config.model, train=config.train))
    tuned = finetune.run(
        FinetuneRun(
            **shared,
            base=str(base),
            finetune=config.finetune,
            monte_carlo_samples=config.monte_carlo_samples,
            monte_carlo_masks=config.monte_carlo_masks,
        )
    )
    logger.info("open %s", tuned / finetune.REPORT)


if __name__ == "__main__":
    register_resolvers(DemoRun, "demo")
    main()
