"""Settings so small that a run takes less time than its compilation; shared, so that it is compiled once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from psft_jax.sampling.patches import PatchConfig


@pytest.fixture(scope="session")
def small_patches() -> PatchConfig:
    return PatchConfig(size=9, batch=2)


@pytest.fixture(scope="session")
def fingerprints() -> Callable[[Any], dict[str, str]]:
    """A hash of the bytes of every leaf, by its path."""

    def of(tree: Any) -> dict[str, str]:
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): hashlib.sha256(
                np.asarray(leaf).tobytes()
            ).hexdigest()
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }

    return of
