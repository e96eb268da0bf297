"""Lesion probability of a whole volume, with Monte Carlo dropout, for several networks at once.

Networks that share a trunk (a base CNN and its fine-tuned heads) share its pass over the image. Dropout lives
in the head, so 25 samples cost 25 heads and one trunk. The heads run on the organ's voxels only: the
probability is masked by the organ afterwards in any case (section 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from tqdm import tqdm

from psft_jax import rng
from psft_jax.model.network import Network, Variables
from psft_jax.scan import Scan, Volume

VOXELS_PER_CALL = 8192
"""Voxels in one call of the head."""
FEATURE_BYTES = 512 * 2**20
"""Memory that the trunk's features of one batch of slices may take."""


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
    seed: int = 0,
) -> list[Prediction]:
    """Lesion probability of every organ voxel.

    The slices are cropped to the organ's box and a margin of half the receptive field, so what is predicted
    inside the organ is what the whole slice would give. Memory is bounded by ``FEATURE_BYTES`` and by
    ``VOXELS_PER_CALL``, whatever the number of samples.

    Args:
        network: the architecture.
        variants: the base CNN and any number of fine-tuned ones.
        scan: a normalised scan.
        samples: Monte Carlo dropout samples; 25 in the paper (section 3.6), 0 for none.
        seed: of the dropout masks, which are the same for every variant.

    Returns:
        A prediction for each variant, in their order.

    Raises:
        InputError: the scan has other channels than the network.
    """
    network.check_channels(scan)
    maps = np.zeros((len(variants), 3, *scan.shape), dtype=np.float32)
    rows, columns = _crop(scan, network.config.receptive_field // 2)
    slices = np.flatnonzero(scan.organ.any(axis=(1, 2)))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    batch = max(1, FEATURE_BYTES // (area * network.config.fused_channels * np.float32().itemsize))
    key = rng.key(seed, "dropout", scan.subject, scan.session)
    trunks = _by_trunk(variants)
    description = f"predicting {scan.name}"
    with tqdm(total=len(slices), desc=description, unit="slice", leave=False) as bar:
        for start in range(0, len(slices), batch):
            zs = slices[start : start + batch]
            padded = np.pad(zs, (0, min(batch, len(slices)) - len(zs)), mode="edge")
            first, second = (jnp.asarray(s[padded, rows, columns]) for s in scan.sequences)
            for members, heads in trunks:
                features = _trunk(network, variants[members[0]], (first, second))
                for position, z in enumerate(zs):
                    inside = scan.organ[z, rows, columns]
                    slice_key = jax.random.fold_in(key, int(z))
                    found = _slice(network, heads, features[position], inside, slice_key, samples)
                    for member, values in zip(members, found, strict=True):
                        maps[member, :, z, rows, columns][:, inside] = values
            bar.update(len(zs))
    return [Prediction(m[0], m[1], m[2]) if samples else Prediction(m[0]) for m in maps]


def _by_trunk(variants: Sequence[Variables]) -> list[tuple[list[int], Variables]]:
    """The variants that hold the very same trunk: their positions, and their heads stacked into one tree."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, variables in enumerate(variants):
        leaves = jax.tree.leaves((variables.params["trunk"], variables.batch_stats["trunk"]))
        groups.setdefault(tuple(map(id, leaves)), []).append(position)

    def stacked(members: list[int]) -> Variables:
        heads = [Variables(*({"head": tree["head"]} for tree in variants[m])) for m in members]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *heads)

    return [(members, stacked(members)) for members in groups.values()]


def _crop(scan: Scan, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the organ's box with a margin, inside the slice."""
    _, rows, columns = scan.organ_box
    _, height, width = scan.shape
    return (
        slice(max(0, rows.start - margin), min(height, rows.stop + margin)),
        slice(max(0, columns.start - margin), min(width, columns.stop + margin)),
    )


@partial(jax.jit, static_argnames="network")
def _trunk(
    network: Network, variables: Variables, images: tuple[Float[Array, "b y x c0"], Float[Array, "b y x c1"]]
) -> Float[Array, "b yx f"]:
    features = network.trunk(variables, images)[0]
    return features.reshape(features.shape[0], -1, features.shape[-1])


def _slice(
    network: Network,
    heads: Variables,
    features: Float[Array, "yx f"],
    inside: Bool[np.ndarray, "y x"],
    key: Array,
    samples: int,
) -> Float[np.ndarray, "heads 3 n"]:
    """Probability, mean and SD of the organ's voxels of one slice."""
    voxels = np.flatnonzero(inside)
    parts = []
    for chunk, start in enumerate(range(0, len(voxels), VOXELS_PER_CALL)):
        part = voxels[start : start + VOXELS_PER_CALL]
        padded = jnp.asarray(np.pad(part, (0, VOXELS_PER_CALL - len(part))))
        result = _heads(network, heads, features, padded, jax.random.fold_in(key, chunk), samples)
        parts.append(np.asarray(result)[..., : len(part)])
    return np.concatenate(parts, axis=-1)


@partial(jax.jit, static_argnames=("network", "samples"))
def _heads(
    network: Network,
    heads: Variables,
    features: Float[Array, "yx f"],
    voxels: Int[Array, " n"],
    key: Array,
    samples: int,
) -> Float[Array, "heads 3 n"]:
    """Every head on the same voxels, with the same dropout masks."""
    here = features[voxels][None, None]  # the head is a convolution: it wants a batch of images

    def probability(dropout_key: Array | None) -> Float[Array, "heads n"]:
        def of_one(head: Variables) -> Float[Array, " n"]:
            logits, _ = network.head(head, here, dropout_key=dropout_key)
            return jax.nn.softmax(logits.astype(jnp.float32))[0, 0, :, 1]

        return jax.vmap(of_one)(heads)

    certain = probability(None)
    if not samples:
        return jnp.stack([certain, jnp.zeros_like(certain), jnp.zeros_like(certain)], axis=1)
    drawn = jax.lax.map(probability, jax.random.split(key, samples))
    return jnp.stack([certain, drawn.mean(axis=0), drawn.std(axis=0)], axis=1)
