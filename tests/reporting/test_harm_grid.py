from __future__ import annotations

import pytest

from psft_jax.reporting.harm_grid import SLICES, harm_grid, harm_text
from psft_jax.scan import Provenance, Task
from tests.reporting.toy import FALSE, LARGE, SMALL, TRUE, hurt, mask, tables, with_value

SAME = {(variant, patient, 0): TRUE for variant in ("base", "tuned") for patient in "AB"}
MEASURES = "DSC; AVD (%); H95 (mm); Lesion recall; Lesion F1; TPR, small lesions; TPR, large lesions"


def _grid(found):
    return harm_grid(found, provenance=Provenance.PHANTOM, heading="Hurt?")


def _cells(found):
    return [[cell.text for cell in row] for row in _grid(found).rows]


def test_no_patient_got_worse_is_said_where_it_is_true():
    found = hurt(tables(SAME))
    assert harm_text(found) == [f"No patient got worse in any of these measures (n = 2): {MEASURES}."]
    assert _cells(found) == []


def test_who_got_worse_is_a_row():
    found = hurt(tables(SAME | {("tuned", "B", 0): mask(LARGE, FALSE)}))
    assert harm_text(found) == [
        f"1 of 2 patients got worse in at least one of these measures: {MEASURES}.",
        "Not worse in any: A.",
    ]
    ((patient, lost, small, large, false, look, seed),) = _cells(found)
    assert patient == "B (T2)"
    assert lost.startswith("DSC 1.00 → 0.83 (-0.17); AVD (%) 0.0 → 11.8 (+11.8); ")
    assert (small, large) == ("1 lost, 0 gained, of 1", "0 lost, 0 gained, of 1")
    assert (false, look, seed) == ("+1 (0 → 1)", "3 (wrong voxels 0 → 4)", "0")


def test_what_did_not_change_is_said_too():
    found = hurt(
        tables({("base", "A", 0): TRUE, ("tuned", "A", 0): mask(LARGE)}, Task.DETECTION), Task.DETECTION
    )
    ((_, _, small, large, false, look, _),) = _cells(found)
    assert (small, large, false) == ("1 lost, 0 gained, of 2", "none", "same (0)")
    assert look == "0 (wrong voxels 0 → 2)"
    everyone = hurt(tables({("base", "A", 0): TRUE, ("tuned", "A", 0): mask(SMALL)}))
    assert harm_text(everyone)[1] == "Not worse in any: nobody."


def test_a_small_loss_has_as_many_decimals_as_it_takes_to_see_it():
    given = tables(SAME)
    found = hurt(with_value(given, "A", "tuned", "avd_percent", 0.004))
    ((_, lost, *_, look, _),) = _cells(found)
    assert lost == "AVD (%) 0.000 → 0.004 (+0.004)"
    assert look == "–"


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        (["tuned"], "Undefined, and not compared: H95 (mm): A (with tuned)."),
        (["base"], "Undefined, and not compared: H95 (mm): A (with base)."),
        (["base", "tuned"], "Undefined, and not compared: H95 (mm): A (with both networks)."),
    ],
)
def test_undefined_values_are_named_with_their_network(variants, expected):
    given = tables(SAME)
    for variant in variants:
        given = with_value(given, "A", variant, "h95_mm", float("nan"))
    first, *_, last = harm_text(hurt(given))
    assert last == expected
    assert first.startswith("No patient got worse") == (len(variants) == 2)
    if len(variants) == 1:
        assert first == (
            "No patient is known to have got worse, but 1 of 2 cannot be judged by these measures: "
            f"{MEASURES}."
        )


def test_without_anything_to_compare_nothing_is_promised():
    text = harm_text(hurt(tables(SAME, annotated=False)))
    assert text[0].startswith("No patient is known to have got worse, but 2 of 2 cannot be judged")
    assert text[0].endswith("these measures: none.")
    assert text[2].startswith("Cannot be judged: A, B.")


def test_the_grid_says_whose_numbers_these_are():
    grid = _grid(hurt(tables(SAME | {("tuned", "B", 0): mask(SMALL)})))
    assert grid.statements == ("PHANTOM data: generated images, not patients", "toy, 2 patients, seed 0")
    assert grid.header[2:4] == ("Lesions below 0.01 mL", "Lesions of 0.01 mL or more")
    assert any(SLICES in note for note in grid.notes)
    assert any("base → tuned" in note for note in grid.notes)
