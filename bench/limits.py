"""How far each stage is from what the machine can do: ``python -m bench.limits``.

Two limits: the operations over the fastest matrix product or convolution that was measured, and the bytes
over the bandwidth of a copy. The larger of the two times is the least that a stage could take. Writes
``bench/limits.json`` and the table in ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import page
from bench.machine import Machine, machine
from bench.sizes import SIZES
from psft_jax.allocator import keep_pages
from psft_jax.files import write_text

KEPT = Path(__file__).parent / "limits.json"


@dataclass(frozen=True)
class Rates:
    """What the machine can do in a second: operations in a product and in a convolution, bytes in a copy."""

    product: float
    convolution: float
    copy: float

    @property
    def matrix(self) -> float:
        """The larger of the two rates of operations."""
        return max(self.product, self.convolution)


@dataclass(frozen=True)
class Stage:
    """One stage: what it needs at the least, and the seconds that it took."""

    name: str
    operations: float
    bytes: float
    seconds: float

    def least(self, rates: Rates) -> tuple[float, float]:
        """Seconds that either limit allows: of the operations, and of the bytes."""
        return self.operations / rates.matrix, self.bytes / rates.copy

    def share(self, rates: Rates) -> float:
        """The nearer limit over the time that it took."""
        return max(self.least(rates)) / self.seconds


def markdown(where: Machine, date: str, rates: Rates, stages: list[Stage]) -> str:
    """The table for the page."""
    lines = [
        f"{where['cpu']}, {where['cores']} cores, {date}: {rates.product / 1e9:.0f} GFLOP/s in a matrix "
        f"product, {rates.convolution / 1e9:.0f} GFLOP/s in a 3x3 convolution, "
        f"{rates.copy / 1e9:.0f} GB/s in a copy.",
        "",
        "| stage | GFLOP | GB | operations allow | bytes allow | measured | share of the limit |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for stage in stages:
        by_operations, by_bytes = (f"{1e3 * seconds:.1f} ms" for seconds in stage.least(rates))
        lines.append(
            f"| {stage.name} | {stage.operations / 1e9:.3g} | {stage.bytes / 1e9:.3g} | {by_operations} | "
            f"{by_bytes} | {1e3 * stage.seconds:.1f} ms | {stage.share(rates):.0%} |"
        )
    return "\n".join(lines)


def rendered(kept: Path) -> str:
    """The table of what was measured before."""
    return _rendered(page.measured(kept))


def _rendered(content: dict[str, Any]) -> str:
    stages = [Stage(**stage) for stage in content["stages"]]
    return markdown(content["machine"], content["date"], Rates(**content["rates"]), stages)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, to try the measurement itself")
    parser.add_argument("--out", type=Path, help=f"the results' file, usually {KEPT.name} beside this one")
    options = parser.parse_args()
    out = options.out or (None if options.quick else KEPT)
    keep_pages()
    from bench import stages  # only now: JAX is to allocate with this setting

    content = {
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "rates": asdict(stages.measure_rates(256 if options.quick else 2048)),
        "stages": [
            asdict(stage) for stage in stages.measure_stages(SIZES["quick" if options.quick else "full"])
        ],
    }
    print(_rendered(content))
    if out is not None:
        write_text(out, json.dumps(content, indent=1) + "\n", overwrite=True)
    if out == KEPT:
        page.write("limits", rendered(KEPT))


if __name__ == "__main__":
    main()
