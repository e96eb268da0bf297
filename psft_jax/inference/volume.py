"""Lesion probability of a whole volume, with Monte Carlo dropout, for several networks at once.

Networks that share a trunk (a base CNN and its fine-tuned heads) share its pass over the image. Dropout lives
in the head, so 25 samples cost 25 heads and one trunk. The heads run on the organ's voxels only: the
probability is masked by the organ afterwards in any case (section 2.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from psft_jax import rng
from psft_jax.inference.crops import Crop, Rule, crops_of, rule_here
from psft_jax.inference.heads import Heads
from psft_jax.model.dropout import Masks
from psft_jax.model.folded import FoldedTrunk, Margins
from psft_jax.model.network import Network, Variables
from psft_jax.scan import Scan, Volume


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

    Of each slice only a region around the organ is predicted, from what the network sees of it: half the
    receptive field around. So what is predicted inside the organ is what the whole slice would give. Memory
    is bounded, whatever the number of slices and of samples.

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
    rule = rule_here()
    crops = crops_of(scan.organ, network.config.receptive_field // 2, rule)
    feature = network.config.fused_channels * jnp.dtype(network.precision.dtype).itemsize
    key = rng.key(seed, "dropout", scan.subject, scan.session)
    groups = []
    for members in _by_trunk(variants):
        folded = [network.fold_head(variants[member]) for member in members]
        heads = Heads.of(folded, network.config.dropout, samples, masks, key)
        groups.append((members, network.fold(variants[members[0]]), heads))
    total = sum(len(crop.slices) for crop in crops)
    with tqdm(total=total, desc=f"predicting {scan.name}", unit="slice", leave=False) as bar:
        for crop, zs in _batches(crops, feature, rule):
            first, second = (jnp.asarray(sequence[(zs, *crop.seen)]) for sequence in scan.sequences)
            for members, trunk, heads in groups:
                features = _trunk(network, trunk, (first, second), crop.margins)
                for position, z in enumerate(map(int, dict.fromkeys(zs))):
                    inside = scan.organ[z, crop.rows, crop.columns]
                    found = heads.slice(features[position], inside, z)
                    for member, values in zip(members, found, strict=True):
                        maps[member, :, z, crop.rows, crop.columns][:, inside] = values
            bar.update(len(set(zs)))
    return [Prediction(m[0], m[1], m[2]) if samples else Prediction(m[0]) for m in maps]


def _by_trunk(variants: Sequence[Variables]) -> list[list[int]]:
    """The positions of the variants that hold the very same trunk."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, variables in enumerate(variants):
        leaves = jax.tree.leaves((variables.params["trunk"], variables.batch_stats["trunk"]))
        groups.setdefault(tuple(map(id, leaves)), []).append(position)
    return list(groups.values())


def _batches(crops: list[Crop], feature: int, rule: Rule) -> Iterator[tuple[Crop, Int[np.ndarray, " n"]]]:
    """Slices that go through the trunk at once, all of a crop as many, so that its program is compiled once.

    Args:
        crops: of the volume.
        feature: bytes of a pixel's features.
        rule: how many.
    """
    for crop in crops:
        size = max(1, rule.feature_bytes // (crop.pixels_seen * feature))
        if not rule.full_batches:
            size = -(-len(crop.slices) // -(-len(crop.slices) // size))
        for start in range(0, len(crop.slices), size):
            zs = crop.slices[start : start + size]
            yield crop, np.pad(zs, (0, size - len(zs)), mode="edge")


@partial(jax.jit, static_argnames=("network", "margins"))
def _trunk(
    network: Network,
    trunk: FoldedTrunk,
    images: tuple[Float[Array, "b y x c0"], Float[Array, "b y x c1"]],
    margins: Margins,
) -> Float[Array, "b y2x2 f"]:
    features = network.folded_trunk(trunk, images, margins)
    return features.reshape(features.shape[0], -1, features.shape[-1])
