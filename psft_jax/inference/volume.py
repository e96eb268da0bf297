"""Lesion probability of a whole volume, with Monte Carlo dropout, for several networks at once.

Networks that share a trunk (a base CNN and its fine-tuned heads) share its pass over the image. Dropout lives
in the head, so 25 samples cost 25 heads and one trunk. The heads run on the organ's voxels only: the
probability is masked by the organ afterwards in any case (section 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float
from tqdm import tqdm

from psft_jax import rng
from psft_jax.inference.heads import Heads
from psft_jax.model.dropout import Masks
from psft_jax.model.folded import FoldedTrunk, Margins
from psft_jax.model.network import Network, Variables
from psft_jax.scan import Scan, Volume

FEATURE_BYTES = 256 * 2**20
"""Memory that the trunk's features of one batch of slices may take; a slice at least is done at once."""
ROUND = 16
"""The organ's box begins and ends at multiples of this many pixels."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of a volume; 0 outside the organ.

    Args:
        probability: (Z, Y, X) softmax probability of lesion, without dropout.
        mean: (Z, Y, X) mean over Monte Carlo dropout samples, or None where none were asked for.
        sd: (Z, Y, X) standard deviation over these samples (of the population, n in the denominator).
    """

    probability: Volume
    mean: Volume | None = None
    sd: Volume | None = None


def predict(
    network: Network,
    variants: Sequence[Variables],
    scan: Scan,
    *,
    samples: int = 0,
    masks: Masks = Masks.ELEMENTWISE,
    seed: int = 0,
) -> list[Prediction]:
    """Lesion probability of every organ voxel.

    Of each slice only the organ's box is predicted, from what the network sees of it: half the receptive
    field around. So what is predicted inside the organ is what the whole slice would give. Memory is bounded
    by ``FEATURE_BYTES``, whatever the number of samples.

    Args:
        network: the architecture.
        variants: the base CNN and any number of fine-tuned ones.
        scan: a normalised scan.
        samples: Monte Carlo dropout samples; 25 in the paper (section 3.6), 0 for none.
        masks: what a dropout mask is drawn for.
        seed: of the dropout masks, which are the same for every variant.

    Returns:
        A prediction for each variant, in their order.

    Raises:
        InputError: the scan has other channels than the network.
    """
    network.check_channels(scan)
    maps = np.zeros((len(variants), 3, *scan.shape), dtype=np.float32)
    rows, columns, margins = _crop(scan, network.config.receptive_field // 2)
    seen = (
        slice(rows.start - margins.top, rows.stop + margins.bottom),
        slice(columns.start - margins.left, columns.stop + margins.right),
    )
    slices = np.flatnonzero(scan.organ.any(axis=(1, 2)))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    feature = network.config.fused_channels * jnp.dtype(network.precision.dtype).itemsize
    batch = max(1, FEATURE_BYTES // (area * feature))
    key = rng.key(seed, "dropout", scan.subject, scan.session)
    groups = []
    for members in _by_trunk(variants):
        folded = [network.fold_head(variants[member]) for member in members]
        heads = Heads.of(folded, network.config.dropout, samples, masks, key)
        groups.append((members, network.fold(variants[members[0]]), heads))
    description = f"predicting {scan.name}"
    with tqdm(total=len(slices), desc=description, unit="slice", leave=False) as bar:
        for start in range(0, len(slices), batch):
            zs = slices[start : start + batch]
            padded = np.pad(zs, (0, min(batch, len(slices)) - len(zs)), mode="edge")
            first, second = (jnp.asarray(s[(padded, *seen)]) for s in scan.sequences)
            for members, trunk, heads in groups:
                features = _trunk(network, trunk, (first, second), margins)
                for position, z in enumerate(zs):
                    inside = scan.organ[z, rows, columns]
                    found = heads.slice(features[position], inside, int(z))
                    for member, values in zip(members, found, strict=True):
                        maps[member, :, z, rows, columns][:, inside] = values
            bar.update(len(zs))
    return [Prediction(m[0], m[1], m[2]) if samples else Prediction(m[0]) for m in maps]


def _by_trunk(variants: Sequence[Variables]) -> list[list[int]]:
    """The positions of the variants that hold the very same trunk."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, variables in enumerate(variants):
        leaves = jax.tree.leaves((variables.params["trunk"], variables.batch_stats["trunk"]))
        groups.setdefault(tuple(map(id, leaves)), []).append(position)
    return list(groups.values())


class _Crop(NamedTuple):
    """What is looked at of every slice: the organ's box, and the margin that the network sees around it."""

    rows: slice
    columns: slice
    margins: Margins


def _crop(scan: Scan, reach: int) -> _Crop:
    """The organ's box, rounded so that patients of like size share a compiled program, and its margins.

    Args:
        scan: with its organ.
        reach: half the receptive field.
    """
    _, *box = scan.organ_box
    _, *size = scan.shape
    sides: list[int] = []
    regions = []
    for extent, length in zip(box, size, strict=True):
        start = extent.start // ROUND * ROUND
        stop = min(length, -(-extent.stop // ROUND) * ROUND)
        regions.append(slice(start, stop))
        sides += [min(reach, start), min(reach, length - stop)]
    return _Crop(regions[0], regions[1], Margins(*sides))


@partial(jax.jit, static_argnames=("network", "margins"))
def _trunk(
    network: Network,
    trunk: FoldedTrunk,
    images: tuple[Float[Array, "b y x c0"], Float[Array, "b y x c1"]],
    margins: Margins,
) -> Float[Array, "b y2x2 f"]:
    features = network.folded_trunk(trunk, images, margins)
    return features.reshape(features.shape[0], -1, features.shape[-1])
