"""Where the steps of base training get their slices: from the device's memory, or from the disk.

Either gives one call for each planned dispatch, and the calls compute the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int

from psft_jax.devices import split, whole
from psft_jax.model.network import Network
from psft_jax.sampling.patches import Drawn, make_pool
from psft_jax.sampling.positions import Centres, grid_centres, patch_table
from psft_jax.sampling.slices import Box, Slices
from psft_jax.sampling.stored import StoredSlices
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.base_steps import TrainState, draws_of, steps_from_pool, steps_from_slices

Advance = Callable[[TrainState], tuple[TrainState, Float[Array, " n"]]]
"""Some steps: takes the state, which is gone after it, and gives the next one and the losses."""
Dispatch = tuple[int, int]
"""The number of the first step of a call to the device, and how many steps it takes."""
AHEAD = 3
"""Dispatches whose slices are read while the device is at work on an earlier one."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class PatchPlaces:
    """Where the patches of a set of slices lie, without the slices' pixels.

    Args:
        slices: in memory or on disk.
        slice_index: the slice of each patch.
        centres: the centre of each patch in it.
    """

    slices: Slices | StoredSlices
    slice_index: Int[np.ndarray, " n"]
    centres: Centres

    @classmethod
    def of(cls, slices: Slices | StoredSlices, centres: Callable[[Box], Centres]) -> PatchPlaces:
        """All patches that ``centres`` lays over the organ's box in each slice."""
        return cls(slices, *patch_table(slices.boxes, centres))

    def __len__(self) -> int:
        return len(self.centres)

    def read(self, patch: Int[np.ndarray, "*b"], angle: Float[np.ndarray, "*b"], to: NamedSharding) -> Drawn:
        """The slices that some patches are cut from, on the devices of ``to``.

        Raises:
            InputError: they are on disk and cannot be read.
        """
        chosen = self.slices.take(self.slice_index[patch.ravel()])
        slices = chosen.load() if isinstance(chosen, StoredSlices) else chosen

        def sent(array: np.ndarray) -> Array:
            return jax.device_put(array.reshape(*patch.shape, *array.shape[1:]), to)

        first, second = slices.images
        images = (sent(first), sent(second))
        return Drawn(images, sent(slices.lesion), {}, *jax.device_put((self.centres[patch], angle), to))


def fed(
    network: Network,
    training: Slices | StoredSlices,
    config: TrainConfig,
    mesh: Mesh,
    key: Array,
    planned: Sequence[Dispatch],
) -> Generator[Advance, None, None]:
    """A call for each planned dispatch, in their order.

    Raises:
        InputError: the slices are on disk and cannot be read.
    """
    if isinstance(training, Slices):
        return _from_memory(network, training, config, mesh, key, planned)
    return _from_disk(network, training, config, mesh, key, planned)


def _from_memory(
    network: Network,
    training: Slices,
    config: TrainConfig,
    mesh: Mesh,
    key: Array,
    planned: Sequence[Dispatch],
) -> Generator[Advance, None, None]:
    """All slices lie on the device (on each, where there are several), and it draws and cuts by itself."""
    pool = jax.device_put(make_pool(training, _grid(config)), whole(mesh))
    for first, count in planned:
        yield partial(steps_from_pool, network, config, mesh, key=key, first=first, pool=pool, count=count)


def _from_disk(
    network: Network,
    training: StoredSlices,
    config: TrainConfig,
    mesh: Mesh,
    key: Array,
    planned: Sequence[Dispatch],
) -> Generator[Advance, None, None]:
    """A thread reads the slices of coming steps and sends them to the device, while it is at work."""
    if not planned:
        return
    places = PatchPlaces.of(training, _grid(config))
    start, stop = planned[0][0], sum(planned[-1])
    draws = jax.device_get(draws_of(key, jnp.arange(start, stop), jnp.asarray(len(places)), config))

    def slices_of(dispatch: Dispatch) -> Drawn:
        first, count = dispatch
        steps = slice(first - start, first - start + count)
        return places.read(draws.patch[steps], draws.angle[steps], split(mesh, axis=1))

    with closing(prefetched(slices_of, planned, AHEAD)) as ready:
        for (first, _), drawn in zip(planned, ready, strict=True):
            yield partial(steps_from_slices, network, config, mesh, key=key, first=first, drawn=drawn)


def prefetched(make: Callable[[T], R], items: Iterable[T], ahead: int) -> Generator[R, None, None]:
    """``make`` of each item, by one thread that is at most ``ahead`` items ahead.

    What it raises comes when its item's turn has come. Closing the iterator waits for the item at hand alone.
    """
    items = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        waiting = deque(thread.submit(make, item) for item in islice(items, ahead))
        try:
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(thread.submit(make, item) for item in islice(items, 1))
                yield made
        finally:
            thread.shutdown(cancel_futures=True)


def _grid(config: TrainConfig) -> Callable[[Box], Centres]:
    return partial(grid_centres, patch=config.patches.size)
