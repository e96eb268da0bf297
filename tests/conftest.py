"""What every test shares: run-time shape checks, where the real scans lie, and no window for figures."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import pytest
from jaxtyping import install_import_hook

mpl.use("Agg")
install_import_hook("psft_jax", "beartype.beartype")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans named by PSFT_DATA; tests that need it are skipped, and say so, elsewhere."""
    root = os.environ.get("PSFT_DATA")
    if not root:
        pytest.skip("PSFT_DATA is not set: no real scans to test on")
    return Path(root)
