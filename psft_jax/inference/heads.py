"""Heads that share a trunk, on the organ's voxels of a slice: probability, and its spread under dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from psft_jax.model.dropout import Masks
from psft_jax.model.folded import FoldedHead, lesion_probability, thinned

SAMPLES_PER_CALL = 5
"""Dropout samples in one call to the device: few, so that memory does not grow with their number."""


def voxels_per_call() -> int:
    """Voxels in one call: on a CPU as many as its cache holds, elsewhere most slices as a whole."""
    return 2048 if jax.default_backend() == "cpu" else 65536


@dataclass(frozen=True, eq=False)
class Heads:
    """Heads on one trunk, and how their dropout samples are drawn; the same masks for every head.

    Args:
        stacked: the heads, (heads, ...).
        rate: of dropout.
        samples: Monte Carlo dropout samples; 0 for none.
        masks: what a mask is drawn for.
        key: of the masks of this volume.
    """

    stacked: FoldedHead
    rate: float
    samples: int
    masks: Masks
    key: Array

    @classmethod
    def of(cls, heads: Sequence[FoldedHead], rate: float, samples: int, masks: Masks, key: Array) -> Heads:
        """Stack heads."""
        return cls(_joined(heads), rate, samples, masks, key)

    def slice(
        self, features: Float[Array, "yx f"], inside: Bool[np.ndarray, "y x"], z: int
    ) -> Float[np.ndarray, "heads 3 n"]:
        """Probability, mean and SD (of the population) of the organ's voxels of one slice.

        Args:
            features: of every pixel, in rows.
            inside: the organ.
            z: place of the slice; with elementwise masks every slice has its own.
        """
        voxels, step = np.flatnonzero(inside), voxels_per_call()
        key = jax.random.fold_in(self.key, z)
        parts = []
        for start in range(0, len(voxels), step):
            part = voxels[start : start + step]
            here = _rows(features, jnp.asarray(np.pad(part, (0, step - len(part)))))
            certain = np.asarray(_certain(self.stacked, here))
            found = [certain, np.zeros_like(certain), np.zeros_like(certain)]
            if self.samples:
                drawn = np.concatenate([np.asarray(group) for group in self._drawn(here, key, start)])
                found[1:] = [drawn.mean(axis=0), drawn.std(axis=0)]
            parts.append(np.stack(found, axis=1)[..., : len(part)])
        return np.concatenate(parts, axis=-1)

    def _drawn(
        self, here: Float[Array, "n f"], key: Array, start: int
    ) -> Iterator[Float[Array, "samples heads n"]]:
        """The samples, some at a time, of the voxels from ``start`` on: the masks are those of the slice."""
        if self.masks is Masks.CHANNEL:
            for thin in self._thinned:  # each sample is a head of its own
                found = _certain(thin, here)
                yield found.reshape(-1, len(self.stacked.offset), found.shape[-1])
            return
        for first in range(0, self.samples, SAMPLES_PER_CALL):
            count = min(SAMPLES_PER_CALL, self.samples - first)
            yield _sampled(self.stacked, here, key, first, start, self.rate, count)

    @cached_property
    def _thinned(self) -> list[FoldedHead]:
        """One mask a sample for the whole volume, folded into the weights of the heads."""
        return _thin(self.stacked, self.key, self.rate, self.samples)


@jax.jit
def _rows(features: Float[Array, "yx f"], voxels: Int[Array, " n"]) -> Float[Array, "n f"]:
    return features[voxels]


@jax.jit
def _certain(heads: FoldedHead, here: Float[Array, "n f"]) -> Float[Array, "heads n"]:
    return lesion_probability(heads, here)


@partial(jax.jit, static_argnames=("rate", "count"))
def _sampled(
    heads: FoldedHead,
    here: Float[Array, "n f"],
    key: Array,
    first: int | Int[Array, ""],
    start: int | Int[Array, ""],
    rate: float,
    count: int,
) -> Float[Array, "s heads n"]:
    """Unrolled, because XLA runs the products of a loop on one core of a CPU."""
    keys = [jax.random.fold_in(key, first + sample) for sample in range(count)]
    return jnp.stack([lesion_probability(heads, here, rate, one, start) for one in keys])


@partial(jax.jit, static_argnames=("rate", "samples"))
def _thin(heads: FoldedHead, key: Array, rate: float, samples: int) -> list[FoldedHead]:
    """The heads of every sample, in groups of those that one call takes."""
    thin = jax.vmap(lambda one: thinned(heads, rate, one))(jax.random.split(key, samples))
    groups = range(0, samples, SAMPLES_PER_CALL)
    return [
        jax.tree.map(
            lambda leaf, first=first: leaf[first : first + SAMPLES_PER_CALL].reshape(-1, *leaf.shape[2:]),
            thin,
        )
        for first in groups
    ]


def _joined(heads: Sequence[FoldedHead]) -> FoldedHead:
    return FoldedHead(*jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *heads))
