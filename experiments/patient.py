"""One test patient: fine-tune on the baseline, quantify the follow-up with and without, write the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from experiments.config import FinetuneRun
from psft_jax.data.nifti import write_volume
from psft_jax.evaluation.measures import evaluate
from psft_jax.evaluation.rows import Row, to_rows, write_results
from psft_jax.files import atomic_path
from psft_jax.inference.postprocess import postprocess
from psft_jax.inference.volume import Prediction, predict
from psft_jax.model.network import Variables
from psft_jax.reporting.figures import save_figure
from psft_jax.reporting.overlays import overlay_figure, sd_figure
from psft_jax.scan import Cohort, Mask, Patient, Provenance, Scan
from psft_jax.training.checkpoints import save_tree
from psft_jax.training.finetune import finetune
from psft_jax.training.saved import BaseRecord

BASE = "base"
TUNED = "fine-tuned"
RESULTS = "results.csv"
LOSSES = "losses.json"


def quantify(
    config: FinetuneRun, patient: Patient, record: BaseRecord, base: Variables, cohort: Cohort, folder: Path
) -> None:
    """Everything for one patient; ``results.csv`` comes last, so a folder that has one is complete.

    Args:
        config: the run.
        patient: a test patient.
        record: what the base CNN is.
        base: its variables.
        cohort: the patient's.
        folder: the patient's own, empty or not there yet.
    """
    network = record.network
    baseline, follow_up = patient.baseline.load(), patient.follow_up.load()
    (tuned,) = finetune(network, base, baseline, [config.finetune.settings], seed=config.seed)
    folder.mkdir(parents=True)
    with atomic_path(folder / LOSSES) as temporary:
        temporary.write_text(json.dumps([float(loss) for loss in tuned.losses]))
    save_tree(folder / "network", tuned.variables._asdict())

    found = predict(
        network, [base, tuned.variables], follow_up, samples=config.monte_carlo_samples, seed=config.seed
    )
    predictions = dict(zip((BASE, TUNED), found, strict=True))
    masks = {
        variant: postprocess(
            p.probability, follow_up.organ, threshold=config.task.threshold, opening=config.task.opening
        )
        for variant, p in predictions.items()
    }
    rows: list[Row] = []
    for variant, prediction in predictions.items():
        write_volumes(folder / variant, prediction, masks[variant], follow_up)
        rows += to_rows(
            evaluate(config.task.kind, masks[variant], follow_up, sd=prediction.sd),
            dataset=cohort.name,
            task=config.task.kind,
            patient=patient.subject,
            session=follow_up.session,
            model=record.model_name,
            variant=variant,
            seed=config.seed,
        )
    write_figures(folder, follow_up, masks, predictions, cohort.provenance)
    write_results(folder / RESULTS, rows)


def write_volumes(folder: Path, prediction: Prediction, mask: Mask, scan: Scan) -> None:
    """Mask, probability and, with Monte Carlo samples, mean and SD, as NIfTI on the scan's own grid."""
    write_volume(folder / f"{scan.name}_mask.nii.gz", mask, scan)
    volumes = {"probability": prediction.probability, "mean": prediction.mean, "sd": prediction.sd}
    for name, volume in volumes.items():
        if volume is not None:
            write_volume(folder / f"{scan.name}_{name}.nii.gz", volume, scan)


def write_figures(
    folder: Path,
    scan: Scan,
    masks: Mapping[str, Mask],
    predictions: Mapping[str, Prediction],
    provenance: Provenance,
) -> None:
    """Overlays of hits, misses and false positives, and the uncertainty of both networks on one scale."""
    overlay = overlay_figure(scan, masks, title=scan.name, provenance=provenance)
    save_figure(overlay, folder / "overlay.png")
    maps = {variant: p.sd for variant, p in predictions.items() if p.sd is not None}
    if maps:
        uncertainty = sd_figure(scan, maps, title=scan.name, provenance=provenance)
        save_figure(uncertainty, folder / "sd.png")
