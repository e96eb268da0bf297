"""What every test shares: run-time shape checks, where the real scans lie, no window for figures, and a
network and a scan so small that compiling takes longer than computing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
import pytest
from jax import numpy as jnp
from jaxtyping import install_import_hook

mpl.use("Agg")
install_import_hook("psft_jax", "beartype.beartype")

from psft_jax.model.config import PNetConfig  # noqa: E402 - after the hook, which checks what is imported after it
from psft_jax.model.network import Network, Variables  # noqa: E402
from psft_jax.scan import Scan  # noqa: E402


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans named by PSFT_DATA; tests that need it are skipped, and say so, elsewhere."""
    root = os.environ.get("PSFT_DATA")
    if not root:
        pytest.skip("PSFT_DATA is not set: no real scans to test on")
    return Path(root)


@pytest.fixture(scope="session")
def tiny() -> Network:
    """Two layers a pathway, a receptive field of 7 pixels, and other channels in each pathway."""
    return Network(PNetConfig(dilations=((1,), (2,)), width=4, head_width=8), (1, 2))


@pytest.fixture(scope="session")
def scrambled() -> Callable[[Network, int], Variables]:
    """Variables in which no bias is 0 and no normalisation is the identity, so that none can be forgotten."""

    def build(network: Network, seed: int) -> Variables:
        noise = np.random.default_rng(seed)

        def scramble(leaf: jax.ShapeDtypeStruct) -> jax.Array:
            spread = 0.5 if len(leaf.shape) < 4 else np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return jnp.asarray(spread * noise.standard_normal(leaf.shape), leaf.dtype)

        params, batch_stats = jax.tree.map(scramble, network.shapes)
        return Variables(params, jax.tree.map(lambda leaf: abs(leaf) + 0.3, batch_stats))

    return build


@pytest.fixture(scope="session")
def make_scan() -> Callable[..., Scan]:
    """A scan of noise with an organ off the centre and, in slices 1 and 2, a bright lesion inside it."""

    def build(
        shape: tuple[int, int, int] = (4, 24, 20), channels: tuple[int, int] = (1, 2), **changes: Any
    ) -> Scan:
        noise = np.random.default_rng(0)
        organ, lesion = np.zeros(shape, bool), np.zeros(shape, bool)
        organ[:, 3:17, 5:18] = True
        lesion[1:3, 8:12, 7:11] = True
        first, second = (noise.standard_normal((*shape, c), "f4") + 2 * lesion[..., None] for c in channels)
        fields: dict[str, Any] = {
            "subject": "P1",
            "session": "T1",
            "sequences": (first.astype(np.float32), second.astype(np.float32)),
            "organ": organ,
            "lesion": lesion,
            "spacing_mm": (3.0, 1.0, 1.0),
            "affine": np.eye(4),
        }
        return Scan(**{**fields, **changes})

    return build
