"""All measures of one case, and how a table shows each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from psft_jax.evaluation import detection, segmentation
from psft_jax.evaluation.statistics import Statistics
from psft_jax.evaluation.uncertainty import maximum_sd, mean_sd_of_detected
from psft_jax.objects import label_objects, match
from psft_jax.scan import Mask, Scan, Task, Volume

SMALL_BELOW_ML = {Task.SEGMENTATION: 0.01, Task.DETECTION: 1.0}
"""Lesions of less than this volume are small (sections 4.1.4 and 4.2.4)."""


@dataclass(frozen=True)
class Measure:
    """How a table shows one measure.

    Args:
        name: its name among the results.
        label: heading, with its unit.
        unit: "" for a ratio or a count.
        higher_is_better: None for what only describes a case, such as its number of lesions.
        decimals: digits after the point.
        statistics: how it is summarised and tested whatever the task; None where the task decides.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    decimals: int
    statistics: Statistics | None = None


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("dsc", "DSC", "", True, 2),
        Measure("avd_percent", "AVD (%)", "%", False, 1),
        Measure("log_avd", "Log AVD", "", False, 2),
        Measure("h95_mm", "H95 (mm)", "mm", False, 2),
        Measure("lesion_recall", "Lesion recall", "", True, 2),
        Measure("lesion_f1", "Lesion F1", "", True, 2),
        Measure("tpr", "TPR", "", True, 2),
        # One decimal, because the median of an even number of patients may be a half.
        Measure("fpc", "FPC", "", False, 1),
        Measure("precision", "Precision", "", True, 2),
        Measure("f1", "F1 score", "", True, 2),
        Measure("tpr_small", "TPR, small lesions", "", True, 2),
        Measure("tpr_large", "TPR, large lesions", "", True, 2),
        Measure("n_small", "Small lesions", "", None, 1),
        Measure("n_large", "Large lesions", "", None, 1),
        Measure("n_objects", "Objects found", "", None, 1),
        Measure("volume_ml", "Volume (mL)", "mL", None, 2),
        Measure("reference_volume_ml", "Reference volume (mL)", "mL", None, 2),
        # The paper has mean and t-test for the uncertainty of both tasks (sections 4.1.5 and 4.2.5).
        Measure("max_sd", "Maximum SD", "", False, 3, Statistics.MEAN_T_TEST),
        Measure("mean_sd_detected", "Mean SD, detected lesions", "", False, 3, Statistics.MEAN_T_TEST),
    )
}
"""Every measure by its name, in the order of a table's columns."""

_TASK_STATISTICS = {
    Task.SEGMENTATION: Statistics.MEAN_T_TEST,
    Task.DETECTION: Statistics.MEDIAN_WILCOXON,
}


def statistics_of(measure: Measure, task: Task) -> Statistics:
    """How a measure is summarised and tested: its own way if it has one, else the task's (section 3)."""
    return measure.statistics or _TASK_STATISTICS[task]


def by_statistics(measures: Iterable[Measure], task: Task) -> dict[Statistics, list[Measure]]:
    """The measures that are summarised and tested alike, in the order in which the first of them comes."""
    groups: dict[Statistics, list[Measure]] = {}
    for measure in measures:
        groups.setdefault(statistics_of(measure, task), []).append(measure)
    return groups


def evaluate(task: Task, prediction: Mask, scan: Scan, *, sd: Volume | None = None) -> dict[str, float]:
    """All measures of one case.

    Args:
        task: which measures, and which lesions are small.
        prediction: (Z, Y, X) True inside the lesions found.
        scan: the case, with its reference annotation or without.
        sd: (Z, Y, X) SD of the lesion probability over Monte Carlo dropout samples.

    Returns:
        Name to value, NaN where a measure is undefined. Without a reference only the volume, the number of
        objects and the maximum SD.
    """
    values = {
        "n_objects": float(len(label_objects(prediction))),
        "volume_ml": float(np.count_nonzero(prediction) * scan.voxel_volume_ml),
    }
    if sd is not None:
        values["max_sd"] = maximum_sd(sd, scan.organ)
    if scan.lesion is None:
        return values
    return values | _against_reference(task, prediction, scan.lesion, scan, sd)


def _against_reference(
    task: Task, prediction: Mask, reference: Mask, scan: Scan, sd: Volume | None
) -> dict[str, float]:
    matching = match(prediction, reference)
    by_size = detection.rate_by_size(matching, scan.spacing_mm, SMALL_BELOW_ML[task])
    values = {
        "dsc": segmentation.dice(prediction, reference),
        "fpc": float(detection.false_positives(matching)),
        "reference_volume_ml": float(np.count_nonzero(reference) * scan.voxel_volume_ml),
        **{name: float(value) for name, value in asdict(by_size).items()},
    }
    if task is Task.SEGMENTATION:
        return values | {
            "avd_percent": segmentation.absolute_volume_difference(prediction, reference),
            "log_avd": segmentation.log_volume_difference(prediction, reference),
            "h95_mm": segmentation.h95(prediction, reference, scan.spacing_mm),
            "lesion_recall": segmentation.lesion_recall(matching),
            "lesion_f1": segmentation.lesion_f1(matching),
        }
    if sd is not None:
        values["mean_sd_detected"] = mean_sd_of_detected(sd, matching)
    return values | {
        "tpr": detection.true_positive_rate(matching),
        "precision": detection.precision(matching),
        "f1": detection.f1(matching),
    }
