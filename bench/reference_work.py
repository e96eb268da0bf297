"""Fine-tuning, base training and Monte Carlo dropout in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.reference import PlainPNet
from psft_jax.sampling.positions import Centres, patch_table
from psft_jax.sampling.slices import Box, Slices


class Patches:
    """Patches cut from slices with rotation, in one ``grid_sample``.

    Args:
        slices: where they are cut from.
        centres: the patch centres in an organ's box.
        size: side of a patch in pixels.
    """

    def __init__(self, slices: Slices, centres: Callable[[Box], Centres], size: int) -> None:
        images = [torch.from_numpy(sequence).permute(0, 3, 1, 2) for sequence in slices.images]
        self.channels = [image.shape[1] for image in images]
        self.images = torch.cat(images, dim=1)
        self.lesion = torch.from_numpy(slices.lesion)[:, None]
        slice_index, positions = patch_table(slices.boxes, centres)
        self.slice_index = torch.from_numpy(slice_index).long()
        self.positions = torch.from_numpy(positions)
        self.size = size

    def draw(self, batch: int, rotation_deg: float) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """A minibatch drawn with replacement, each patch with its own continuous angle; see ``cut``."""
        limit = math.radians(rotation_deg)
        patch = torch.randint(len(self.positions), (batch,))
        return self.cut(patch, torch.empty(batch).uniform_(-limit, limit))

    def cut(self, patch: Tensor, angle: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """The two sequences (B, C, P, P), channels last, and the labels (B, P, P).

        Args:
            patch: (B,) numbers of patches.
            angle: (B,) in radians.
        """
        z, centre = self.slice_index[patch], self.positions[patch]
        offset = torch.arange(self.size) - (self.size - 1) / 2
        down, right = torch.meshgrid(offset, offset, indexing="ij")
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        row = centre[:, 0, None, None] + cos * down - sin * right
        column = centre[:, 1, None, None] + sin * down + cos * right
        height, width = self.images.shape[-2:]
        grid = torch.stack([2 * column / (width - 1) - 1, 2 * row / (height - 1) - 1], dim=-1)
        images = _sample(self.images[z], grid, "bilinear").contiguous(memory_format=torch.channels_last)
        lesion = _sample(self.lesion[z], grid, "nearest")[:, 0]
        first, second = torch.split(images, self.channels, dim=1)
        return (first, second), lesion.long()


def _sample(images: Tensor, grid: Tensor, mode: str) -> Tensor:
    return nn.functional.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=True)


class Trainer:
    """Adam on whatever of a network asks for a gradient, with the class-weighted cross-entropy.

    Args:
        network: the network, in the mode it is to be trained in.
        learning_rate: of Adam.
        class_weights: of background and lesion.
    """

    def __init__(self, network: PlainPNet, learning_rate: float, class_weights: tuple[float, float]) -> None:
        self.network = network
        self.weights = torch.tensor(class_weights)
        trained = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=learning_rate)

    def step(self, images: tuple[Tensor, Tensor], lesion: Tensor) -> float:
        """One step; the loss, a mean over pixels, is read so that a training that diverges is noticed."""
        self.optimiser.zero_grad()
        logits = self.network(*images)
        summed = nn.functional.cross_entropy(logits, lesion, weight=self.weights, reduction="sum")
        loss = summed / lesion.numel()
        loss.backward()
        self.optimiser.step()
        return loss.item()


@torch.inference_mode()
def predict(network: PlainPNet, images: tuple[Tensor, Tensor]) -> Tensor:
    """Lesion probability (Y, X) of one whole slice, given as two (1, C, Y, X)."""
    return network(*images).softmax(dim=1)[0, 1]


@torch.inference_mode()
def monte_carlo(network: PlainPNet, images: tuple[Tensor, Tensor], samples: int) -> tuple[Tensor, Tensor]:
    """Mean and SD (Y, X) over passes of the whole network with dropout."""
    network.dropout(on=True)
    drawn = torch.stack([predict(network, images) for _ in range(samples)])
    network.dropout(on=False)
    return drawn.mean(dim=0), drawn.std(dim=0, correction=0)
