"""One test patient: fine-tune, quantify the follow-up with and without, write the outcome of every run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.config import FinetuneRun, Outputs, TuneConfig, TunedOn
from experiments.heads import TRAINING_PATIENTS, Heads, Start, other_visit
from psft_jax.data.nifti import write_volume
from psft_jax.evaluation.calibration import calibration
from psft_jax.evaluation.lesions import lesion_table
from psft_jax.evaluation.measures import evaluate
from psft_jax.evaluation.rows import (
    CALIBRATION,
    DETAILS,
    LESIONS,
    RESULTS,
    SLICES,
    TABLES,
    UNCERTAINTY,
    to_rows,
    write_table,
)
from psft_jax.evaluation.slices import slice_table
from psft_jax.evaluation.threshold import best_threshold
from psft_jax.evaluation.uncertainty import sd_against_error
from psft_jax.files import atomic_path, write_text
from psft_jax.inference.volume import Prediction, predict
from psft_jax.model.dropout import Masks
from psft_jax.objects import match
from psft_jax.reporting.figures import save_figure
from psft_jax.reporting.objects_figure import objects_figure
from psft_jax.reporting.overlays import overlay_figure, sd_figure
from psft_jax.reporting.views import axial_view, informative_slices, shown_image
from psft_jax.reporting.weight_map import weights_figure
from psft_jax.scan import Mask, Patient, Scan, Task, Volume
from psft_jax.training.checkpoints import save_tree
from psft_jax.training.finetune import Tuned
from psft_jax.training.material import Annotated
from psft_jax.training.weighting import Weighting, voxel_weights

BASE = "base"
TUNED = "fine-tuned"
LOSSES = "losses.json"
TUNING = "tuning.json"
PREVIEW = "preview.npz"
MASK, SD = "mask:", "sd:"
"""What the names of a preview's arrays begin with."""
PATIENTS = "patients"


@dataclass(frozen=True, eq=False)
class Job:
    """A run at work: its configuration and its folder."""

    config: FinetuneRun
    folder: Path

    def home(self, subject: str) -> Path:
        """The folder of a patient."""
        return self.folder / PATIENTS / subject


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one network makes of the follow-up, and how good that is: tables by their file's name."""

    prediction: Prediction
    mask: Mask
    tables: Mapping[str, pd.DataFrame]


def quantify(jobs: Sequence[Job], patient: Patient, start: Start, heads: Heads) -> None:
    """Everything for one patient and one seed; ``results.csv`` comes last: a folder with one is complete.

    Args:
        jobs: runs of one seed on the same cohort and base CNN.
        patient: a test patient.
        start: base CNN and cohort.
        heads: trains the networks.
    """
    seed = jobs[0].config.seed
    tunes = [job.config.finetune for job in jobs]
    needs_result = any(tune.settings.needs_result for tune in tunes)
    baseline = start.annotated(patient.baseline, with_result=needs_result)
    follow_up = patient.follow_up.load()
    tuned = heads.of(patient, baseline, tunes, seed)
    by_sampling: dict[tuple[int, Masks], list[int]] = defaultdict(list)
    for place, job in enumerate(jobs):
        by_sampling[job.config.monte_carlo_samples, job.config.monte_carlo_masks].append(place)
    for (samples, masks), places in by_sampling.items():
        networks = [start.base, *(tuned[place].variables for place in places)]
        base, *found = predict(start.network, networks, follow_up, samples=samples, masks=masks, seed=seed)
        before = outcome(base, follow_up, start, BASE, seed)
        for place, prediction in zip(places, found, strict=True):
            threshold = tuned_threshold(tunes[place], tuned[place], baseline.scan, start)
            variant = tunes[place].variant
            after = outcome(prediction, follow_up, start, variant, seed, threshold=threshold)
            _write(jobs[place], patient, baseline, follow_up, tuned[place], (before, after), start, threshold)


def tuned_threshold(tune: TuneConfig, tuned: Tuned, baseline: Scan, start: Start) -> float:
    """The task's threshold, or, where the setting says so, the one that is best on the baseline."""
    if not tune.tune_threshold:
        return start.task.threshold
    (prediction,) = predict(start.network, [tuned.variables], baseline)
    return best_threshold(prediction.probability, baseline, start.task.kind, opening=start.task.opening)


def outcome(
    prediction: Prediction,
    scan: Scan,
    start: Start,
    variant: str,
    seed: int,
    *,
    threshold: float | None = None,
) -> Outcome:
    """Mask and measures of a prediction."""
    task = start.task.kind
    mask = start.found(prediction.probability, scan, threshold)
    case: dict[str, Any] = {
        "dataset": start.cohort.name,
        "task": task,
        "patient": scan.subject,
        "session": scan.session,
        "model": start.record.model_name,
        "variant": variant,
        "seed": seed,
    }
    measures = pd.DataFrame(to_rows(evaluate(task, mask, scan, sd=prediction.sd), **case))
    details = details_of(prediction, mask, scan)
    for table in details.values():
        for place, (column, value) in enumerate(case.items()):
            table.insert(place, column, value)
    return Outcome(prediction, mask, {**details, RESULTS.file: measures})


def details_of(prediction: Prediction, mask: Mask, scan: Scan) -> dict[str, pd.DataFrame]:
    """What lies behind the measures, by the name of its file; what cannot be had is a table without rows."""
    tables = {kind.file: pd.DataFrame(columns=list(kind.columns)) for kind in DETAILS}
    if scan.lesion is None:
        return tables
    tables[LESIONS.file] = lesion_table(match(mask, scan.lesion), scan.spacing_mm, prediction.sd)
    tables[SLICES.file] = slice_table(mask, scan.lesion)
    tables[CALIBRATION.file] = calibration(prediction.probability, scan.lesion, scan.organ)
    if prediction.sd is not None:
        error = mask != scan.lesion
        tables[UNCERTAINTY.file] = sd_against_error(prediction.sd, error, scan.organ)
    return tables


def _write(
    job: Job,
    patient: Patient,
    baseline: Annotated,
    follow_up: Scan,
    tuned: Tuned,
    outcomes: tuple[Outcome, Outcome],
    start: Start,
    threshold: float,
) -> None:
    home = job.home(patient.subject)
    home.mkdir(parents=True)
    write_text(home / LOSSES, json.dumps([float(loss) for loss in tuned.losses]))
    write_text(home / TUNING, json.dumps(_tuning(job.config, patient, baseline, start, threshold), indent=2))
    if job.config.outputs is Outputs.FULL:
        save_tree(home / "network", tuned.variables._asdict())
        named = dict(zip((BASE, TUNED), outcomes, strict=True))
        for name, one in named.items():
            write_volumes(home / name, one.prediction, one.mask, follow_up)
        write_figures(home, follow_up, named, start)
        write_preview(home / PREVIEW, follow_up, named)
    scheme = job.config.finetune.settings.weighting
    own = job.config.finetune.tuned_on is TunedOn.OWN
    if (
        own
        and scheme is not Weighting.NONE
        and baseline.result is not None
        and baseline.scan.lesion is not None
    ):
        weights = voxel_weights(scheme, baseline.scan.lesion, baseline.result.found)
        figure = weights_figure(
            baseline.scan, baseline.result.found, weights,
            title=baseline.scan.name, provenance=start.cohort.provenance,
        )  # fmt: skip
        save_figure(figure, home / "weights.png")
    before, after = outcomes
    for table in TABLES:
        both = [before.tables[table.file], after.tables[table.file]]
        write_table(home / table.file, pd.concat(both, ignore_index=True))


def _tuning(
    config: FinetuneRun, patient: Patient, baseline: Annotated, start: Start, threshold: float
) -> dict[str, object]:
    """What the head was tuned on, and the threshold, for the reader of the results."""
    tune = config.finetune
    if tune.tuned_on is TunedOn.NOBODY:
        return {"tuned_on": None, "threshold": threshold}
    if tune.tuned_on is TunedOn.TRAINING:
        return {"tuned_on": TRAINING_PATIENTS, "threshold": threshold}
    if tune.tuned_on is TunedOn.OTHER:
        visit = other_visit(start.cohort, patient.subject, config.seed)
        return {"tuned_on": visit.name, "threshold": threshold}
    probability = None if baseline.result is None else baseline.result.probability
    slices = tune.settings.slices.positions(baseline.scan, probability)
    return {
        "tuned_on": baseline.scan.name,
        "slices": [int(z) for z in slices],
        "threshold": threshold,
    }


def write_volumes(folder: Path, prediction: Prediction, mask: Mask, scan: Scan) -> None:
    """Mask, probability and, with Monte Carlo samples, mean and SD, as NIfTI on the scan's own grid."""
    write_volume(folder / f"{scan.name}_mask.nii.gz", mask, scan)
    volumes = {"probability": prediction.probability, "mean": prediction.mean, "sd": prediction.sd}
    for name, volume in volumes.items():
        if volume is not None:
            write_volume(folder / f"{scan.name}_{name}.nii.gz", volume, scan)


def write_figures(folder: Path, scan: Scan, outcomes: Mapping[str, Outcome], start: Start) -> None:
    """The paper's figures of a case: objects (Fig. 3, detection), overlays (Fig. 4) and SD maps (Fig. 5)."""
    masks = {name: one.mask for name, one in outcomes.items()}
    common: dict[str, Any] = {"title": scan.name, "provenance": start.cohort.provenance}
    save_figure(overlay_figure(scan, masks, **common), folder / "overlay.png")
    if start.task.kind is Task.DETECTION:
        save_figure(objects_figure(scan, masks, **common), folder / "objects.png")
    maps = sd_maps(outcomes)
    if maps:
        save_figure(sd_figure(scan, maps, **common), folder / "sd.png")


def write_preview(path: Path, scan: Scan, outcomes: Mapping[str, Outcome]) -> None:
    """The most telling slice as arrays, which W&B shows with masks to switch on and off.

    They are ``image`` and, for each network, ``mask:NAME`` and ``sd:NAME``, and ``mask:reference``.
    """
    view, masks = axial_view(scan), {name: one.mask for name, one in outcomes.items()}
    (z,) = informative_slices(scan, list(masks.values()), n=1)
    if scan.lesion is not None:
        masks["reference"] = scan.lesion
    arrays: dict[str, Any] = {"image": view.grey(shown_image(scan), z)}
    arrays |= {f"{MASK}{name}": view.plane(mask, z).astype(np.uint8) for name, mask in masks.items()}
    arrays |= {f"{SD}{name}": view.plane(sd, z) for name, sd in sd_maps(outcomes).items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def sd_maps(outcomes: Mapping[str, Outcome]) -> dict[str, Volume]:
    """The SD maps of those networks that have one."""
    return {name: one.prediction.sd for name, one in outcomes.items() if one.prediction.sd is not None}
