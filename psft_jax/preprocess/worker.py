"""What a process does that was started for one task; ``psft_jax.preprocess.parallel`` starts it.

python -m psft_jax.preprocess.worker DESCRIPTOR

The task comes by the standard input, which stays open for as long as the process is wanted; what it returns
goes to the descriptor.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import sys
import threading
import traceback
from multiprocessing.connection import Connection

from psft_jax.errors import InputError
from psft_jax.preprocess.processes import Share


def main() -> None:
    """Run the task, and send what it returned or why it did not."""
    sender: Connection = Connection(int(sys.argv[1]), readable=False)
    sys.path[:] = pickle.load(sys.stdin.buffer)
    name, task, share = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_when_unwanted, daemon=True).start()
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    share.limit_memory()
    try:
        outcome = task()
    except Exception as error:
        traceback.print_exc()
        outcome = error if isinstance(error, InputError) else _sentence(error, name, share)
    sender.send(outcome)


def _end_when_unwanted() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the process at the other end is gone
    os._exit(1)


def _sentence(error: Exception, name: str, share: Share) -> InputError:
    # ITK and the standard library of C++ speak of "allocate" and "bad_alloc".
    if isinstance(error, MemoryError) or "alloc" in str(error):
        return InputError(
            name,
            found=f"a need for more memory than memory_gb={share.memory_gb:g} ({error})",
            expected="enough for one subject",
            remedy="Raise memory_gb; fewer subjects are then prepared at once.",
        )
    return InputError(
        name,
        found=f"{type(error).__name__}: {error}",
        expected="no error",
        remedy=f"The file {name}.log in the folder of logs tells where it happened.",
    )


if __name__ == "__main__":
    main()
