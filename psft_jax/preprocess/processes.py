"""What one process may take of the machine, and what it took."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

GB = 10**9
_THREADS = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_STATUS = Path("/proc/self/status")  # of Linux


@dataclass(frozen=True)
class Share:
    """What one task may take of the machine.

    Args:
        memory_gb: in GB (10^9 bytes), beyond what the interpreter takes. On Linux a task that asks for more
            fails.
        threads: of ITK and OpenMP. With another number, sums run in another order.
    """

    memory_gb: float
    threads: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """What the libraries read, when they are loaded, of how many threads to start."""
        return dict.fromkeys(_THREADS, str(self.threads))

    def limit_memory(self) -> None:
        """Have what this process asks for beyond it refused: as a MemoryError, or as a library puts it."""
        if _STATUS.exists():
            limit = _of_status("VmData") + int(self.memory_gb * GB)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def peak_memory() -> int:
    """The most memory, in bytes, that this process has held at any time."""
    if _STATUS.exists():
        # On Linux ru_maxrss begins at what the process held that started this one.
        return _of_status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


def _of_status(field: str) -> int:
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return 1024 * next(int(words[1]) for words in lines if words[0] == f"{field}:")
