"""The numbers that define a dual-pathway P-Net, and the presets that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from psft_jax.errors import check_fields


class Taps(StrEnum):
    """Which feature map of each block goes into the fusion."""

    BLOCK_END = "block_end"
    """The last convolution of each block (section 2.2)."""
    SECOND_CONV = "second_conv"
    """The second convolution of each block, as in the script that the first author published."""


@dataclass(frozen=True)
class PNetConfig:
    """Architecture of the dual-pathway P-Net (section 2.2, Fig. 2); the defaults are the paper's network.

    Args:
        dilations: dilation rates of the 3x3 convolutions, block by block.
        width: kernels of every convolution in a pathway.
        head_width: kernels of the first 1x1 convolution.
        dropout: dropout rate before and after the first 1x1 convolution.
        taps: which feature map of each block is fused.
        bn_momentum: weight of the old running average in batch normalisation (Keras' default).
        bn_epsilon: added to the variance in batch normalisation (Keras' default).

    Raises:
        InputError: a number is out of its range.
    """

    dilations: tuple[tuple[int, ...], ...] = ((1, 1), (2, 2), (4, 4, 4), (6, 6, 6), (8, 8, 8))
    width: int = 64
    head_width: int = 128
    dropout: float = 0.2
    taps: Taps = Taps.BLOCK_END
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3

    def __post_init__(self) -> None:
        rates = [rate for block in self.dilations for rate in block]
        check_fields(
            self,
            {
                "dilations": (
                    bool(rates) and all(self.dilations) and min(rates) >= 1,
                    "blocks of at least one rate each, every rate at least 1",
                ),
                "taps": (
                    self.taps is Taps.BLOCK_END or min(map(len, self.dilations)) >= 2,
                    "block_end, because a block has one convolution only",
                ),
                "width": (self.width >= 1, "at least 1 kernel"),
                "head_width": (self.head_width >= 1, "at least 1 kernel"),
                "dropout": (0.0 <= self.dropout < 1.0, "a rate in [0, 1)"),
                "bn_momentum": (0.0 <= self.bn_momentum < 1.0, "a weight in [0, 1)"),
                "bn_epsilon": (self.bn_epsilon > 0.0, "more than 0"),
            },
            remedy="See the presets under conf/model/.",
        )

    @property
    def used_dilations(self) -> tuple[tuple[int, ...], ...]:
        """The dilation rates of the layers that reach the output.

        With ``second_conv`` taps, what follows the tap of the last block reaches nothing and is not built.
        """
        if self.taps is Taps.BLOCK_END:
            return self.dilations
        return (*self.dilations[:-1], self.dilations[-1][:2])

    @property
    def fused_channels(self) -> int:
        """Channels after the fusion of both pathways (640 in the paper)."""
        return 2 * len(self.dilations) * self.width

    @property
    def receptive_field(self) -> int:
        """Side of the square of input pixels that one output pixel sees.

        A 3x3 convolution of dilation d adds 2 d. The published rates sum to 60, so the field is 121 pixels;
        the paper says 123, which no rates of blocks 2/2/3/3/3 that start 1, 2 give.
        """
        return 1 + 2 * sum(rate for block in self.used_dilations for rate in block)
