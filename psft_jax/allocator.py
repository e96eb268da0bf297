"""Memory that is freed stays with the process, so that large arrays do not fault in their pages anew.

XLA frees its buffers after every call. glibc gives those of more than 32 MiB back to the kernel at once, and
the next call then pays for every page again: on a CPU an elementwise operation on 170 MB took six times as
long as the copy itself.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from typing import Any

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Numbers of ``mallopt`` parameters in glibc's ``malloc.h``."""
NEVER = -1


def keep_pages() -> bool:
    """Tell glibc's ``malloc`` to keep freed memory: of the whole process, from now on.

    The resident size then stays at its highest value until ``give_back``. Call it before JAX allocates.

    Returns:
        Whether it was done: there is no such setting outside glibc.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    # One heap, because only the main one can grow without mmap.
    settings = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER))
    done = all(mallopt(parameter, value) == 1 for parameter, value in settings)
    logger.debug("malloc keeps freed pages: %s", done)
    return done


def give_back() -> None:
    """Give all freed memory back to the kernel after all, where ``malloc`` is glibc's.

    For the end of work that held far more than what follows: what is freed among smaller things may not be
    found again for an array of the same size, and the process would grow by it.
    """
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function that is glibc's own; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)  # musl has none of them
