"""One mesh of devices among which the patches of a minibatch, or a batch of patients, are split.

Arrays that are split lie along the mesh's only axis; all else (parameters, slices) lies whole on each device.
Inside a compiled function, ``jax.lax.with_sharding_constraint`` takes the shardings given here, outside it
``jax.device_put``; XLA adds what the devices have to tell each other.
"""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from psft_jax.errors import InputError

AXIS = "data"


def most_that_divide(items: int, at_most: int) -> int:
    """The largest number up to ``at_most`` that splits ``items`` evenly.

    >>> most_that_divide(12, 8)
    6
    """
    return max(count for count in range(1, at_most + 1) if items % count == 0)


def available(wanted: int | None) -> int:
    """So many devices as are wanted; None for all there are.

    Raises:
        InputError: there are fewer.
    """
    there = jax.device_count()
    if wanted is not None and wanted > there:
        raise InputError(
            "hardware.devices",
            found=f"{wanted} devices asked for where there {'is' if there == 1 else 'are'} {there} "
            f"({jax.default_backend()})",
            expected=f"at most {there}",
            remedy="Ask for fewer, or for null: as many as there are and as divide the batch.",
        )
    return there if wanted is None else wanted


def device_count(wanted: int | None, items: int, *, what: str) -> int:
    """How many devices split ``items`` evenly.

    Args:
        wanted: so many; None for the largest number of devices there is that divides the items.
        items: what is split.
        what: the items in words, for the message.

    Raises:
        InputError: there are fewer devices than wanted, or they cannot share the items evenly.
    """
    most = available(wanted)
    if wanted is not None and items % wanted:
        raise InputError(
            "hardware.devices",
            found=f"{wanted} devices for {items} {what}",
            expected="a number of devices that divides it",
            remedy="Ask for another number, or for null: as many as there are and as divide the batch.",
        )
    return most_that_divide(items, most)


def data_mesh(count: int = 1) -> Mesh:
    """The first ``count`` devices along one axis."""
    return Mesh(np.array(jax.devices()[:count]), (AXIS,))


def split(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """An array axis that is divided among the devices; the others are whole."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, AXIS))


def whole(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())
