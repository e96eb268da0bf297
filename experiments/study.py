"""All ablations of a cohort in one process: the same runs as the multiruns of finetune, sooner.

python -m experiments.study base=RUN dataset=... seeds=[0,1,2]
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.conclude import STAGE as FINETUNE
from experiments.config import FinetuneRun, StudyRun
from experiments.launch import command, register_resolvers
from experiments.parsing import config_hash, parse, run_folder
from experiments.report import write
from experiments.results import RUNS
from experiments.runs import inputs_of, run_all
from psft_jax.errors import InputError
from psft_jax.files import write_text

STAGE = "study"
REPORT = "report"
OWN_KEYS = ("ablations", "seeds", "name")

logger = logging.getLogger(__name__)


def jobs_of(study: StudyRun, words: Sequence[str]) -> list[FinetuneRun]:
    """The runs of a study, each once: those that the ablations make as multiruns of ``finetune``.

    Needs Hydra's search path to be set up, as it is inside a command.

    Args:
        study: which ablations and seeds.
        words: the overrides of the command line, for all runs.
    """
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    _check_words(study, keys)
    kept = [word for word, key in zip(words, keys, strict=True) if key not in OWN_KEYS]
    jobs: dict[str, FinetuneRun] = {}
    for ablation, seed in itertools.product(study.ablations, study.seeds):
        common = [*kept, f"+ablation={ablation}", f"seed={seed}"]
        for sweep in _sweep(common):
            job = parse(hydra.compose("finetune", [*common, *sweep]), FinetuneRun)
            same = jobs.get(config_hash(job), job)
            jobs[config_hash(job)] = replace(job, sweep=tuple(dict.fromkeys((*same.sweep, *job.sweep))))
    return list(jobs.values())


def _check_words(study: StudyRun, keys: Sequence[str]) -> None:
    """Refuse words that a study would have to ignore, or that would leave an ablation nothing to vary."""
    if "seed" in keys:
        raise InputError(
            "seed",
            found="one seed",
            expected="seeds=[...], which a study runs in turn",
            remedy="Give for instance seeds=[0,1,2].",
        )
    for ablation in study.ablations:
        # The number of samples is the one thing that may be chosen for all.
        fixed = sorted(_axes([f"+ablation={ablation}"]).keys() & set(keys) - {"monte_carlo_samples"})
        if fixed:
            raise InputError(
                fixed[0],
                found="one value for all runs",
                expected=f"what the ablation {ablation} varies",
                remedy=f"Leave {fixed[0]}= out, or {ablation} out of ablations=[...]. What all runs share is "
                "set by single values, such as finetune.settings.class_weights=[1.0,1.0].",
            )


def _axes(words: list[str]) -> dict[str, str]:
    """What an ablation varies: the swept values of each key."""
    composed = hydra.compose("finetune", words, return_hydra_config=True)
    return {str(key): str(values) for key, values in composed.hydra.sweeper.params.items()}


def _sweep(words: list[str]) -> list[tuple[str, ...]]:
    """Every combination of the values that an ablation varies, but for those that the words set."""
    parser = OverridesParser.create()
    given = {override.get_key_element() for override in parser.parse_overrides(words)}
    axes = []
    for key, values in _axes(words).items():
        if key not in given:
            (override,) = parser.parse_overrides([f"{key}={values}"])
            swept = override.sweep_string_iterator() if override.is_sweep_override() else [values]
            axes.append([f"{key}={value}" for value in swept])
    return list(itertools.product(*axes))


def run(study: StudyRun, jobs: Sequence[FinetuneRun]) -> Path:
    """Do the runs, and write their report into the study's folder.

    Args:
        study: which they are.
        jobs: the runs.

    Returns:
        The page of the report.

    Raises:
        InputError: a run failed; the others are done, and the report says what is missing.
    """
    inputs_of(study)  # all that can be wrong with the inputs shows before anything is written
    own = run_folder(study, STAGE)
    folders = [run_folder(job, FINETUNE) for job in jobs]
    runs = [os.path.relpath(folder, own) for folder in folders]
    write_text(own / RUNS, json.dumps(runs, indent=2), overwrite=True)
    try:
        run_all(jobs)
    except InputError:
        with contextlib.suppress(InputError):  # where nothing is done there is nothing to report
            logger.info("report of what is done: %s", write([own], own / REPORT))
        raise
    return write([own], own / REPORT)


@hydra.main(version_base="1.3", config_path="../conf", config_name="study")
@command(StudyRun)
def main(study: StudyRun) -> None:
    """Run them, and say where the results lie."""
    words = list(HydraConfig.get().overrides.task)
    group = study.tracking.group or f"study-{config_hash(study)}"
    jobs = [replace(job, tracking=replace(job.tracking, group=group)) for job in jobs_of(study, words)]
    logger.info("%d runs: %s with seeds %s", len(jobs), ", ".join(study.ablations), list(study.seeds))
    logger.info("report: %s", run(study, jobs))


if __name__ == "__main__":
    register_resolvers(StudyRun, STAGE)
    main()
