"""Drawing patches on the device: position and rotation in one resampling of the whole slice.

A patch is sampled from the slice at rotated coordinates, so its corners hold the tissue that lies there and
no blank; where it reaches past the slice, the slice's edge goes on. Images are interpolated linearly, labels
take the nearest pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int

from psft_jax.errors import check_fields
from psft_jax.sampling.positions import Centres, patch_table
from psft_jax.sampling.slices import Box, Slices


@dataclass(frozen=True)
class PatchConfig:
    """How patches are cut (sections 2.2 and 2.3); the defaults are the paper's.

    Args:
        size: side of a patch in pixels.
        batch: patches in a minibatch.
        rotation_deg: each patch is rotated by an angle drawn from plus or minus this.
        angle_bank: draw each patch's angle from this many fixed ones, so that patches repeat; 1 does not
            rotate, 0 draws continuous angles.
        linear_labels: interpolate labels linearly instead of by the nearest pixel (the published script).
        first_unrotated: never rotate the first patch of a batch (the published script).

    Raises:
        InputError: a number is out of its range.
    """

    size: int = 128
    batch: int = 4
    rotation_deg: float = 45.0
    angle_bank: int = 0
    linear_labels: bool = False
    first_unrotated: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            {
                "size": (self.size >= 8, "at least 8 pixels"),
                "batch": (self.batch >= 1, "at least 1"),
                "rotation_deg": (0.0 <= self.rotation_deg <= 180.0, "0 to 180 degrees"),
                "angle_bank": (0 <= self.angle_bank <= 4096, "0 (continuous angles) to 4096"),
                "first_unrotated": (
                    not (self.first_unrotated and self.angle_bank),
                    "false where angle_bank is set, whose angles need not hold 0",
                ),
            },
            remedy="The paper's values are size=128 batch=4 rotation_deg=45.",
        )

    @property
    def fixed_angles(self) -> Float[np.ndarray, " k"] | None:
        """The only angles that occur, in radians, or None where angles are continuous.

        A bank's angles are evenly spread over the range and symmetric about 0.
        """
        if self.rotation_deg == 0.0:
            return np.zeros(1, dtype=np.float32)
        if not self.angle_bank:
            return None
        edges = np.linspace(-1.0, 1.0, self.angle_bank + 1)
        return (np.deg2rad(self.rotation_deg) * (edges[:-1] + edges[1:]) / 2).astype(np.float32)


class Pool(NamedTuple):
    """All patches that may be drawn, and the slices they lie in, on the device.

    Slices and patches may be padded; only the first ``n_patches`` patches are real.
    """

    images: tuple[Float[Array, "s y x c0"], Float[Array, "s y x c1"]]
    lesion: Float[Array, "s y x"]
    slice_index: Int[Array, " n"]
    centres: Float[Array, "n 2"]
    n_patches: Int[Array, ""]
    weights: dict[str, Float[Array, "s y x"]]


class Draw(NamedTuple):
    """Which patches make a minibatch: their place in the pool, their angles in radians, and, where the angles
    are fixed ones, each angle's place among them."""

    patch: Int[Array, "*b"]
    angle: Float[Array, "*b"]
    turn: Int[Array, "*b"]


class Drawn(NamedTuple):
    """What the patches of a minibatch are cut from: the slice that each lies in, with its weight maps; the
    patch's centre in that slice, and its angle in radians."""

    images: tuple[Float[Array, "*b y x c0"], Float[Array, "*b y x c1"]]
    lesion: Float[Array, "*b y x"]
    weights: dict[str, Float[Array, "*b y x"]]
    centre: Float[Array, "*b 2"]
    angle: Float[Array, "*b"]


class Batch(NamedTuple):
    """Patches: the two sequences (B, P, P, C), the lesion fraction of each pixel (B, P, P), and the pool's
    weight maps, cut as the labels are."""

    images: tuple[Float[Array, "b p p c0"], Float[Array, "b p p c1"]]
    lesion: Float[Array, "b p p"]
    weights: dict[str, Float[Array, "b p p"]]


def make_pool(slices: Slices, centres: Callable[[Box], Centres], room: int = 0) -> Pool:
    """Put slices and the table of their patches on the device.

    Args:
        slices: in which the patches lie.
        centres: the patch centres in an organ's box, of every box as many.
        room: for so many slices, where these are fewer.
    """
    slice_index, positions = patch_table(slices.boxes, centres)
    per_slice = len(positions) // len(slices)
    extra = max(0, room - len(slices))

    def padded(array: np.ndarray, missing: int) -> Array:
        return jnp.asarray(np.pad(array, ((0, missing),) + ((0, 0),) * (array.ndim - 1)))

    first, second = slices.images
    return Pool(
        (padded(first, extra), padded(second, extra)),
        padded(slices.lesion, extra),
        padded(slice_index, extra * per_slice),
        padded(positions, extra * per_slice),
        jnp.asarray(len(positions)),
        {name: padded(weights, extra) for name, weights in slices.weights.items()},
    )


def draw(key: Array, patches: Int[Array, ""], config: PatchConfig) -> Draw:
    """A minibatch drawn with replacement from ``patches`` patches, each with its own angle."""
    which, spin = jax.random.split(key)
    patch = jax.random.randint(which, (config.batch,), 0, patches)
    fixed = config.fixed_angles
    if fixed is not None:
        turn = jax.random.randint(spin, (config.batch,), 0, len(fixed))
        return Draw(patch, jnp.asarray(fixed)[turn], turn)
    limit = np.deg2rad(config.rotation_deg)
    angle = jax.random.uniform(spin, (config.batch,), minval=-limit, maxval=limit)
    if config.first_unrotated:
        angle = angle.at[0].set(0.0)
    return Draw(patch, angle, jnp.zeros_like(patch))


def extract(pool: Pool, chosen: Draw, config: PatchConfig) -> Batch:
    """Cut the drawn patches out of their slices, each in one resampling.

    Args:
        pool: slices and patch centres.
        chosen: patches and angles.
        config: patch size and the interpolation of labels.
    """
    return cut(gather(pool, chosen), config)


def gather(pool: Pool, chosen: Draw) -> Drawn:
    """The slice and the place of each drawn patch."""

    def of_one(chosen: Draw) -> Drawn:
        z = pool.slice_index[chosen.patch]
        first, second = pool.images
        weights = {name: maps[z] for name, maps in pool.weights.items()}
        return Drawn((first[z], second[z]), pool.lesion[z], weights, pool.centres[chosen.patch], chosen.angle)

    return jax.vmap(of_one)(chosen)


def cut(drawn: Drawn, config: PatchConfig) -> Batch:
    """Cut patches out of their slices, each in one resampling."""
    return jax.vmap(partial(_cut, config))(drawn)


def _cut(config: PatchConfig, drawn: Drawn) -> Batch:
    offset = jnp.arange(config.size) - (config.size - 1) / 2
    down, right = jnp.meshgrid(offset, offset, indexing="ij")
    cos, sin = jnp.cos(drawn.angle), jnp.sin(drawn.angle)
    where = [drawn.centre[0] + cos * down - sin * right, drawn.centre[1] + sin * down + cos * right]

    def sample(channel: Float[Array, "y x"], order: int) -> Float[Array, "p p"]:
        return map_coordinates(channel, where, order=order, mode="nearest")

    by_channel = jax.vmap(partial(sample, order=1), in_axes=-1, out_axes=-1)
    first, second = map(by_channel, drawn.images)
    label_order = 1 if config.linear_labels else 0
    weights = {name: sample(maps, label_order) for name, maps in drawn.weights.items()}
    return Batch((first, second), sample(drawn.lesion, label_order), weights)
