"""The dual-pathway P-Net in plain PyTorch, as one would write it who has not heard of psft_jax."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.material import Leaves
from psft_jax.model.config import PNetConfig, Taps


class ConvNormRelu(nn.Module):
    """3x3 convolution ('same', dilated), batch normalisation, ReLU."""

    def __init__(self, inputs: int, config: PNetConfig, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, config.width, 3, padding=dilation, dilation=dilation)
        self.norm = _batch_norm(config.width, config)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.norm(self.conv(x)), inplace=True)


class Pathway(nn.Module):
    """One MRI sequence through the blocks; the last feature map of each comes out."""

    def __init__(self, inputs: int, config: PNetConfig) -> None:
        super().__init__()
        self.ends: list[str] = []
        for b, block in enumerate(config.dilations):
            for c, dilation in enumerate(block):
                name = f"block{b + 1}_conv{c + 1}"
                self.add_module(name, ConvNormRelu(inputs, config, dilation))
                inputs = config.width
            self.ends.append(name)

    def forward(self, x: Tensor) -> list[Tensor]:
        taps = []
        for name, layer in self.named_children():
            x = layer(x)
            if name in self.ends:
                taps.append(x)
        return taps


class Head(nn.Module):
    """Dropout, 1x1 convolution, BN, ReLU, dropout, 1x1 convolution."""

    def __init__(self, config: PNetConfig) -> None:
        super().__init__()
        self.before = nn.Dropout(config.dropout)
        self.conv1 = nn.Conv2d(config.fused_channels, config.head_width, 1)
        self.norm = _batch_norm(config.head_width, config)
        self.after = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(config.head_width, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        x = nn.functional.relu(self.norm(self.conv1(self.before(features))), inplace=True)
        return self.conv2(self.after(x))


class PlainPNet(nn.Module):
    """The whole network; two image stacks (B, C, Y, X) become logits (B, 2, Y, X).

    Args:
        channels: input channels of the two pathways.
        config: the architecture, with taps at the end of each block.
    """

    def __init__(self, channels: tuple[int, int], config: PNetConfig) -> None:
        super().__init__()
        if config.taps is not Taps.BLOCK_END:
            raise ValueError("the reference knows the paper's taps only")
        self.trunk = nn.ModuleDict(
            {"pathway1": Pathway(channels[0], config), "pathway2": Pathway(channels[1], config)}
        )
        self.head = Head(config)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        taps = self.trunk["pathway1"](first) + self.trunk["pathway2"](second)
        return self.head(torch.cat(taps, dim=1))

    def freeze_all_but_last2(self) -> None:
        """What the paper's fine-tuning trains: the two 1x1 convolutions, with their dropout."""
        self.eval().requires_grad_(False)
        self.head.conv1.requires_grad_(True)
        self.head.conv2.requires_grad_(True)
        self.dropout(on=True)

    def dropout(self, *, on: bool) -> None:
        """Dropout alone on or off; batch normalisation stays as it is."""
        self.head.before.train(on)
        self.head.after.train(on)


def build(channels: tuple[int, int], config: PNetConfig, leaves: Leaves) -> PlainPNet:
    """The network with our variables, channels last.

    Args:
        channels: input channels of the two pathways.
        config: the architecture.
        leaves: our variables by path; kernels are (Y, X, in, out).

    Raises:
        RuntimeError: a weight is missing, left over, or of another shape.
    """
    network = PlainPNet(channels, config)
    network.load_state_dict(state_dict(leaves))
    return network.to(memory_format=torch.channels_last)


def state_dict(leaves: Leaves) -> dict[str, Tensor]:
    """Our variables under PyTorch's names and in its order of axes.

    Args:
        leaves: by path, ``params/...`` and ``batch_stats/...``.
    """
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    state = {}
    for path, leaf in leaves.items():
        *modules, last = path.split("/")[1:]
        value = torch.tensor(leaf.transpose(3, 2, 0, 1) if last == "kernel" else leaf)
        state[".".join([*modules, names.get(last, last)])] = value
        if last == "mean":
            state[".".join([*modules, "num_batches_tracked"])] = torch.tensor(0)
    return state


def _batch_norm(features: int, config: PNetConfig) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(features, eps=config.bn_epsilon, momentum=1 - config.bn_momentum)
