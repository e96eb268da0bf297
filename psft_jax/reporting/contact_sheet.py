"""Contact sheets: every visit of a cohort in a row, to look through for what does not fit.

Lesion and organ are outlined on both sequences and in two directions, so that a mask on the wrong scan, a T1
that is not registered, and a volume that stands on its head all show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from psft_jax.reporting.figures import new_figure
from psft_jax.reporting.views import (
    OPACITY,
    OUTLINE,
    RGB,
    AxialView,
    Plane,
    PlaneMask,
    axial_view,
    informative_slices,
    outline,
    overlay_rgb,
    radiological,
    shown_image,
)
from psft_jax.scan import Provenance, Scan, Volume
from psft_jax.scan import Sequence as MRISequence

ORGAN = (0.25, 0.75, 1.00)
_PANEL_IN = 1.9
AXIAL, CORONAL = ("R", "L", "A", "P"), ("R", "L", "S", "I")
"""What is left, right, up and down in a panel."""
_PLACES = (
    (0.03, 0.5, "left", "center"),
    (0.97, 0.5, "right", "center"),
    (0.5, 0.97, "center", "top"),
    (0.5, 0.03, "center", "bottom"),
)


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with the height of its pixels over their width, and the sides of the body around it."""

    title: str
    image: RGB
    aspect: float
    sides: tuple[str, str, str, str]


@dataclass(frozen=True, eq=False)
class Strip:
    """The pictures of one visit; they are small, so that the scan need not be kept."""

    name: str
    panels: tuple[Panel, ...]


def strip_of(scan: Scan, sequences: tuple[MRISequence, MRISequence], name: str) -> Strip:
    """The visit's pictures: the slice with most lesion plain, outlined and in the other sequence, another
    slice, and a coronal plane.

    Args:
        scan: the visit, before normalisation.
        sequences: what its two sequences are called.
        name: what the row is called.
    """
    first, second = (sequence.name for sequence in sequences)
    image, other = shown_image(scan), scan.sequences[1][..., scan.channels[1] // 2]
    view = axial_view(scan)
    of_other = replace(view, window=_window(other, scan))
    looked_for = scan.organ if scan.lesion is None else scan.lesion
    slices = informative_slices(scan, [looked_for], 2)
    z = max(slices, key=lambda z: int(looked_for[z].sum()))
    panels = [
        Panel(f"{first}, slice {z}", _colourless(view.grey(image, z)), view.aspect, AXIAL),
        _axial(f"{first}, slice {z}", scan, view, image, z),
        _axial(f"{second}, slice {z}", scan, of_other, other, z),
        *(_axial(f"{first}, slice {at}", scan, view, image, at) for at in slices if at != z),
        _coronal(f"{first}, coronal", scan, image, view.window),
    ]
    return Strip(name, tuple(panels))


def contact_sheet(strips: Sequence[Strip], *, title: str, provenance: Provenance) -> Figure:
    """A row for each visit.

    Args:
        strips: of one or more visits.
        title: heading.
        provenance: where the images come from.
    """
    columns = max(len(strip.panels) for strip in strips)
    heights = [_PANEL_IN * max(_proportion(panel) for panel in strip.panels) + 0.3 for strip in strips]
    keys = [
        Patch(facecolor=colour, edgecolor="black", linewidth=0.5, label=label)
        for label, colour in (("lesion", OUTLINE), ("organ", ORGAN))
    ]
    figure = new_figure(
        _PANEL_IN * columns + 0.5, sum(heights) + 1.0, title=title, provenance=provenance, keys=keys
    )
    axes = figure.subplots(len(strips), columns, squeeze=False, height_ratios=heights)
    for row, strip in zip(axes, strips, strict=True):
        for axis in row[len(strip.panels) :]:
            axis.set_axis_off()
        for axis, panel in zip(row, strip.panels, strict=False):
            show_panel(axis, panel)
        row[0].set_ylabel(strip.name, fontsize=8)
    return figure


def _axial(title: str, scan: Scan, view: AxialView, image: Volume, z: int) -> Panel:
    lesion = None if scan.lesion is None else view.plane(scan.lesion, z)
    return Panel(title, outlined(view.grey(image, z), view.plane(scan.organ, z), lesion), view.aspect, AXIAL)


def _coronal(title: str, scan: Scan, image: Volume, window: tuple[float, float]) -> Panel:
    """The plane with most lesion, or most organ where there is none."""
    shown = scan.organ if scan.lesion is None or not scan.lesion.any() else scan.lesion
    y = int(shown.sum(axis=(0, 2)).argmax())
    box = (scan.organ_box[0], y, scan.organ_box[2])
    black, white = window
    grey = np.clip((radiological(image[box]) - black) / (white - black), 0.0, 1.0)
    lesion = None if scan.lesion is None else radiological(scan.lesion[box])
    height, _, width = scan.spacing_mm
    return Panel(
        f"{title} {y}", outlined(grey, radiological(scan.organ[box]), lesion), height / width, CORONAL
    )


def outlined(grey: Plane, organ: PlaneMask, lesion: PlaneMask | None) -> RGB:
    """An image with the edge of one mask in the colour ``ORGAN``, and of another over it in ``OUTLINE``."""
    rgb = _colourless(grey)
    edge = outline(organ)
    rgb[edge] = (1 - OPACITY) * rgb[edge] + OPACITY * np.asarray(ORGAN)
    if lesion is not None:
        edge = outline(lesion)
        rgb[edge] = (1 - OPACITY) * rgb[edge] + OPACITY * np.asarray(OUTLINE)
    return rgb


def _colourless(grey: Plane) -> RGB:
    return overlay_rgb(grey, np.zeros(grey.shape, dtype=bool), None)


def _window(image: Volume, scan: Scan) -> tuple[float, float]:
    black, white = (float(p) for p in np.percentile(image[scan.organ], (1, 99.8)))
    return black, white if white > black else black + 1.0


def _proportion(panel: Panel) -> float:
    """Height over width, as shown."""
    height, width, _ = panel.image.shape
    return panel.aspect * height / width


def show_panel(axis: Axes, panel: Panel) -> None:
    """A picture with its title and the sides of the body."""
    axis.imshow(panel.image, aspect=panel.aspect, interpolation="nearest")
    axis.set(xticks=(), yticks=())
    axis.set_title(panel.title, fontsize=8)
    for letter, (x, y, ha, va) in zip(panel.sides, _PLACES, strict=True):
        axis.text(
            x, y, letter, ha=ha, va=va, transform=axis.transAxes, color="white", fontsize=7, weight="bold"
        )
