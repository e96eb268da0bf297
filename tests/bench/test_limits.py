"""What a stage needs, counted by hand, and the table that compares it with the machine."""

from __future__ import annotations

import re

import pytest

from bench import limits, operations, page
from bench.limits import Rates, Stage, markdown
from psft_jax.model.config import PNetConfig

SMALL = PNetConfig(dilations=((1,), (2,)), width=2, head_width=3)  # two layers a pathway, 8 fused channels


def test_trunk() -> None:
    """Pathways of 1 and 2 channels: 9 x (1 x 2 + 2 x 2) and 9 x (2 x 2 + 2 x 2) products a pixel."""
    need = operations.trunk(SMALL, (1, 2), 10)
    assert need.operations == 2 * 10 * (54 + 72)
    assert need.bytes == 4 * 10 * (3 + 8)


def test_the_papers_network_multiplies_each_kernel_weight_once_a_pixel() -> None:
    """The other of its 973,442 parameters are biases of convolutions, and scales and shifts."""
    config = PNetConfig()
    both = operations.trunk(config, (1, 1), 1).operations + operations.head(config, 1).operations
    assert both == 2 * (973_442 - (26 * 64 + 128 + 2) - 2 * (26 * 64 + 128))


def test_samples_multiply_operations_and_not_bytes() -> None:
    once, often = operations.head(SMALL, 10), operations.head(SMALL, 10, samples=25)
    assert once.operations == 2 * 10 * (8 * 3 + 3 * 2)
    assert once.bytes == 4 * 10 * 8
    assert often == (25 * once.operations, once.bytes)


def test_steps() -> None:
    """The head needs the gradient of its first kernel, and of its second kernel and that one's input."""
    assert operations.head_step(SMALL, 10).operations == 2 * 10 * (2 * 8 * 3 + 3 * 3 * 2)
    base = operations.base_step(SMALL, (1, 2), 10)
    assert base.operations == 2 * 10 * (3 * (54 + 72 + 24 + 6) - 9 * (1 * 2 + 2 * 2))
    assert base.bytes == 2 * 4 * 10 * (4 * 2 + 3)


def test_the_nearer_limit_counts() -> None:
    rates = Rates(product=50.0, convolution=100.0, copy=10.0)
    assert Stage("by operations", 400.0, 10.0, 8.0).least(rates) == (4.0, 1.0)
    assert Stage("by operations", 400.0, 10.0, 8.0).share(rates) == 0.5
    assert Stage("by bytes", 400.0, 80.0, 8.0).share(rates) == 1.0


def test_table() -> None:
    stage = Stage("trunk", 4e9, 0.2e9, 0.1)
    machine: dict[str, str | int] = {"cpu": "an abacus", "cores": 2}
    text = markdown(machine, "2025-01-02", Rates(50e9, 100e9, 10e9), [stage])
    assert "an abacus, 2 cores, 2025-01-02: 50 GFLOP/s in a matrix product" in text
    assert text.splitlines()[-1] == "| trunk | 4 | 0.2 | 40.0 ms | 20.0 ms | 100.0 ms | 40% |"


@pytest.mark.skipif(not limits.KEPT.exists(), reason="nothing measured yet")
def test_the_page_shows_the_limits() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.replaced(text, "limits", limits.rendered(limits.KEPT)) == text


def test_the_page_has_its_blocks() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- bench: (\w+) -->", text) == ["results", "limits"]
