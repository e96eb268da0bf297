from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from psft_jax.errors import InputError
from psft_jax.objects import match
from psft_jax.reporting.harm import LesionChange, SliceChange
from psft_jax.scan import Task
from tests.reporting.toy import FALSE, LARGE, SHAPE, SMALL, TRUE, hurt, mask, tables, with_value


def test_who_got_worse_by_how_much_in_which_lesions_and_where():
    given = tables(
        {
            ("base", "A", 0): TRUE,
            ("tuned", "A", 0): mask(LARGE, FALSE),
            ("base", "B", 0): mask(LARGE),
            ("tuned", "B", 0): TRUE,
            ("base", "C", 0): TRUE,
            ("tuned", "C", 0): TRUE,
        }
    )
    found = hurt(given)
    assert not found.nobody
    assert (found.not_worse, found.unknown) == (("B", "C"), ())
    (worse,) = found.worse
    assert (worse.patient, worse.session, worse.seed) == ("A", "T2", 0)
    changes = {change.measure.name: (change.base, change.tuned) for change in worse.worse}
    # 15 of 17 voxels are found, and 4 that are none.
    assert changes["dsc"] == (1.0, pytest.approx(30 / 36))
    assert changes["avd_percent"] == (0.0, pytest.approx(100 * 2 / 17))
    assert changes["lesion_recall"] == (1.0, 0.5)
    assert changes["lesion_f1"] == (1.0, 0.5)
    assert changes["tpr_small"] == (1.0, 0.0)
    assert "tpr_large" not in changes
    assert worse.small == LesionChange(1, lost=1, gained=0)
    assert worse.large == LesionChange(1, lost=0, gained=0)
    assert worse.false_positives == (0, 1)
    assert worse.look_at == SliceChange(3, base=0, tuned=4)


def test_gains_and_losses_of_one_patient_are_told_apart():
    found = hurt(tables({("base", "A", 0): mask(LARGE), ("tuned", "A", 0): mask(SMALL)}))
    (worse,) = found.worse
    assert worse.small == LesionChange(1, lost=0, gained=1)
    assert worse.large == LesionChange(1, lost=1, gained=0)
    assert worse.look_at == SliceChange(2, base=0, tuned=15)


def test_small_is_what_the_task_calls_small():
    cases = {("base", "A", 0): TRUE, ("tuned", "A", 0): mask(LARGE)}
    (worse,) = hurt(tables(cases, Task.DETECTION), Task.DETECTION).worse
    assert worse.small == LesionChange(2, lost=1, gained=0)
    assert worse.large == LesionChange(0, lost=0, gained=0)
    assert [change.measure.name for change in worse.worse] == ["tpr", "f1", "tpr_small", "dsc"]


def test_the_slice_is_the_lowest_of_equal_ones_and_there_may_be_none():
    # Only the distance grew, as set by hand: no slice has more wrong voxels than before.
    given = tables({("base", "A", 0): TRUE, ("tuned", "A", 0): TRUE})
    (worse,) = hurt(with_value(given, "A", "tuned", "h95_mm", 9.0)).worse
    assert worse.look_at is None
    # Slices 0 and 3 are worse by 1 voxel each: the lower one is named.
    before = mask(LARGE, (0, 0, slice(0, 2)))
    after = mask(LARGE, (0, 0, slice(0, 3)), (3, 0, 0))
    (worse,) = hurt(tables({("base", "A", 0): before, ("tuned", "A", 0): after})).worse
    assert worse.look_at == SliceChange(0, base=0, tuned=1)


def test_the_largest_loss_in_the_first_measure_comes_first():
    some, more = mask(LARGE, FALSE), mask(SMALL)
    cases = {("base", patient, 0): TRUE for patient in "ABC"}
    cases |= {("tuned", "A", 0): mask(LARGE), ("tuned", "B", 0): more, ("tuned", "C", 0): some}
    assert [worse.patient for worse in hurt(tables(cases)).worse] == ["B", "C", "A"]


def test_seeds_are_averaged_and_the_typical_one_is_described():
    cases = {("base", "A", seed): TRUE for seed in range(3)}
    cases |= {("tuned", "A", seed): mask for seed, mask in enumerate((TRUE, mask(LARGE), mask(SMALL)))}
    (worse,) = hurt(tables(cases)).worse
    dice = [1.0, 30 / 32, 4 / 19]
    assert astuple(worse.worse[0])[2:] == (1.0, pytest.approx(np.mean(dice)))
    assert worse.seed == 1  # 0.94 is nearer to 0.72 than 1 and 0.21
    assert worse.small == LesionChange(1, lost=1, gained=0)


def test_of_two_seeds_the_one_with_the_loss_is_described():
    cases = {("base", "A", seed): TRUE for seed in range(2)}
    cases |= {("tuned", "A", 0): TRUE, ("tuned", "A", 1): mask(LARGE)}
    assert hurt(tables(cases)).worse[0].seed == 1
    cases |= {("tuned", "A", 0): mask(LARGE), ("tuned", "A", 1): TRUE}
    assert hurt(tables(cases)).worse[0].seed == 0


def test_a_base_with_one_seed_is_held_against_every_seed():
    cases = {("base", "A", 7): TRUE, ("tuned", "A", 0): mask(LARGE), ("tuned", "A", 1): mask(LARGE)}
    (worse,) = hurt(tables(cases)).worse
    assert (worse.seed, worse.small.lost) == (0, 1)


def test_a_mean_over_seeds_may_be_no_worse_though_one_seed_is():
    cases = {("base", "A", seed): mask(LARGE) for seed in range(2)}
    cases |= {("tuned", "A", 0): TRUE, ("tuned", "A", 1): mask(LARGE)}
    assert hurt(tables(cases)).nobody


def test_values_undefined_for_one_network_leave_the_patient_unknown():
    cases = {(variant, patient, 0): TRUE for variant in ("base", "tuned") for patient in "AB"}
    given = tables(cases)
    lost = hurt(with_value(given, "A", "tuned", "h95_mm", math.nan))
    assert (lost.worse, lost.not_worse, lost.unknown) == ((), ("B",), ("A",))
    assert not lost.nobody
    assert [(c.patient, c.measure.name, c.one_sided) for c in lost.undefined] == [("A", "h95_mm", True)]


def test_values_undefined_for_both_are_named_and_nobody_got_worse():
    cases = {(variant, "A", 0): TRUE for variant in ("base", "tuned")}
    given = tables(cases)
    for variant in ("base", "tuned"):
        given = with_value(given, "A", variant, "h95_mm", math.nan)
    found = hurt(given)
    assert found.nobody
    assert found.not_worse == ("A",)
    assert [(c.patient, c.measure.name, c.one_sided) for c in found.undefined] == [("A", "h95_mm", False)]


def test_undefined_values_do_not_hide_what_got_worse():
    cases = {("base", "A", 0): TRUE, ("tuned", "A", 0): mask()}
    found = hurt(tables(cases))
    assert [worse.patient for worse in found.worse] == ["A"]
    assert "h95_mm" in [
        change.measure.name for change in found.undefined
    ]  # no boundary where nothing is found


def test_without_a_reference_nobody_is_said_not_to_have_got_worse():
    cases = {(variant, "A", 0): TRUE for variant in ("base", "tuned")}
    given = tables(cases, annotated=False, sd={"base": 0.3, "tuned": 0.2})
    found = hurt(given)
    assert (found.worse, found.not_worse, found.unknown) == ((), (), ("A",))
    assert not found.nobody
    assert not hurt(given, measures=["max_sd"]).nobody
    (worse,) = hurt(tables(cases, annotated=False, sd={"base": 0.2, "tuned": 0.3}), measures=["max_sd"]).worse
    assert (worse.small.n, worse.false_positives, worse.look_at) == (0, (0, 0), None)


def test_more_uncertainty_is_no_worse_result_unless_asked_for():
    cases = {(variant, "A", 0): TRUE for variant in ("base", "tuned")}
    given = tables(cases, sd={"base": 0.1, "tuned": 0.3})
    assert hurt(given).nobody
    (worse,) = hurt(given, measures=["dsc", "max_sd"]).worse
    assert [change.measure.name for change in worse.worse] == ["max_sd"]


def test_differences_of_rounding_are_none():
    cases = {(variant, "A", 0): TRUE for variant in ("base", "tuned")}
    given = tables(cases)
    assert hurt(with_value(given, "A", "tuned", "h95_mm", 1e-14)).nobody


@pytest.mark.parametrize("loss", ["a lesion", "a false positive", "a slice", "twice"])
def test_lesions_and_slices_of_other_results_are_refused(loss):
    results, lesions, slices = tables({("base", "A", 0): TRUE, ("tuned", "A", 0): mask(LARGE, FALSE)})
    kept = {
        "a lesion": (lesions[~((lesions["kind"] == "reference") & (lesions["lesion"] == 1))], slices),
        "a false positive": (lesions[~((lesions["kind"] == "predicted") & (lesions["hit"] == 0))], slices),
        "a slice": (lesions, slices[slices["slice"] != 3]),
        "twice": (pd.concat([lesions, lesions]), slices),
    }[loss]
    said = {"a lesion": "lesions: 1; expected 2", "twice": "lesions: 4; expected 2", "a slice": "DSC: "}
    with pytest.raises(InputError, match=said.get(loss, "false positive objects: 0; expected 1")):
        hurt((results, *kept))


def test_what_is_missing_is_named():
    given = tables({("base", "A", 0): TRUE, ("tuned", "A", 0): TRUE})
    results, lesions, slices = given
    with pytest.raises(InputError, match="no variant base"):
        hurt((results[results["variant"] == "tuned"], lesions, slices))
    other = tables({("base", "B", 0): TRUE})[0]
    with pytest.raises(InputError, match="tuned lacks patient B"):
        hurt((pd.concat([results, other]), lesions, slices))
    with pytest.raises(InputError, match="no measure max_sd"):
        hurt(given, measures=["max_sd"])
    with pytest.raises(ValueError, match="measures that may get worse"):
        hurt(given, measures=["n_small"])


def test_rows_of_other_variants_and_data_sets_do_not_matter():
    cases = {("base", "A", 0): TRUE, ("tuned", "A", 0): mask(LARGE), ("longer", "A", 0): mask()}
    given = tables(cases)
    results, *details = given
    expected = hurt(given).worse
    more = [pd.concat([table, table.assign(dataset="other")]) for table in details]
    assert hurt((results, *more)).worse == expected
    assert len(expected) == 1


@drawn(st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_every_patient_is_in_one_list_and_the_numbers_add_up(seed):
    generator = np.random.default_rng(seed)
    cases = {}
    for patient in "ABCD":
        for variant in ("base", "tuned"):
            noise = generator.random(SHAPE) < generator.choice([0.0, 0.02])
            found = TRUE & (generator.random(SHAPE) < generator.choice([0.0, 0.5, 1.0]))
            cases[variant, patient, 0] = found | noise
    result = hurt(tables(cases))
    names = [worse.patient for worse in result.worse]
    assert sorted([*names, *result.not_worse, *result.unknown]) == list("ABCD")
    assert result.nobody == (not names and not result.unknown)
    for worse in result.worse:
        base, tuned = (cases[variant, worse.patient, 0] for variant in ("base", "tuned"))
        before, after = match(base, TRUE), match(tuned, TRUE)
        gained = worse.small.gained + worse.large.gained - worse.small.lost - worse.large.lost
        assert gained == after.detected.sum() - before.detected.sum()
        assert worse.false_positives == ((~before.correct).sum(), (~after.correct).sum())
        grown = (tuned ^ TRUE).sum(axis=(1, 2)) - (base ^ TRUE).sum(axis=(1, 2))
        look = worse.look_at
        assert (look.tuned - look.base if look else 0) == max(grown.max(), 0)
        if look:
            assert look.slice == grown.argmax()
