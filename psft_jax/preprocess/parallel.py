"""Tasks in processes of their own: one that fails, takes too much memory or dies takes no other with it.

A pool (concurrent.futures, joblib) breaks as a whole when one of its processes dies, so each task has a
process to itself: it gives back all of its memory, and its peak of memory is the task's. It is started anew
and not forked, since the threads of JAX and ITK do not survive a fork. ``multiprocessing`` would have it
import the command first, with JAX and 0.3 GB; ``subprocess`` does not.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import IO, Any, TypeVar

import joblib
import psutil

from psft_jax.errors import InputError
from psft_jax.preprocess.processes import GB, Share

WORKER = "psft_jax.preprocess.worker"
T = TypeVar("T")


def workers_for(tasks: int, share: Share) -> int:
    """How many tasks can run at once: as many as there are, and as processor cores and free memory allow.

    Cores are those that this process may use (affinity, a container's quota); memory is what the system calls
    available. At least 1.
    """
    by_memory = psutil.virtual_memory().available / (share.memory_gb * GB)
    return max(1, int(min(tasks, joblib.cpu_count() / share.threads, by_memory)))


def run_all(
    tasks: Mapping[str, Callable[[], T]], *, workers: int, share: Share, logs: Path
) -> Generator[tuple[str, T | InputError]]:
    """Run every task in a process of its own.

    The processes do not hear Ctrl-C: whoever iterates does, and must close the iterator then
    (``contextlib.closing``), which ends them. They end by themselves where this process dies.

    Args:
        tasks: by name; a task and what it returns can be pickled, and are defined in no script.
        workers: how many run at once.
        share: what each may take.
        logs: folder for what a task prints, in a file of its name; a task that ends well and prints nothing
            leaves none.

    Yields:
        As each ends, a task's name and what it returned, or the error that ended it.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting = deque(tasks)
    running: dict[Connection, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name = waiting.popleft()
                receiver, started = _start(name, tasks[name], share, logs / f"{name}.log")
                running[receiver] = started
            for ended in wait(list(running)):
                assert isinstance(ended, Connection)
                process = running.pop(ended)
                yield process.name, process.outcome(ended)
    finally:
        for receiver, process in running.items():
            process.end(receiver)


@dataclass(frozen=True)
class _Running:
    """A process at work on a task."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def outcome(self, receiver: Connection) -> Any:
        """What the process has sent, or what can be said of one that died."""
        try:
            outcome = receiver.recv()
        except EOFError:
            outcome = self._died()
        self._close(receiver)
        return outcome

    def end(self, receiver: Connection) -> None:
        """End the process wherever it is."""
        self.process.kill()
        self._close(receiver)

    def _close(self, receiver: Connection) -> None:
        self.process.wait()
        _standard_input(self.process).close()
        receiver.close()
        if not self.log.stat().st_size:
            self.log.unlink()

    def _died(self) -> InputError:
        code = self.process.wait()
        why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        killed = " The system sends it where memory runs out: use fewer workers."
        return InputError(
            self.name,
            found=f"a process that died ({why})",
            expected="one that says how it went",
            remedy=(
                f"{self.log} holds what it printed." if self.log.stat().st_size else "It printed nothing."
            )
            + (killed if code == -signal.SIGKILL else ""),
        )


def _start(name: str, task: Callable[[], object], share: Share, log: Path) -> tuple[Connection, _Running]:
    receiver, sender = Pipe(duplex=False)
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", WORKER, str(sender.fileno())],
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=printed,
            pass_fds=[sender.fileno()],
            env={**os.environ, **share.environment},
            start_new_session=True,  # away from the terminal's Ctrl-C
        )
    sender.close()  # so that the end of the process is the end of the pipe
    given = _standard_input(process)
    with suppress(BrokenPipeError):  # a process that is dead already is told of in its turn
        for part in (sys.path, (name, task, share)):
            pickle.dump(part, given)
        given.flush()
    return receiver, _Running(name, process, log)


def _standard_input(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin
