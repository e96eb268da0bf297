"""A base CNN, trained once for all tests of the whole path."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import train_base
from tests.integration.commands import TINY, tiny_training


@pytest.fixture(scope="session", params=sorted(TINY))
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """A dataset, the folder of all runs, and a base CNN trained on it."""
    out = tmp_path_factory.mktemp("runs")
    return request.param, out, train_base.run(tiny_training(request.param, out))
