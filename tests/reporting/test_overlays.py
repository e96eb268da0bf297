from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.overlays import overlay_figure, sd_figure
from psft_jax.reporting.views import axial_view, overlay_rgb, shown_image
from psft_jax.scan import Provenance


def _images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_columns_are_the_image_and_each_prediction(scan):
    base, tuned = np.roll(scan.lesion, 1, 1), scan.lesion
    figure = overlay_figure(
        scan, {"base": base, "fine-tuned": tuned}, title="P1", provenance=Provenance.PHANTOM
    )
    assert [axes.get_title() for axes in figure.axes] == ["image", "base", "fine-tuned"]
    assert figure.axes[0].get_ylabel() == "slice 4"
    assert figure.get_suptitle() == "P1"
    assert figure.legends[0].get_title().get_text() == "PHANTOM data: generated images, not patients"
    assert _legend(figure) == ["true positive", "false negative", "false positive"]
    view = axial_view(scan)
    grey = view.grey(shown_image(scan), 4)
    for image, mask in zip(_images(figure)[1:], (base, tuned), strict=True):
        expected = overlay_rgb(grey, view.plane(mask, 4), view.plane(scan.lesion, 4))
        np.testing.assert_allclose(image.get_array(), expected)
        assert image.axes.get_aspect() == 0.5  # 1 mm high and 2 mm wide


def test_case_without_reference(scan):
    figure = overlay_figure(
        replace(scan, lesion=None), {"base": scan.lesion}, title="P1", provenance=Provenance.REAL
    )
    assert _legend(figure) == ["prediction (no reference)"]


def test_a_row_for_each_informative_slice(scan):
    base = scan.lesion.copy()
    base[0, 2:9, 2:9] = True
    figure = overlay_figure(
        scan, {"base": base, "tuned": scan.lesion}, title="P1", provenance=Provenance.REAL
    )
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["slice 4", "slice 0"]


@pytest.mark.parametrize("annotated", [True, False])
def test_sd_maps_share_one_scale_and_one_bar(scan, annotated):
    low, high = np.zeros(scan.shape), np.zeros(scan.shape)
    low[2, 3, 3], high[2, 4, 4] = 0.1, 0.4
    shown = scan if annotated else replace(scan, lesion=None)
    figure = sd_figure(shown, {"base": high, "tuned": low}, title="P1", provenance=Provenance.REAL)
    maps = _images(figure)[1:3]
    assert [image.get_clim() for image in maps] == [(0.0, 0.4), (0.0, 0.4)]
    np.testing.assert_array_equal(maps[1].get_array(), low[2, ::-1, ::-1])
    assert figure.axes[0].get_ylabel() == "slice 2"
    assert [axes.get_ylabel() for axes in figure.axes].count("SD of the lesion probability") == 1
    assert _legend(figure) == (["outline of the reference"] if annotated else [])


def test_sd_maps_of_zero_have_a_scale(scan):
    figure = sd_figure(scan, {"base": np.zeros(scan.shape)}, title="P1", provenance=Provenance.REAL)
    assert _images(figure)[1].get_clim() == (0.0, 1.0)


def test_volumes_on_another_grid_are_refused(scan):
    with pytest.raises(InputError, match="found base"):
        overlay_figure(scan, {"base": np.zeros((1, 2, 3), bool)}, title="P1", provenance=Provenance.REAL)
    with pytest.raises(InputError, match="found base"):
        sd_figure(scan, {"base": np.zeros((1, 2, 3))}, title="P1", provenance=Provenance.REAL)
