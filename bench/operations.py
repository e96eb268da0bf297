"""What a stage has to compute and to move at the least, counted from the architecture."""

from __future__ import annotations

from typing import NamedTuple

from psft_jax.model.config import PNetConfig

FLOAT_BYTES = 4


class Need(NamedTuple):
    """Operations (a multiplication and an addition are two) of the matrix products, and bytes."""

    operations: float
    bytes: float


def trunk(config: PNetConfig, channels: tuple[int, int], pixels: int) -> Need:
    """Features of so many pixels: all convolutions; the images are read and the features written once.

    >>> trunk(PNetConfig(), (1, 1), 1)
    Need(operations=1771776, bytes=2568)
    """
    products = sum(_pathway(config, inputs) for inputs in channels)
    return Need(2 * pixels * products, FLOAT_BYTES * pixels * (sum(channels) + config.fused_channels))


def head(config: PNetConfig, pixels: int, samples: int = 1) -> Need:
    """Logits of so many pixels and samples; the features are read once, whatever the number of samples.

    >>> head(PNetConfig(), 1)
    Need(operations=164352, bytes=2560)
    """
    products = config.fused_channels * config.head_width + 2 * config.head_width
    return Need(2 * samples * pixels * products, FLOAT_BYTES * pixels * config.fused_channels)


def head_step(config: PNetConfig, pixels: int) -> Need:
    """One step of fine-tuning: both products again for the weights' gradients, the second also for its input.

    The features are read once: a step that keeps them in the cache needs no more.
    """
    once = head(config, pixels)
    first = 2 * pixels * config.fused_channels * config.head_width
    second = 2 * pixels * 2 * config.head_width
    return Need(2 * first + 3 * second, once.bytes)


def base_step(config: PNetConfig, channels: tuple[int, int], pixels: int) -> Need:
    """One step of base training: each product three times, but for the gradient of the images.

    Every layer's feature map is written once and read once more, for the gradients.
    """
    forward = trunk(config, channels, pixels).operations + head(config, pixels).operations
    of_images = 2 * pixels * 9 * sum(channels) * config.width
    layers = 2 * sum(len(block) for block in config.used_dilations)
    maps = layers * config.width + config.head_width
    return Need(3 * forward - of_images, 2 * FLOAT_BYTES * pixels * maps)


def _pathway(config: PNetConfig, inputs: int) -> int:
    """Products of one pixel in one pathway."""
    layers = sum(len(block) for block in config.used_dilations)
    return 9 * config.width * (inputs + (layers - 1) * config.width)
