"""Which lesions were found, which were missed, and what was found that is none: the paper's Fig. 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.transforms import offset_copy
from scipy import ndimage

from psft_jax.objects import Matching, label_objects, match
from psft_jax.reporting.figures import new_figure
from psft_jax.reporting.overlays import figure_size, show, show_image
from psft_jax.reporting.views import (
    OUTLINE,
    AxialView,
    PlaneMask,
    axial_view,
    check_shapes,
    informative_slices,
    shown_image,
)
from psft_jax.scan import Mask, Provenance, Scan

_Style = dict[str, Any]

# A black halo sets everything apart from bright lesions and from white paper.
_LINE: _Style = {"linewidth": 1.3, "path_effects": [withStroke(linewidth=2.3, foreground="black")]}
_MARK: _Style = {
    "linestyle": "",
    "markersize": 6.5,
    "markeredgewidth": 1.6,
    "path_effects": [withStroke(linewidth=3.2, foreground="black")],
}
# Shape and dashes say the same as colour, for eyes that do not tell green from red.
HIT: _Style = {
    "marker": Path([(-1.0, 0.1), (-0.3, -0.7), (1.0, 1.0)]),
    "color": "#5CFF7A",
    "fillstyle": "none",
}
MISSED: _Style = {"marker": "x", "color": "#FF4A3D"}
LESION: _Style = {"color": "#FFFFFF", "linestyle": "-"}
FALSE: _Style = {"color": "#FF4A3D", "linestyle": (0, (1.6, 0.7))}
UNJUDGED: _Style = {"color": OUTLINE, "linestyle": "-"}
_ASIDE_PT = 5.5
_FINER = 4


def objects_figure(
    scan: Scan, predictions: Mapping[str, Mask], *, title: str, provenance: Provenance, rows: int = 3
) -> Figure:
    """Informative axial slices with each lesion's fate, a column a prediction (Fig. 3).

    White outline: annotation. Green check: a lesion that the prediction overlaps somewhere in the volume. Red
    cross: one that it misses. Red dashes: a predicted object that overlaps no lesion. Objects are those of
    the volume (26-neighbourhood): all pieces of a lesion in the slice have its mark, and a check may stand
    where this slice has no overlap. Without a reference, the predicted objects are outlined in yellow, and
    nothing is right or wrong.

    Args:
        scan: the case, with its reference annotation or without.
        predictions: by name, in the order of the columns.
        title: heading.
        provenance: where the images come from.
        rows: at most so many slices.

    Raises:
        InputError: no prediction, or one that is not on the scan's grid.
    """
    check_shapes(scan, predictions)
    view, image = axial_view(scan), shown_image(scan)
    judged = {name: None if scan.lesion is None else match(m, scan.lesion) for name, m in predictions.items()}
    telling = [predictions[name] if j is None else _telling(j) for name, j in judged.items()]
    slices = informative_slices(scan, telling, rows)
    width, height = figure_size(view, scan, len(slices), len(predictions))
    keys = _keys(annotated=scan.lesion is not None)
    figure = new_figure(width, height + 0.3, title=title, provenance=provenance, keys=keys)
    axes = figure.subplots(len(slices), len(predictions), squeeze=False)
    for number, (name, matching) in enumerate(judged.items()):
        axes[0, number].set_title(f"{name}\n{_counted(predictions[name], matching)}", fontsize=10)
        for axis, z in zip(axes[:, number], slices, strict=True):
            grey = view.grey(image, z)
            if number:
                show(axis, grey, view)
            else:
                show_image(axis, grey, view, z)
            if matching is None:
                _draw_outline(axis, view.plane(predictions[name], z), UNJUDGED)
            else:
                _draw_objects(figure, axis, matching, view, z)
    return figure


def _telling(matching: Matching) -> Mask:
    """The lesions that were hit and the objects that are none: where these differ, the networks differ."""
    hit = np.append(False, matching.detected)[matching.reference.labels]
    return hit | _false_objects(matching)


def _false_objects(matching: Matching) -> Mask:
    return np.append(False, ~matching.correct)[matching.predicted.labels]


def _counted(mask: Mask, matching: Matching | None) -> str:
    """What was found in the whole volume."""
    if matching is None:
        n = len(label_objects(mask))
        return f"{n} object{'' if n == 1 else 's'}"
    hits, lesions = np.count_nonzero(matching.detected), len(matching.reference)
    return f"{hits} of {lesions} lesions hit, {np.count_nonzero(~matching.correct)} false positive"


def _draw_objects(figure: Figure, axis: Axes, matching: Matching, view: AxialView, z: int) -> None:
    lesions = view.plane(matching.reference.labels, z)
    _draw_outline(axis, lesions > 0, LESION)
    _draw_outline(axis, view.plane(_false_objects(matching), z), FALSE)
    # Two lesions never touch, so a piece of the slice is of one lesion.
    pieces, n = ndimage.label(lesions, structure=np.ones((3, 3)))
    places = [(_beside(pieces == piece), lesions[pieces == piece][0]) for piece in range(1, n + 1)]
    aside = offset_copy(axis.transData, figure, _ASIDE_PT, _ASIDE_PT, units="points")
    for hit, style in ((True, HIT), (False, MISSED)):
        chosen = [place for place, number in places if matching.detected[number - 1] == hit]
        if chosen:
            axis.plot(*zip(*chosen, strict=True), transform=aside, clip_on=False, **style, **_MARK)


def _draw_outline(axis: Axes, mask: PlaneMask, style: _Style) -> None:
    """A line along the sides of the mask's outermost pixels."""
    if not mask.any():
        return
    # A finer grid makes the contour follow the pixels' sides, and a frame closes it at the image's border.
    fine = np.pad(mask, 1).repeat(_FINER, axis=0).repeat(_FINER, axis=1)
    y, x = ((np.arange(n) + 0.5) / _FINER - 1.5 for n in fine.shape)
    axis.autoscale(False)
    lines = axis.contour(
        x, y, fine, levels=[0.5], colors=[style["color"]], linestyles=[style["linestyle"]],
        linewidths=_LINE["linewidth"],
    )  # fmt: skip
    lines.set_path_effects(_LINE["path_effects"])


def _beside(piece: PlaneMask) -> tuple[int, int]:
    """Column and row of the piece's pixel that lies furthest to the upper right, where its mark is put."""
    rows, columns = np.nonzero(piece)
    corner = (columns - rows).argmax()
    return int(columns[corner]), int(rows[corner])


def _keys(*, annotated: bool) -> list[Line2D]:
    if not annotated:
        return [Line2D([], [], label="predicted object (no reference)", **UNJUDGED, **_LINE)]
    return [
        Line2D([], [], label="annotation", **LESION, **_LINE),
        Line2D([], [], label="false positive object", **FALSE, **_LINE),
        Line2D([], [], label="lesion that was hit", **HIT, **_MARK),
        Line2D([], [], label="missed lesion", **MISSED, **_MARK),
    ]
