"""The figure of a weighting scheme."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.reporting.weight_map import weights_figure
from psft_jax.scan import Provenance, Scan
from psft_jax.training.weighting import Weighting, voxel_weights

MakeScan = Callable[..., Scan]


def test_every_weight_has_the_colour_of_its_key(make_scan: MakeScan) -> None:
    scan = make_scan()
    assert scan.lesion is not None
    found = np.roll(scan.lesion, 2, axis=2)
    weights = voxel_weights(Weighting.DETECTION, scan.lesion, found)
    figure = weights_figure(scan, found, weights, title="P1_T1", provenance=Provenance.PHANTOM)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[3:] == ["weight 0", "weight 1", "weight 2", "weight 5"]
    assert "PHANTOM" in figure.legends[0].get_title().get_text()
    shown = figure.axes[1].images[0]
    z = int(figure.axes[0].get_ylabel().removeprefix("slice "))
    drawn = np.asarray(shown.get_array())
    for place, weight in enumerate((0.0, 1.0, 2.0, 5.0)):
        count = np.count_nonzero(weights[z] == weight)
        if weight == 1.0:  # the view is cropped to the organ
            assert 0 < np.count_nonzero(drawn == place) <= count
        else:
            assert np.count_nonzero(drawn == place) == count


def test_what_does_not_belong_together_is_refused(make_scan: MakeScan) -> None:
    scan = make_scan()
    assert scan.lesion is not None
    good = voxel_weights(Weighting.SEGMENTATION, scan.lesion, scan.lesion)
    draw = {"title": "P1", "provenance": Provenance.PHANTOM}
    with pytest.raises(ValueError, match="weights of 0, 1, 2, 5 only"):
        weights_figure(scan, scan.lesion, good * 3, **draw)
    with pytest.raises(ValueError, match="an annotated scan"):
        weights_figure(make_scan(lesion=None), scan.lesion, good, **draw)
    with pytest.raises(InputError, match="base CNN"):
        weights_figure(scan, scan.lesion[:2], good[:2], **draw)
