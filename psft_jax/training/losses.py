"""The loss of sections 2.2 and 2.3: categorical cross-entropy with a weight for each class."""

from __future__ import annotations

import jax
from jax import numpy as jnp
from jaxtyping import Array, Float

Weight = float | Float[Array, "*b"]
"""Of all pixels, or of each."""


def weighted_cross_entropy(
    logits: Float[Array, "*b 2"],
    lesion: Float[Array, "*b"],
    weights: tuple[Weight, Weight],
) -> Float[Array, ""]:
    """Mean over pixels of the weighted cross-entropy.

    .. math:: -\\frac{1}{N} \\sum_i w_{1i} y_i \\log p_i + w_{0i} (1 - y_i) \\log (1 - p_i)

    Args:
        logits: of background and lesion.
        lesion: 1 inside a lesion, 0 outside (or the lesion fraction of the pixel).
        weights: of background and lesion: (1, 5) in the paper, or of each pixel (section 3.5).

    >>> float(weighted_cross_entropy(jnp.zeros((4, 2)), jnp.array([1.0, 0, 0, 0]), (1.0, 5.0)))  # 8/4 log 2
    1.3862943649291992
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    background, foreground = weights
    return -jnp.mean(foreground * lesion * log_p[..., 1] + background * (1.0 - lesion) * log_p[..., 0])
