"""The figure of a weighting scheme: what the base CNN made of the baseline, and what each voxel weighs."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from psft_jax.reporting.figures import new_figure
from psft_jax.reporting.overlays import figure_size, show_image
from psft_jax.reporting.views import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    axial_view,
    check_shapes,
    informative_slices,
    overlay_rgb,
    shown_image,
)
from psft_jax.scan import Mask, Provenance, Scan, Volume

# Weight -> colour, from dark (counts nothing) to bright (counts most).
_COLOURS = {0.0: "#000000", 1.0: "#5B5B5B", 2.0: "#0072B2", 5.0: "#F0E442"}
_LEGEND_IN = 0.4


def weights_figure(
    scan: Scan, found: Mask, weights: Volume, *, title: str, provenance: Provenance, rows: int = 3
) -> Figure:
    """Informative slices of the baseline: the base CNN's result in the paper's colours, and the weights.

    Args:
        scan: the annotated baseline.
        found: (Z, Y, X) the base CNN's result on it.
        weights: (Z, Y, X) from ``psft_jax.training.weighting.voxel_weights``.
        title: heading.
        provenance: where the images come from.
        rows: at most so many slices.

    Raises:
        InputError: a volume is not on the scan's grid.
        ValueError: the scan has no annotation, or a weight is not one of the paper's.
    """
    check_shapes(scan, {"base CNN": found, "weights": weights})
    if scan.lesion is None or not np.isin(weights, list(_COLOURS)).all():
        raise ValueError(f"an annotated scan and weights of {', '.join(f'{w:g}' for w in _COLOURS)} only")
    view, image = axial_view(scan), shown_image(scan)
    slices = informative_slices(scan, [found, scan.lesion], rows)
    judged = {
        "true positive": TRUE_POSITIVE,
        "false negative": FALSE_NEGATIVE,
        "false positive": FALSE_POSITIVE,
    }
    keys = [
        *(Patch(facecolor=colour, edgecolor="black", label=name) for name, colour in judged.items()),
        *(
            Patch(facecolor=colour, edgecolor="black", label=f"weight {weight:g}")
            for weight, colour in _COLOURS.items()
        ),
    ]
    width, height = figure_size(view, scan, len(slices), 2)
    figure = new_figure(width, height + _LEGEND_IN, title=title, provenance=provenance, keys=keys)
    axes = figure.subplots(len(slices), 2, squeeze=False)
    colours = ListedColormap(list(_COLOURS.values()))
    for z, (left, right) in zip(slices, axes, strict=True):
        rgb = overlay_rgb(view.grey(image, z), view.plane(found, z), view.plane(scan.lesion, z))
        show_image(left, rgb, view, z)
        place = sum(i * (view.plane(weights, z) == weight) for i, weight in enumerate(_COLOURS))
        right.imshow(place, cmap=colours, vmin=-0.5, vmax=3.5, aspect=view.aspect, interpolation="nearest")
        right.set(xticks=(), yticks=())
    for axis, name in zip(axes[0], ("base CNN on the baseline", "weights"), strict=True):
        axis.set_title(name, fontsize=11)
    return figure
