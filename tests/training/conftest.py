"""Settings so small that a run takes less time than its compilation; shared, so that it is compiled once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig
from psft_jax.scan import Scan
from psft_jax.training.finetune import Execution, Tuned, finetune
from psft_jax.training.material import Annotated
from psft_jax.training.settings import FinetuneConfig

ONE_BY_ONE = Execution()


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


@pytest.fixture(scope="session")
def base(tiny: Network, scrambled: Callable[[Network, int], Variables]) -> Variables:
    return scrambled(tiny, 5)


@pytest.fixture(scope="session")
def settings(small_patches: PatchConfig) -> FinetuneConfig:
    return FinetuneConfig(iterations=5, learning_rate=0.02, patches=small_patches)


@pytest.fixture(scope="session")
def tune(tiny: Network, base: Variables, make_scan: Callable[..., Scan]) -> Callable[..., list[Tuned]]:
    def run(
        *variants: FinetuneConfig, seed: int = 1, execution: Execution = ONE_BY_ONE, **changes: Any
    ) -> list[Tuned]:
        scan = make_scan(**changes)
        scans = [Annotated(scan)]
        return finetune(tiny, base, scan.subject, scans, variants, seed=seed, execution=execution)

    return run
