"""The machine that was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

Machine = dict[str, str | int]
CPU_INFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> Machine:
    """Processor, cores, and the versions of what is compared."""
    versions = {name: _version(name) for name in ("jax", "torch")}
    return {"cpu": _cpu(), "cores": cores(), "python": platform.python_version(), **versions}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _cpu() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
