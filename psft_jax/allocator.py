"""Memory that is freed stays with the process, so that large arrays do not fault in their pages anew.

XLA frees its buffers after every call. glibc gives those of more than 32 MiB back to the kernel at once, and
the next call then pays for every page again: on a CPU an elementwise operation on 170 MB took six times as
long as the copy itself.
"""

from __future__ import annotations

import ctypes
import logging
import sys

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Numbers of ``mallopt`` parameters in glibc's ``malloc.h``."""
NEVER = -1


def keep_pages() -> bool:
    """Tell glibc's ``malloc`` to keep freed memory: of the whole process, from now on.

    The resident size then stays at its highest value. Call it before JAX allocates.

    Returns:
        Whether it was done: there is no such setting outside glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    # One heap, because only the main one can grow without mmap.
    settings = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER))
    done = all(mallopt(parameter, value) == 1 for parameter, value in settings)
    logger.debug("malloc keeps freed pages: %s", done)
    return done
