"""A network that no longer trains: its batch normalisation is a part of the convolution before it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from flax import nnx
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int

from psft_jax.model.config import PNetConfig
from psft_jax.model.dropout import dropout
from psft_jax.model.pnet import Images, layers
from psft_jax.model.precision import Precision

Tree = dict[str, Any]
IMAGE_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Folded(NamedTuple):
    """A convolution and the batch normalisation after it, as one convolution."""

    kernel: Float[Array, "k k i o"]
    bias: Float[Array, " o"]


FoldedTrunk = dict[str, dict[str, Folded]]
"""The folded layers of both pathways, by the names that they have in the network."""


def fold(params: Tree, batch_stats: Tree, config: PNetConfig) -> FoldedTrunk:
    """The trunk with its normalisation folded in.

    .. math:: \\gamma\\,\\frac{k * x + b - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}} + \\beta
              = (s k) * x + s (b - \\mu) + \\beta, \\quad s = \\frac{\\gamma}{\\sqrt{\\sigma^2 + \\epsilon}}

    Args:
        params: the branch ``trunk`` of the parameters.
        batch_stats: the branch ``trunk`` of the running averages.
        config: the architecture.
    """

    return {
        pathway: {
            name: _folded(layer["conv"], layer["norm"], batch_stats[pathway][name]["norm"], config)
            for name, layer in of_pathway.items()
        }
        for pathway, of_pathway in params.items()
    }


def _folded(conv: Tree, norm: Tree, stats: Tree, config: PNetConfig) -> Folded:
    scale = norm["scale"] / jnp.sqrt(stats["var"] + config.bn_epsilon)
    return Folded(conv["kernel"] * scale, (conv["bias"] - stats["mean"]) * scale + norm["bias"])


class Margins(NamedTuple):
    """Pixels of an image around the region whose features are wanted; where they are fewer than half the
    receptive field, the slice ends there."""

    top: int
    bottom: int
    left: int
    right: int

    def up_to(self, pixels: int) -> Margins:
        """Those that a layer looks at which sees so many pixels around."""
        return Margins(*(min(pixels, side) for side in self))


NO_MARGINS = Margins(0, 0, 0, 0)
"""The features of the whole image are wanted."""


def apply_folded(
    trunk: FoldedTrunk,
    images: Images,
    config: PNetConfig,
    precision: Precision,
    margins: Margins = NO_MARGINS,
) -> Float[Array, "b y2 x2 f"]:
    """The fused feature maps of a region: what the trunk gives there on its running averages.

    Each layer computes no more than the layers after it will look at.

    Args:
        trunk: of ``fold``.
        images: the two sequences, (B, Y, X, C) each.
        config: the architecture.
        precision: of the arithmetic and of the features.
        margins: what of the images lies around the region.
    """
    taps = []
    for pathway, image in zip(("pathway1", "pathway2"), images, strict=True):
        x = image.astype(precision.dtype)
        ahead = config.receptive_field // 2
        x = _within(x, margins, margins.up_to(ahead))
        for name, dilation, tapped in layers(config):
            kernel, bias = trunk[pathway][name]
            kernel = kernel.astype(precision.dtype)
            x = lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", rhs_dilation=(dilation, dilation), dimension_numbers=IMAGE_LAYOUT
            )
            # Zeros stood for what lies around. Beyond the slice that is right; what they spoiled in it goes.
            # (XLA's convolution without padding computes less, and takes longer on a CPU.)
            x = nnx.relu(x.astype(bias.dtype) + bias).astype(precision.dtype)  # the sum in float32
            x = _within(x, margins.up_to(ahead), margins.up_to(ahead - dilation))
            ahead -= dilation
            if tapped:
                taps.append(_within(x, margins.up_to(ahead), NO_MARGINS))
    return jnp.concatenate(taps, axis=-1)


def _within(x: Float[Array, "b y x c"], margins: Margins, wanted: Margins) -> Float[Array, "b y2 x2 c"]:
    """An image with smaller margins."""
    top, bottom, left, right = (there - kept for there, kept in zip(margins, wanted, strict=True))
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


class FoldedHead(NamedTuple):
    """Heads on their running averages, as far as the probability of lesion needs them.

    Args:
        kernel: of the first 1x1 convolution with its batch normalisation.
        bias: likewise.
        contrast: from the hidden features to the logit of lesion over background.
        offset: likewise.
    """

    kernel: Float[Array, "s f h"]
    bias: Float[Array, "s h"]
    contrast: Float[Array, "s h"]
    offset: Float[Array, " s"]


def fold_head(params: Tree, batch_stats: Tree, config: PNetConfig) -> FoldedHead:
    """One head with its normalisation folded in.

    Args:
        params: the branch ``head`` of the parameters.
        batch_stats: the branch ``head`` of the running averages.
        config: the architecture.
    """
    kernel, bias = _folded(params["conv1"], params["norm"], batch_stats["norm"], config)
    last = params["conv2"]
    return FoldedHead(kernel[0], bias[None], jnp.diff(last["kernel"][0, 0]).T, jnp.diff(last["bias"]))


def lesion_probability(
    heads: FoldedHead,
    features: Float[Array, "n f"],
    rate: float = 0.0,
    key: Array | None = None,
    first: int | Int[Array, ""] = 0,
) -> Float[Array, "s n"]:
    """Softmax probability of lesion of pixels in rows, by every head, in one matrix product.

    Args:
        heads: of ``fold_head``, any number.
        features: what the trunk gave.
        rate: of dropout.
        key: draws the two dropout masks, as the network's head does, the same for every head; without it
            there is no dropout.
        first: how many pixels of the same masks came before these.
    """
    before, after = (None, None) if key is None else jax.random.split(key)
    x = features if before is None else dropout(features, rate, before, first)
    count, _, width = heads.kernel.shape
    kernel = jnp.concatenate(list(heads.kernel), axis=1).astype(x.dtype)
    product = jnp.matmul(x, kernel, preferred_element_type=jnp.float32)
    hidden = nnx.relu(product.reshape(-1, count, width) + heads.bias)
    if after is not None:
        hidden *= dropout(jnp.ones((len(x), width)), rate, after, first)[:, None]
    return nnx.sigmoid(jnp.sum(hidden * heads.contrast, axis=-1) + heads.offset).T


def thinned(heads: FoldedHead, rate: float, key: Array) -> FoldedHead:
    """The heads under one dropout mask for all pixels: what is dropped is a zero in their weights."""
    before, after = jax.random.split(key)
    kept = dropout(jnp.ones(heads.kernel.shape[1]), rate, before)
    kept_hidden = dropout(jnp.ones(heads.contrast.shape[1]), rate, after)
    return heads._replace(kernel=kept[:, None] * heads.kernel, contrast=kept_hidden * heads.contrast)
