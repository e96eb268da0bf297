from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet

from psft_jax.errors import InputError
from psft_jax.reporting.objects_figure import FALSE, HIT, LESION, MISSED, UNJUDGED, objects_figure
from psft_jax.scan import Provenance
from tests.reporting.layout import check_layout


def _figure(scan, predictions, **changes):
    return objects_figure(scan, predictions, title="P1", provenance=Provenance.PHANTOM, **changes)


def _marks(axes):
    """(marker, column, row) of every mark, before it is moved aside."""
    return [
        ("hit" if line.get_color() == HIT["color"] else "missed", int(x), int(y))
        for line in axes.lines
        for x, y in zip(*line.get_data(), strict=True)
    ]


def _outlines(axes):
    """Colour of each outline, and its extent: left, right, top, bottom."""
    found = []
    for contours in (c for c in axes.get_children() if isinstance(c, QuadContourSet)):
        colour = "".join(f"{round(255 * part):02X}" for part in contours.get_edgecolor()[0][:3])
        corners = np.concatenate([path.vertices for path in contours.get_paths()])
        found.append((f"#{colour}", *corners.min(axis=0).round(2), *corners.max(axis=0).round(2)))
    return found


@pytest.fixture
def two_lesions(scan):
    """Lesion of 2 x 2 voxels in the display's rows 4 and 5 and columns 6 and 7; one of 1 voxel in 0 and 9."""
    lesion = scan.lesion.copy()
    lesion[4, 11, 0] = True
    return replace(scan, lesion=lesion)


def test_every_lesion_has_its_mark_and_every_false_object_its_outline(two_lesions):
    found = np.zeros(two_lesions.shape, bool)
    found[4, 7, 3] = True  # one voxel of the larger lesion
    found[4, 1, 8] = True  # and one that is none: row 10, column 1
    axes = _figure(two_lesions, {"base": found}).axes[0]
    # Marks stand beside the upper right pixel of each lesion.
    assert sorted(_marks(axes)) == [("hit", 7, 4), ("missed", 9, 0)]
    assert _outlines(axes) == [
        (LESION["color"], 5.5, -0.5, 9.5, 5.5),
        (FALSE["color"], 0.5, 9.5, 1.5, 10.5),
    ]


def test_a_lesion_is_hit_where_it_is_hit_in_another_slice(two_lesions):
    lesion = two_lesions.lesion.copy()
    lesion[3, 7, 3] = True
    found = np.zeros(two_lesions.shape, bool)
    found[3, 7, 3] = True
    figure = _figure(replace(two_lesions, lesion=lesion), {"base": found}, rows=1)
    assert figure.axes[0].get_ylabel() == "slice 4"
    assert sorted(_marks(figure.axes[0])) == [("hit", 7, 4), ("missed", 9, 0)]


def test_every_piece_of_a_lesion_in_the_slice_has_its_mark(scan):
    lesion = scan.lesion.copy()
    lesion[4, 6:8, 6:8] = True
    lesion[5, 6, 2:8] = True  # joins the two pieces above
    axes = _figure(replace(scan, lesion=lesion), {"base": scan.lesion}, rows=1).axes[0]
    assert axes.get_ylabel() == "slice 4"
    assert sorted(_marks(axes)) == [("hit", 3, 4), ("hit", 7, 4)]


def test_columns_count_what_was_found_in_the_whole_volume(two_lesions):
    nothing = np.zeros(two_lesions.shape, bool)
    false = nothing.copy()
    false[0, 0, 0] = false[7, 0, 0] = True
    figure = _figure(two_lesions, {"base": two_lesions.lesion | false, "tuned": nothing}, rows=1)
    assert [axes.get_title() for axes in figure.axes] == [
        "base\n2 of 2 lesions hit, 2 false positive",
        "tuned\n0 of 2 lesions hit, 0 false positive",
    ]


def test_the_slice_where_a_lesion_is_hit_by_one_network_alone_is_shown(scan):
    # Both hit the lesion in slice 7, though with other outlines; in slice 0 only one hits the lesion.
    lesion = scan.lesion.copy()
    lesion[7, 3, 3:6] = lesion[0, 3, 3] = True
    base, tuned = lesion.copy(), lesion.copy()
    base[0] = False
    tuned[7, 3, 3:5] = False
    figure = _figure(replace(scan, lesion=lesion), {"base": base, "tuned": tuned}, rows=2)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["slice 4", "slice 0"]


def test_marks_and_dashes_differ_without_colour():
    assert HIT["marker"] != MISSED["marker"]
    assert LESION["linestyle"] != FALSE["linestyle"]


def test_without_a_reference_nothing_is_right_or_wrong(scan):
    figure = _figure(replace(scan, lesion=None), {"base": scan.lesion})
    axes = figure.axes[0]
    assert axes.get_title() == "base\n1 object"
    assert not axes.lines
    colour = "#" + "".join(f"{round(255 * part):02X}" for part in UNJUDGED["color"])
    assert _outlines(axes) == [(colour, 5.5, 3.5, 7.5, 5.5)]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["predicted object (no reference)"]


def test_outlines_at_the_border_are_closed(scan):
    found = np.zeros(scan.shape, bool)
    found[4] = True
    axes = _figure(scan, {"base": found}, rows=1).axes[0]
    before = axes.get_xlim(), axes.get_ylim()
    assert before == ((-0.5, 9.5), (11.5, -0.5))
    empty = replace(scan, lesion=np.zeros(scan.shape, bool))
    (outline,) = _outlines(_figure(empty, {"base": found}, rows=1).axes[0])
    assert outline == (FALSE["color"], -0.5, -0.5, 9.5, 11.5)


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("annotated", [True, False])
def test_nothing_is_cut_off_or_overlaps(two_lesions, columns, annotated):
    shown = two_lesions if annotated else replace(two_lesions, lesion=None)
    names = ["base", "fine-tuned", "fine-tuned (50 it)"][:columns]
    figure = _figure(shown, dict.fromkeys(names, two_lesions.lesion))
    assert figure.legends[0].get_title().get_text() == "PHANTOM data: generated images, not patients"
    check_layout(figure)


def test_predictions_on_another_grid_are_refused(scan):
    with pytest.raises(InputError, match="found base"):
        _figure(scan, {"base": np.zeros((1, 2, 3), bool)})
    with pytest.raises(InputError, match="no prediction"):
        _figure(scan, {})
