"""The table of organ masks, and their picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.organ_masks import OrganMask, agreement_grid, organ_figure
from psft_jax.scan import Provenance
from tests.reporting.layout import check_layout

NAMED = {"heading": "organ masks", "provenance": Provenance.PHANTOM}


def compared(patient: str, session: str, dsc: float, h95: float) -> OrganMask:
    return OrganMask(patient, session, {"volume_ml": 1500.4, "dsc": dsc, "avd_percent": 2.0, "h95_mm": h95})


def test_median_and_range_are_over_those_that_were_compared() -> None:
    made = OrganMask("C", "1", {"volume_ml": 900.0})
    masks = [
        compared("A", "1", 0.9, 4.0),
        compared("A", "2", 0.97, np.nan),
        made,
        compared("B", "1", 0.96, 3.0),
    ]
    grid = agreement_grid(masks, **NAMED, notes=["a note"])
    assert grid.population == (
        "4 masks made, 3 of them (of 2 test patients) compared with a mask that was given"
    )
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["A 1", "1500", "0.900", "2.0", "4.0"],
        ["A 2", "1500", "0.970", "2.0", "undefined"],
        ["C 1", "900", "", "", ""],
        ["B 1", "1500", "0.960", "2.0", "3.0"],
        [
            "median (range)",
            "1500 (1500 to 1500)",
            "0.960 (0.900 to 0.970)",
            "2.0 (2.0 to 2.0)",
            "3.5 (3.0 to 4.0), 2 of 3 valid",
        ],
    ]
    assert grid.notes == ("Median and range are over the visits that were compared.", "a note")


def test_without_any_mask_to_compare_with_there_is_no_summary() -> None:
    grid = agreement_grid([OrganMask("C", "1", {"volume_ml": 900.0})], **NAMED)
    assert len(grid.rows) == 1
    assert grid.notes == ()


@pytest.mark.parametrize("given", [True, False])
def test_the_picture_shows_both_ends_of_the_organ(scan, given: bool) -> None:
    found = np.zeros(scan.shape, bool)
    found[2:6, 3:9, 2:8] = True
    reference = np.roll(found, 1, axis=0) if given else None
    figure = organ_figure(replace(scan, lesion=reference), found, title="P1_2", provenance=Provenance.PHANTOM)
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == [*(f"slice {z}" for z in range(2, 7 if given else 6)), "coronal 3"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["organ mask, made", "organ mask, given"][: 1 + given]
    check_layout(figure)


def test_outlines_have_their_colours(scan) -> None:
    found = np.zeros(scan.shape, bool)
    found[3, 3:9, 2:8] = True
    given = np.zeros(scan.shape, bool)
    given[3, 2:10, 1:9] = True
    figure = organ_figure(replace(scan, lesion=given), found, title="P1_2", provenance=Provenance.PHANTOM)
    shown = figure.axes[0].images[0].get_array()
    # Radiological: row 0 is the last Y, column 0 the last X of 12 x 10; a quarter of the grey shines through.
    yellow, blue = shown[11 - 3, 9 - 2], shown[11 - 2, 9 - 1]
    assert yellow[0] > 0.7 > 0.3 > yellow[2]
    assert blue[2] > 0.7 > 0.5 > blue[0]


def test_a_mask_of_another_scan_is_refused(scan) -> None:
    with pytest.raises(InputError, match="organ mask"):
        organ_figure(scan, np.ones((2, 2, 2), bool), title="x", provenance=Provenance.PHANTOM)
