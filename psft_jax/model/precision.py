"""The number format of the network's arithmetic."""

from __future__ import annotations

from enum import StrEnum

from jax import numpy as jnp
from jax.typing import DTypeLike


class Precision(StrEnum):
    """What convolutions and matrix products compute in, and what features are.

    Parameters, the statistics of batch normalisation, softmax and loss are float32 in any case. Where the
    trunk is frozen, batch normalisation is part of its convolutions.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"

    @property
    def dtype(self) -> DTypeLike:
        """Of features and of the copies of kernels that are multiplied with them."""
        return jnp.dtype(self.value)
