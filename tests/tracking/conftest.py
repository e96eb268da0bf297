"""W&B's client without anybody's account, and a server that stands in for W&B's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from psft_jax.tracking import session
from tests.tracking.standin import KEY, StandIn, standing_in


class Watched(subprocess.Popen):
    """A process that the tests know of."""

    started: ClassVar[list[subprocess.Popen]] = []

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.started.append(self)


def wandb_processes() -> list[subprocess.Popen]:
    """The processes of W&B's client that are still alive."""
    return [p for p in Watched.started if Path(p.args[0]).name == "wandb-core" and p.poll() is None]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without key and settings, instead of whose runs the tests; and no process is left behind."""
    for name in [name for name in os.environ if name.startswith(("WANDB", "XDG"))]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setattr(session, "_out_of_reach", set())
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")  # where nobody answers
    monkeypatch.setattr(subprocess, "Popen", Watched)
    yield home
    assert wandb_processes() == []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in, and a client that knows its address and has a key."""
    with standing_in() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server
    assert server.unknown == []
