"""Figures of one case: what was found, missed and invented, and how sure the network was (Figs. 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from psft_jax.reporting.figures import new_figure
from psft_jax.reporting.views import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    OUTLINE,
    RGB,
    TRUE_POSITIVE,
    AxialView,
    Plane,
    axial_view,
    check_shapes,
    informative_slices,
    overlay_rgb,
    shown_image,
)
from psft_jax.scan import Mask, Provenance, Scan, Volume

_WIDTH_IN, _BAR_IN = 2.9, 1.0
# Where the patient's sides are written in a panel, and how the letters are aligned.
_SIDES = (
    (0.03, 0.5, "R", "left", "center"),
    (0.97, 0.5, "L", "right", "center"),
    (0.5, 0.97, "A", "center", "top"),
    (0.5, 0.03, "P", "center", "bottom"),
)


def overlay_figure(
    scan: Scan, predictions: Mapping[str, Mask], *, title: str, provenance: Provenance, rows: int = 3
) -> Figure:
    """Informative axial slices: the image, then each prediction over it in the paper's colours (Fig. 4).

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
    slices = informative_slices(scan, list(predictions.values()), rows)
    keys = _keys(
        {"prediction (no reference)": OUTLINE}
        if scan.lesion is None
        else {
            "true positive": TRUE_POSITIVE,
            "false negative": FALSE_NEGATIVE,
            "false positive": FALSE_POSITIVE,
        }
    )
    width, height = figure_size(view, scan, len(slices), 1 + len(predictions))
    figure = new_figure(width, height, title=title, provenance=provenance, keys=keys)
    axes = figure.subplots(len(slices), 1 + len(predictions), squeeze=False)
    for z, row in zip(slices, axes, strict=True):
        grey = view.grey(image, z)
        show_image(row[0], grey, view, z)
        reference = None if scan.lesion is None else view.plane(scan.lesion, z)
        for axis, prediction in zip(row[1:], predictions.values(), strict=True):
            show(axis, overlay_rgb(grey, view.plane(prediction, z), reference), view)
    for axis, name in zip(axes[0], ("image", *predictions), strict=True):
        axis.set_title(name, fontsize=11)
    return figure


def sd_figure(scan: Scan, maps: Mapping[str, Volume], *, title: str, provenance: Provenance) -> Figure:
    """SD maps on one colour scale, beside the image with the outline of the reference (Fig. 5).

    The slice is the one with the largest sum of SD over all maps, so that no map is favoured.

    Args:
        scan: the case, with its reference annotation or without.
        maps: (Z, Y, X) SD of the lesion probability by name, in the order of the columns.
        title: heading.
        provenance: where the images come from.

    Raises:
        InputError: no map, or one that is not on the scan's grid.
    """
    check_shapes(scan, maps)
    view = axial_view(scan)
    z = int(sum(sd.sum(axis=(1, 2)) for sd in maps.values()).argmax())
    keys = _keys({} if scan.lesion is None else {"outline of the reference": OUTLINE})
    width, height = figure_size(view, scan, 1, 1 + len(maps))
    figure = new_figure(width + _BAR_IN, height, title=title, provenance=provenance, keys=keys)
    axes = figure.subplots(1, 1 + len(maps))
    grey = view.grey(shown_image(scan), z)
    axes[0].set_title("image", fontsize=11)
    if scan.lesion is None:
        show_image(axes[0], grey, view, z)
    else:
        show_image(axes[0], overlay_rgb(grey, view.plane(scan.lesion, z), None), view, z)
    planes = {name: view.plane(sd, z) for name, sd in maps.items()}
    # Where no map has any SD, the scale still needs a top.
    top = max(float(plane.max()) for plane in planes.values()) or 1.0
    for axis, (name, plane) in zip(axes[1:], planes.items(), strict=True):
        shown = axis.imshow(
            plane, cmap="inferno", vmin=0.0, vmax=top, aspect=view.aspect, interpolation="nearest"
        )
        axis.set_title(name, fontsize=11)
        axis.set(xticks=(), yticks=())
    figure.colorbar(shown, ax=list(axes), label="SD of the lesion probability", shrink=0.8)
    return figure


def figure_size(view: AxialView, scan: Scan, rows: int, columns: int) -> tuple[float, float]:
    """Width and height in inches for so many slices in their true proportions."""
    height, width = view.plane(scan.organ, 0).shape
    return _WIDTH_IN * columns + 0.3, _WIDTH_IN * view.aspect * height / width * rows + 1.3


def show(axis: Axes, image: Plane | RGB, view: AxialView) -> None:
    """A slice in its true proportions, each voxel a sharp square."""
    axis.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, aspect=view.aspect, interpolation="nearest")
    axis.set(xticks=(), yticks=())


def show_image(axis: Axes, image: Plane | RGB, view: AxialView, z: int) -> None:
    """The row's first panel, with the slice's index and the patient's sides."""
    show(axis, image, view)
    axis.set_ylabel(f"slice {z}", fontsize=10)
    for x, y, letter, ha, va in _SIDES:
        axis.text(x, y, letter, ha=ha, va=va, transform=axis.transAxes, color="white", weight="bold")


def _keys(colours: Mapping[str, tuple[float, float, float]]) -> list[Patch]:
    """The legend's patches."""
    return [
        Patch(facecolor=colour, edgecolor="black", linewidth=0.5, label=name)
        for name, colour in colours.items()
    ]
