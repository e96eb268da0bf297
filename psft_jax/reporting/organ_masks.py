"""Organ masks to look at, and how well they agree with those that were given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from psft_jax.evaluation.measures import MEASURES
from psft_jax.evaluation.organ import AGREEMENT
from psft_jax.reporting.contact_sheet import AXIAL, CORONAL, ORGAN, Panel, outlined, show_panel
from psft_jax.reporting.figures import new_figure
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.reporting.views import OUTLINE, AxialView, axial_view, check_shapes, radiological, shown_image
from psft_jax.scan import Mask, Provenance, Scan

_AXIAL_PANELS = 7
_COLUMNS, _PANEL_IN = 4, 2.4
_DECIMALS = {"volume_ml": 0, "dsc": 3, "avd_percent": 1, "h95_mm": 1}
"""Columns of the table, and digits after the point: an organ's DSC is told from another's by the third."""


@dataclass(frozen=True)
class OrganMask:
    """A mask that was made.

    Args:
        patient: whose.
        session: of which visit.
        measures: by name, with those of ``AGREEMENT`` where a mask was given to compare with.
    """

    patient: str
    session: str
    measures: Mapping[str, float]

    @property
    def compared(self) -> bool:
        """Whether a mask was given."""
        return not set(AGREEMENT).isdisjoint(self.measures)


def agreement_grid(
    masks: Sequence[OrganMask], *, heading: str, provenance: Provenance, notes: Sequence[str] = ()
) -> Grid:
    """A row for each mask, and below them median and range of those that were compared.

    Args:
        masks: in the order of the rows.
        heading: what the table shows.
        provenance: where the images come from.
        notes: what stands below the table.
    """
    rows = [
        (f"{one.patient} {one.session}", *(_text(one.measures.get(name), name) for name in _DECIMALS))
        for one in masks
    ]
    compared = [one for one in masks if one.compared]
    if compared:
        ranges = (_range([one.measures[name] for one in compared], name) for name in _DECIMALS)
        rows.append(("median (range)", *ranges))
        notes = ("Median and range are over the visits that were compared.", *notes)
    patients = len({one.patient for one in compared})
    return Grid(
        heading=heading,
        provenance=provenance,
        population=f"{len(masks)} masks made, {len(compared)} of them (of {patients} test patients) compared "
        "with a mask that was given",
        header=("Visit", *(MEASURES[name].label for name in _DECIMALS)),
        rows=tuple(tuple(map(Cell, row)) for row in rows),
        notes=tuple(notes),
    )


def organ_figure(scan: Scan, found: Mask, *, title: str, provenance: Provenance) -> Figure:
    """Axial slices from the organ's lower end to its upper one, and the coronal plane with most of it.

    Args:
        scan: as the task organ sees it: its ``lesion`` is the mask that was given, or None.
        found: (Z, Y, X) the mask that was made; it or the one that was given has a voxel at least.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: the mask is not on the scan's grid.
    """
    check_shapes(scan, {"organ mask": found})
    given = np.zeros_like(found) if scan.lesion is None else scan.lesion
    view = axial_view(scan)
    panels = [
        Panel(
            f"slice {z}",
            outlined(view.grey(shown_image(scan), z), view.plane(given, z), view.plane(found, z)),
            view.aspect,
            AXIAL,
        )
        for z in _spread((given | found).any(axis=(1, 2)))
    ]
    panels.append(_coronal(scan, given, found, view))
    keys = [Patch(facecolor=OUTLINE, edgecolor="black", linewidth=0.5, label="organ mask, made")]
    if scan.lesion is not None:
        keys.append(Patch(facecolor=ORGAN, edgecolor="black", linewidth=0.5, label="organ mask, given"))
    rows = math.ceil(len(panels) / _COLUMNS)
    height, width, _ = panels[0].image.shape
    tall = _PANEL_IN * view.aspect * height / width + 0.25
    size = _PANEL_IN * _COLUMNS, rows * tall + 1.1
    figure = new_figure(*size, title=title, provenance=provenance, keys=keys)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes, panels, strict=False):
        show_panel(axis, panel)
    return figure


def _coronal(scan: Scan, given: Mask, found: Mask, view: AxialView) -> Panel:
    y = int((given | found).sum(axis=(0, 2)).argmax())
    black, white = view.window
    grey = np.clip((radiological(shown_image(scan)[:, y]) - black) / (white - black), 0.0, 1.0)
    height, _, width = scan.spacing_mm
    outlines = outlined(grey, radiological(given[:, y]), radiological(found[:, y]))
    return Panel(f"coronal {y}", outlines, height / width, CORONAL)


def _spread(shown: Bool[np.ndarray, " z"]) -> list[int]:
    """Slices at even distances from the lowest that shows something to the highest, without repetition."""
    places = np.flatnonzero(shown)
    return sorted({round(z) for z in np.linspace(places[0], places[-1], _AXIAL_PANELS)})


def _text(value: float | None, name: str) -> str:
    if value is None:
        return ""
    return "undefined" if math.isnan(value) else f"{value:.{_DECIMALS[name]}f}"


def _range(values: Sequence[float], name: str) -> str:
    valid = [value for value in values if not math.isnan(value)]
    if not valid:
        return "undefined"
    least, middle, most = (_text(float(f(valid)), name) for f in (np.min, np.median, np.max))
    counted = "" if len(valid) == len(values) else f", {len(valid)} of {len(values)} valid"
    return f"{middle} ({least} to {most}){counted}"
