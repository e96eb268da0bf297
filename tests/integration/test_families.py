"""Which runs belong into which table."""

from __future__ import annotations

from dataclasses import replace

from experiments.config import FinetuneRun, TuneConfig
from experiments.families import families
from psft_jax.reporting.paper import Setting
from tests.integration.commands import composed


def tune(*words: str) -> TuneConfig:
    return composed(FinetuneRun, "base=x", *words).finetune


def iterations(count: int) -> TuneConfig:
    return tune(f"finetune.settings.iterations={count}")


def slices(candidates: str, count: str) -> TuneConfig:
    return tune(
        f"finetune.settings.slices.candidates={candidates}", f"finetune.settings.slices.count={count}"
    )


def test_the_papers_settings_are_recognised() -> None:
    runs = [
        *(iterations(count) for count in (0, 50, 100, 500, 1000)),
        *(slices("organ", count) for count in ("1", "2", "null")),
        *(slices("lesion", count) for count in ("1", "2")),
        tune("finetune=weighted"),
        tune("finetune=head_bn"),  # another family
    ]
    family, other = families(runs)
    assert set(family.paper) == set(Setting)
    assert family.paper[Setting.FINE_TUNED] == "fine-tuned"
    assert family.paper[Setting.ITERATIONS_50] == "fine-tuned (50 iterations)"
    assert family.paper[Setting.ONE_ORGAN_SLICE] == "fine-tuned (1 slice of the organ)"
    assert family.paper[Setting.TWO_LESION_SLICES] == "fine-tuned (2 slices of those with lesions)"
    assert family.paper[Setting.WEIGHTED] == "fine-tuned (weighted for segmentation)"
    assert sorted(family.iterations.values()) == [0, 50, 100, 500, 1000]
    assert other.variant == "fine-tuned (scope head_bn)"
    assert set(other.paper) == {Setting.BASE, Setting.FINE_TUNED}
    assert not other.is_studied


def test_controls_go_with_the_class_weight_of_their_head() -> None:
    runs = [
        tune("finetune=paper"),
        tune("finetune=unweighted"),
        tune("finetune=control/threshold"),
        *(tune(f"finetune=control/{who}_patient{s}") for who, s in (("training", "s"), ("other", ""))),
        *(
            tune(f"finetune=control/{who}_patient{s}_unweighted")
            for who, s in (("training", "s"), ("other", ""))
        ),
    ]
    found = {family.variant: family.controls for family in families(runs)}
    threshold = "fine-tuned (not tuned, threshold tuned)"
    assert list(found["fine-tuned"]) == [
        "base",
        threshold,
        "fine-tuned (on the training patients)",
        "fine-tuned (on another patient)",
    ]
    assert list(found["fine-tuned (class weight 1)"]) == [
        "base",
        threshold,
        "fine-tuned (on the training patients, class weight 1)",
        "fine-tuned (on another patient, class weight 1)",
    ]


def test_one_run_speaks_for_the_threshold_in_every_family() -> None:
    fast = "finetune.settings.learning_rate=0.01"
    runs = [tune(), tune(fast), *(tune("finetune=control/threshold", *words) for words in ((), (fast,)))]
    for family in families(runs):
        assert list(family.controls) == ["base", "fine-tuned (not tuned, threshold tuned)"]
        assert not family.is_studied
        assert list(family.every_control.values()) == [
            "base CNN",
            "base CNN, threshold tuned on the baseline",
            "head tuned on the training patients",
            "head tuned on another patient",
        ]


def test_two_changes_at_once_belong_to_no_table_of_the_paper() -> None:
    both = tune("finetune.settings.iterations=50", "finetune.settings.slices.count=1")
    (family,) = families([tune(), both])
    assert both.variant not in family.paper.values()


def test_without_the_papers_number_of_iterations_the_longest_run_is_in_the_middle() -> None:
    (family,) = families([iterations(50), iterations(7), iterations(0)])
    assert family.variant == "fine-tuned (50 iterations)"
    assert family.iterations == {
        "base": 0,
        "fine-tuned (50 iterations)": 50,
        "fine-tuned (7 iterations)": 7,
    }


def test_only_a_hundred_iterations_are_called_a_hundred() -> None:
    (family,) = families([iterations(50), iterations(1000)])
    assert family.by_iterations == {
        Setting.BASE: "base",
        Setting.ITERATIONS_50: "fine-tuned (50 iterations)",
        Setting.ITERATIONS_1000: "fine-tuned (1000 iterations)",
    }


def test_a_lone_ablation_stands_for_itself_and_not_for_the_method() -> None:
    (family,) = families([tune("finetune=weighted")])
    assert family.variant == "fine-tuned (weighted for segmentation)"
    assert Setting.FINE_TUNED not in family.paper


def test_the_weighted_setting_belongs_to_every_class_weight() -> None:
    for family in families([tune(), tune("finetune=unweighted"), tune("finetune=weighted")]):
        assert family.paper[Setting.WEIGHTED] == "fine-tuned (weighted for segmentation)"


def test_another_learning_rate_is_another_family() -> None:
    fast = replace(tune(), settings=replace(tune().settings, learning_rate=0.01))
    assert {family.variant for family in families([tune(), fast])} == {
        "fine-tuned",
        "fine-tuned (learning rate 0.01)",
    }
