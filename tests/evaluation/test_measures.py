from __future__ import annotations

import math

import numpy as np
import pytest

from psft_jax.evaluation.measures import MEASURES, SMALL_BELOW_ML, by_statistics, evaluate, statistics_of
from psft_jax.evaluation.statistics import Statistics
from psft_jax.scan import Scan, Task

SHAPE = (3, 12, 12)
SPACING = (3.0, 1.0, 1.0)


def scan_with(lesion: np.ndarray | None) -> Scan:
    organ = np.ones(SHAPE, bool)
    organ[:, 0] = False
    image = np.zeros((*SHAPE, 1), np.float32)
    return Scan("p1", "follow-up", (image, image), organ, lesion, SPACING, np.eye(4))


def boxes(*corners: tuple[int, int, int], size: tuple[int, int, int] = (1, 2, 2)) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for corner in corners:
        mask[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = True
    return mask


@pytest.fixture
def sd() -> np.ndarray:
    sd = np.full(SHAPE, 0.1, np.float32)
    sd[0, 2, 2] = 0.5
    sd[0, 0, 0] = 0.9  # outside the organ
    return sd


def test_segmentation_of_a_hand_made_case(sd):
    lesion = boxes((0, 2, 2), (2, 8, 8))
    lesion[0, 8, 2] = True  # one voxel, 0.003 mL
    prediction = boxes((0, 2, 3), (0, 8, 8))  # half over one lesion; one false positive
    values = evaluate(Task.SEGMENTATION, prediction, scan_with(lesion), sd=sd)
    expected = {
        "dsc": 2 * 2 / (8 + 9),
        "avd_percent": 100 / 9,
        "log_avd": math.log(9 / 8),
        "lesion_recall": 1 / 3,
        "lesion_f1": 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2),
        "fpc": 1.0,
        "tpr_small": 0.0,
        "tpr_large": 1 / 2,
        "n_small": 1.0,
        "n_large": 2.0,
        "n_objects": 2.0,
        "volume_ml": 0.024,
        "reference_volume_ml": 0.027,
        "max_sd": 0.5,
    }
    assert values.pop("h95_mm") == pytest.approx(6.0)  # two slices of 3 mm between one lesion and its copy
    assert values == pytest.approx(expected)


def test_detection_of_a_hand_made_case(sd):
    lesion = boxes((0, 2, 2), (2, 8, 8))
    prediction = boxes((0, 2, 3), (0, 8, 8))
    values = evaluate(Task.DETECTION, prediction, scan_with(lesion), sd=sd)
    assert values == pytest.approx(
        {
            "tpr": 0.5,
            "fpc": 1.0,
            "precision": 0.5,
            "f1": 0.5,
            "dsc": 2 * 2 / 16,
            "tpr_small": 0.5,
            "tpr_large": math.nan,
            "n_small": 2.0,
            "n_large": 0.0,
            "n_objects": 2.0,
            "volume_ml": 0.024,
            "reference_volume_ml": 0.024,
            "max_sd": 0.5,
            "mean_sd_detected": (0.5 + 3 * 0.1) / 4,
        },
        nan_ok=True,
    )


@pytest.mark.parametrize("task", Task)
def test_without_a_reference_only_what_the_prediction_tells(task, sd):
    values = evaluate(task, boxes((0, 2, 2)), scan_with(None), sd=sd)
    assert values == pytest.approx({"n_objects": 1.0, "volume_ml": 0.012, "max_sd": 0.5})
    assert "max_sd" not in evaluate(task, boxes((0, 2, 2)), scan_with(None))


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("lesion", [boxes(), boxes((1, 4, 4))])
@pytest.mark.parametrize("prediction", [boxes(), boxes((1, 4, 4)), boxes((0, 9, 9))])
def test_every_name_is_in_the_table_and_every_case_has_the_same_names(task, lesion, prediction, sd):
    values = evaluate(task, prediction, scan_with(lesion), sd=sd)
    usual = evaluate(task, boxes((1, 4, 4)), scan_with(boxes((1, 4, 4))), sd=sd)
    assert values.keys() == usual.keys() <= MEASURES.keys()
    assert {type(value) for value in values.values()} == {float}


def test_the_measures_of_a_perfect_case_are_the_best_there_are(sd):
    lesion = boxes((0, 2, 2), (2, 8, 8))
    best = evaluate(Task.SEGMENTATION, lesion, scan_with(lesion)) | evaluate(
        Task.DETECTION, lesion, scan_with(lesion)
    )
    for name, value in best.items():
        higher_is_better = MEASURES[name].higher_is_better
        if higher_is_better is not None and not math.isnan(value):
            assert value == (1.0 if higher_is_better else 0.0), name


def test_units_stand_in_the_headings():
    assert all(m.unit in m.label for m in MEASURES.values())
    assert all(name == m.name for name, m in MEASURES.items())


def test_small_is_below_1_cm3_in_the_liver_and_10_mm3_in_the_brain():
    assert SMALL_BELOW_ML == {Task.DETECTION: 1.0, Task.SEGMENTATION: 0.01}


def test_uncertainty_has_mean_and_t_test_in_both_tasks_and_the_rest_goes_by_the_task():
    uncertainty = {"max_sd", "mean_sd_detected"}  # sections 4.1.5 and 4.2.5
    for name, measure in MEASURES.items():
        assert statistics_of(measure, Task.SEGMENTATION) is Statistics.MEAN_T_TEST
        assert (statistics_of(measure, Task.DETECTION) is Statistics.MEAN_T_TEST) == (name in uncertainty)


def test_measures_are_grouped_in_their_order():
    tpr, max_sd, f1 = MEASURES["tpr"], MEASURES["max_sd"], MEASURES["f1"]
    assert list(by_statistics([tpr, max_sd, f1], Task.DETECTION).items()) == [
        (Statistics.MEDIAN_WILCOXON, [tpr, f1]),
        (Statistics.MEAN_T_TEST, [max_sd]),
    ]
    assert by_statistics([], Task.DETECTION) == {}
