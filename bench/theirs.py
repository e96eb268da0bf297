"""The other side: plain PyTorch (``bench/reference.py``), timed."""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor

from bench.machine import cores
from bench.material import Material
from bench.reference import PlainPNet, build
from bench.reference_work import Patches, Trainer, monte_carlo, predict
from bench.sizes import CHANNELS, CLASS_WEIGHTS, LEARNING_RATE, ROTATION_DEG, SEED, Size
from psft_jax.sampling.positions import corner_centres, grid_centres
from psft_jax.sampling.selection import SliceSelection
from psft_jax.sampling.slices import slices_of


class Theirs:
    """Each method does its work and returns the seconds that it took; see ``bench.ours.Ours``.

    Args:
        size: of the work.
        material: scan and weights.
    """

    compile_seconds = 0.0
    """Eager PyTorch compiles nothing."""

    def __init__(self, size: Size, material: Material) -> None:
        torch.set_num_threads(cores())
        torch.manual_seed(SEED)
        self.size = size
        self.material = material

    def _network(self) -> PlainPNet:
        return build(CHANNELS, self.size.model, self.material.leaves)

    def _patches(self, *, slices: int | None, grid: bool) -> Patches:
        scan = self.material.scan
        positions = SliceSelection(count=slices).positions(scan, self.material.probability)
        centres = partial(grid_centres if grid else corner_centres, patch=self.size.patch)
        return Patches(slices_of(scan, positions), centres, self.size.patch)

    def finetune(self, *, iterations: list[int], slices: int | None = None, patients: int = 1) -> float:
        """Fine-tune with fresh continuous rotations, once for each number of iterations and each patient.

        The whole network runs in every iteration, so a bank of angles would change nothing. What comes before
        the first iteration is not counted, because the rest is scaled.
        """
        seconds = 0.0
        for count in iterations * patients:
            network = self._network()
            network.freeze_all_but_last2()
            patches = self._patches(slices=slices, grid=False)
            trainer = Trainer(network, LEARNING_RATE, CLASS_WEIGHTS)
            begin = time.perf_counter()
            for _ in range(count):
                trainer.step(*patches.draw(self.size.batch, ROTATION_DEG))
            seconds += time.perf_counter() - begin
        return seconds

    def predict(self, *, slices: int, samples: int = 0) -> float:
        """Predict so many whole slices, one after the other; with samples, their mean and SD alone."""
        network = self._network().eval()
        scan = self.material.some_slices(slices)
        maps = np.zeros((2, *scan.shape), dtype=np.float32)
        begin = time.perf_counter()
        for z in range(slices):
            images = _slice(scan.sequences[0][z]), _slice(scan.sequences[1][z])
            if samples:
                mean, sd = monte_carlo(network, images, samples)
                maps[0, z], maps[1, z] = mean.numpy(), sd.numpy()
            else:
                maps[0, z] = predict(network, images).numpy()
        return time.perf_counter() - begin

    def train_base(self, *, steps: int) -> float:
        """Train the whole network; the median seconds of a step."""
        network = self._network().train()
        patches = self._patches(slices=None, grid=True)
        trainer = Trainer(network, LEARNING_RATE, CLASS_WEIGHTS)
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            trainer.step(*patches.draw(self.size.batch, ROTATION_DEG))
            seconds.append(time.perf_counter() - begin)
        return median(seconds)


def _slice(image: np.ndarray) -> Tensor:
    """(Y, X, C) as (1, C, Y, X), channels last."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]
