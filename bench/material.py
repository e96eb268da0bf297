"""What both sides work on: a normalised phantom scan and the weights of a network, kept in one file.

The process that makes it needs JAX; those that load it do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.sizes import CHANNELS, SEED, Size
from psft_jax.scan import Mask, Scan, Volume

Leaves = dict[str, np.ndarray]
"""A network's variables by path, for instance ``params/head/conv1/kernel``."""
_ARRAYS = ("organ", "lesion", "affine", "spacing_mm")


@dataclass(frozen=True)
class Material:
    """An annotated scan, the network's variables, and what a base CNN might have made of the scan.

    Args:
        scan: normalised.
        leaves: the variables.
    """

    scan: Scan
    leaves: Leaves

    @property
    def found(self) -> Mask:
        """The annotation moved by one pixel: hits, misses and false positives, for the weighting."""
        assert self.scan.lesion is not None
        return np.roll(self.scan.lesion, 1, axis=2)

    @property
    def probability(self) -> Volume:
        """Undecided where ``found``: the choice of slices falls on the one with the most lesion."""
        return np.where(self.found, np.float32(0.5), np.float32(0.0))

    def some_slices(self, count: int) -> Scan:
        """The scan with so many of its slices, evenly spread."""
        z = evenly(self.scan.shape[0], count)
        first, second = self.scan.sequences
        assert self.scan.lesion is not None
        return Scan(
            self.scan.subject,
            self.scan.session,
            (first[z], second[z]),
            self.scan.organ[z],
            self.scan.lesion[z],
            self.scan.spacing_mm,
            self.scan.affine,
        )


def evenly(total: int, count: int) -> np.ndarray:
    """``count`` positions, evenly spread over ``total``.

    >>> [int(z) for z in evenly(48, 4)]
    [6, 18, 30, 42]
    """
    return ((2 * np.arange(count) + 1) * total // (2 * count)).astype(np.intp)


def make_scan(size: Size, patient: int = 0) -> Scan:
    """The normalised baseline of a phantom patient; a few seconds at full size."""
    from psft_jax.data.normalise import normalise
    from psft_jax.phantoms.brain import BrainPhantomSettings, brain_cohort

    cohort = brain_cohort(BrainPhantomSettings(n_training=0, n_test=patient + 1, seed=SEED, shape=size.shape))
    return normalise(cohort.test[patient].baseline.load())


def make_leaves(size: Size) -> Leaves:
    """Random variables: He uniform kernels, and biases and normalisations none of which can go unnoticed."""
    from flax.traverse_util import flatten_dict

    from psft_jax import rng
    from psft_jax.model.network import Network

    variables = Network(size.model, CHANNELS).init(rng.key(SEED, "bench"))
    noise = rng.generator(SEED, "bench")
    leaves: Leaves = {}
    for path, value in flatten_dict(variables._asdict(), sep="/").items():
        leaf = np.asarray(value)
        if path.endswith(("bias", "mean")):
            leaf = leaf + 0.1 * noise.standard_normal(leaf.shape)
        elif path.endswith(("scale", "var")):
            leaf = leaf * noise.uniform(0.5, 1.5, leaf.shape)
        leaves[path] = leaf.astype(np.float32)
    return leaves


def save(path: Path, material: Material) -> None:
    """Write the material; the folder exists."""
    scan = material.scan
    lists = {name: np.asarray(getattr(scan, name)) for name in _ARRAYS}
    first, second = scan.sequences
    np.savez(path, allow_pickle=False, first=first, second=second, **lists, **material.leaves)


def load(path: Path) -> Material:
    """What ``save`` wrote."""
    with np.load(path) as file:
        arrays = dict(file)
    spacing = tuple(float(s) for s in arrays["spacing_mm"])
    scan = Scan(
        "bench",
        "baseline",
        (arrays["first"], arrays["second"]),
        arrays["organ"],
        arrays["lesion"],
        (spacing[0], spacing[1], spacing[2]),
        arrays["affine"],
    )
    return Material(scan, {path: leaf for path, leaf in arrays.items() if "/" in path})
