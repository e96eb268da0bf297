"""The numbers that define a network, and the ones that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from psft_jax.errors import InputError
from psft_jax.model.config import PNetConfig, Taps


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, 121),
        ({"dilations": ((1, 1), (4, 4), (4, 4, 4), (5, 5, 5), (8, 8, 8))}, 123),
        ({"taps": Taps.SECOND_CONV}, 105),
        ({"dilations": ((1,), (2,))}, 7),
    ],
)
def test_receptive_fields(changes: dict[str, Any], field: int) -> None:
    assert PNetConfig(**changes).receptive_field == field


def test_both_pathways_give_64_channels_a_block() -> None:
    assert PNetConfig().fused_channels == 640
    assert PNetConfig(taps=Taps.SECOND_CONV).fused_channels == 640
    assert PNetConfig(dilations=((1,), (2,), (3,)), width=5).fused_channels == 30


def test_layers_behind_the_last_tap_are_not_built() -> None:
    config = PNetConfig(dilations=((1, 2), (3, 4, 5), (6, 7, 8)), taps=Taps.SECOND_CONV)
    assert config.used_dilations == ((1, 2), (3, 4, 5), (6, 7))
    assert PNetConfig(dilations=config.dilations).used_dilations == config.dilations


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dilations", ()),
        ("dilations", ((1,), ())),
        ("dilations", ((1,), (0,))),
        ("width", 0),
        ("head_width", 0),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("bn_momentum", 1.0),
        ("bn_epsilon", 0.0),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"PNetConfig\.{name}"):
        PNetConfig(**{name: value})


def test_second_conv_taps_need_a_second_convolution() -> None:
    with pytest.raises(InputError, match=r"PNetConfig\.taps"):
        PNetConfig(dilations=((1, 1), (2,)), taps=Taps.SECOND_CONV)
