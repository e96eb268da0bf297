"""The dual-pathway P-Net in Flax NNX, in two parts: a trunk that fine-tuning freezes, and a head."""

from __future__ import annotations

from collections.abc import Iterator

import jax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, Float

from psft_jax.model.config import PNetConfig, Taps
from psft_jax.model.dropout import dropout
from psft_jax.model.precision import Precision

Images = tuple[Float[Array, "b y x c0"], Float[Array, "b y x c1"]]

HE_UNIFORM = jax.nn.initializers.he_uniform()


def layers(config: PNetConfig) -> Iterator[tuple[str, int, bool]]:
    """Name and dilation of a pathway's convolutions, and whether their feature map goes into the fusion."""
    for b, block in enumerate(config.used_dilations):
        tap = 1 if config.taps is Taps.SECOND_CONV else len(block) - 1
        for c, dilation in enumerate(block):
            yield f"block{b + 1}_conv{c + 1}", dilation, c == tap


class ConvNormRelu(nnx.Module):
    """3x3 convolution ('same', dilated), batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, config: PNetConfig, dilation: int, precision: Precision, *, rngs: nnx.Rngs
    ) -> None:
        self.conv = nnx.Conv(
            inputs,
            config.width,
            (3, 3),
            kernel_dilation=dilation,
            kernel_init=HE_UNIFORM,
            dtype=precision.dtype,
            rngs=rngs,
        )
        self.norm = _batch_norm(config.width, config, precision, rngs)

    def __call__(self, x: Float[Array, "b y x i"], *, train: bool) -> Float[Array, "b y x o"]:
        if train:
            _keep_bias(self.conv)
        return nnx.relu(self.norm(self.conv(x), use_running_average=not train))


class Pathway(nnx.Module):
    """One MRI sequence through five blocks of dilated convolutions; one feature map a block comes out."""

    def __init__(self, inputs: int, config: PNetConfig, precision: Precision, *, rngs: nnx.Rngs) -> None:
        self._taps = tuple((name, tapped) for name, _, tapped in layers(config))
        for name, dilation, _ in layers(config):
            setattr(self, name, ConvNormRelu(inputs, config, dilation, precision, rngs=rngs))
            inputs = config.width

    def __call__(self, x: Float[Array, "b y x c"], *, train: bool) -> list[Float[Array, "b y x w"]]:
        taps = []
        for name, tapped in self._taps:
            x = getattr(self, name)(x, train=train)
            if tapped:
                taps.append(x)
        return taps


class Trunk(nnx.Module):
    """Both pathways, up to the concatenation of their feature maps."""

    def __init__(
        self, channels: tuple[int, int], config: PNetConfig, precision: Precision, *, rngs: nnx.Rngs
    ) -> None:
        self.pathway1 = Pathway(channels[0], config, precision, rngs=rngs)
        self.pathway2 = Pathway(channels[1], config, precision, rngs=rngs)

    def __call__(self, images: Images, *, train: bool) -> Float[Array, "b y x f"]:
        first, second = images
        return jnp.concatenate(
            self.pathway1(first, train=train) + self.pathway2(second, train=train), axis=-1
        )


class Head(nnx.Module):
    """Dropout, 1x1 convolution, BN, ReLU, dropout, 1x1 convolution to the logits of background and lesion."""

    def __init__(self, config: PNetConfig, precision: Precision, *, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.dtype = precision.dtype
        self.conv1 = nnx.Conv(
            config.fused_channels, config.head_width, (1, 1), kernel_init=HE_UNIFORM, rngs=rngs
        )
        self.norm = _batch_norm(config.head_width, config, Precision.FLOAT32, rngs)
        self.conv2 = nnx.Conv(config.head_width, 2, (1, 1), kernel_init=HE_UNIFORM, rngs=rngs)

    def __call__(
        self, features: Float[Array, "*b f"], *, train_norm: bool, dropout_key: Array | None
    ) -> Float[Array, "*b 2"]:
        before, after = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        # Pixels in rows: a matrix product and its gradient are faster than those of a 1x1 convolution.
        x = features.reshape(-1, features.shape[-1]).astype(self.dtype)
        x = x if before is None else dropout(x, self.rate, before)
        if train_norm:
            _keep_bias(self.conv1)
        x = nnx.relu(self.norm(_pointwise(self.conv1, x), use_running_average=not train_norm))
        x = x.astype(self.dtype)
        x = x if after is None else dropout(x, self.rate, after)
        return _pointwise(self.conv2, x).reshape(*features.shape[:-1], -1)


class DualPathwayPNet(nnx.Module):
    """The whole network (section 2.2, Fig. 2).

    Args:
        channels: input channels of the two pathways.
        config: the architecture; the defaults are the paper's.
        precision: of the arithmetic.
        rngs: the stream ``params`` initialises the weights.
    """

    def __init__(
        self, channels: tuple[int, int], config: PNetConfig, precision: Precision, *, rngs: nnx.Rngs
    ) -> None:
        self.trunk = Trunk(channels, config, precision, rngs=rngs)
        self.head = Head(config, precision, rngs=rngs)

    def __call__(
        self, images: Images, *, train: bool = False, dropout_key: Array | None = None
    ) -> Float[Array, "b y x 2"]:
        """Logits (B, Y, X, 2) of two image stacks (B, Y, X, C); dropout is off without a key."""
        features = self.trunk(images, train=train)
        return self.head(features, train_norm=train, dropout_key=dropout_key)


def _keep_bias(conv: nnx.Conv) -> None:
    """Give a bias no gradient, because the batch normalisation after it takes away whatever it adds.

    What would be computed is rounding alone, of which Adam makes full steps: the running averages would
    follow them, and a run on other hardware would soon be another.
    """
    assert conv.bias is not None
    conv.bias.set_value(jax.lax.stop_gradient(conv.bias[...]))


def _pointwise(conv: nnx.Conv, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
    """A 1x1 convolution of pixels in rows, summed in float32."""
    assert conv.bias is not None
    kernel = conv.kernel[0, 0].astype(x.dtype)
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32) + conv.bias[...]


def _batch_norm(features: int, config: PNetConfig, precision: Precision, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Batch normalisation; its statistics are float32 whatever the format of what it normalises."""
    return nnx.BatchNorm(
        features,
        momentum=config.bn_momentum,
        epsilon=config.bn_epsilon,
        dtype=precision.dtype,
        rngs=rngs,
    )
