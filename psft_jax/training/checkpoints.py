"""Checkpoints with Orbax: of base training (the latest and the best), and of a finished network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax import numpy as jnp
from orbax.checkpoint import checkpoint_managers as policies

from psft_jax.errors import InputError
from psft_jax.files import refused_by_disk
from psft_jax.model.network import Tree

PyTree = TypeVar("PyTree")
VALIDATION_LOSS = "validation_loss"


class TrainingCheckpoints:
    """The latest state of a training run, to resume from, and the one of lowest validation loss, to keep.

    Args:
        folder: made where it is missing.

    Raises:
        InputError: a state cannot be written (full disk), and the states written before it stay; or it
            cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                best_fn=_validation_loss,
                best_mode="min",
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(1), policies.BestN(get_metric_fn=_validation_loss, reverse=True, n=1)]
                ),
                enable_async_checkpointing=False,
            ),
        )

    def save(self, step: int, state: Any, validation_loss: float) -> None:
        """Write a state; afterwards only the latest and the best are on the disk."""
        with refused_by_disk(self.folder):
            self._manager.save(
                step, args=ocp.args.StandardSave(state), metrics={VALIDATION_LOSS: validation_loss}
            )

    def latest_step(self) -> int | None:
        """The step to resume after, or None where nothing was saved yet."""
        step = self._manager.latest_step()
        return None if step is None else int(step)

    def best_step(self) -> int:
        """The step of lowest validation loss."""
        step = self._manager.best_step()
        assert step is not None, "best_step is asked for after a save"
        return int(step)

    def restore(self, step: int, like: PyTree) -> PyTree:
        """A saved state, with the structure, shapes and types of ``like``."""
        with _unreadable(
            self.folder / str(step),
            expected="an intact state of the same network",
            remedy="Resume with the model= and dataset= that the run began with, or remove the folder.",
        ):
            restored: PyTree = self._manager.restore(step, args=ocp.args.StandardRestore(_abstract(like)))
            return restored


def save_tree(folder: Path, tree: Tree) -> None:
    """Write a tree of arrays to a folder; it appears whole or not at all.

    What stands there is replaced: an interrupted run that goes on writes its network again.

    Raises:
        InputError: the disk refuses it (it is full).
    """
    with refused_by_disk(folder), ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve(), tree, force=True)


def restore_tree(folder: Path, like: PyTree, *, what: str) -> PyTree:
    """Read a tree of arrays.

    Args:
        folder: written by ``save_tree``.
        like: the structure, shapes and types to expect (arrays or ``jax.ShapeDtypeStruct``).
        what: the network that is expected, for the message.

    Raises:
        InputError: there is no checkpoint, it cannot be read, or it is of another network.
    """
    if not folder.is_dir():
        raise InputError(
            folder,
            found="no checkpoint",
            expected="the folder of a trained network",
            remedy="Finish the base training first: python -m experiments.train_base",
        )
    with (
        _unreadable(
            folder,
            expected=f"an intact checkpoint of {what}",
            remedy="Restore it from a copy, or train again.",
        ),
        ocp.StandardCheckpointer() as checkpointer,
    ):
        metadata = checkpointer.metadata(folder.resolve()).item_metadata
        if metadata is None:
            raise OSError("its metadata is missing or damaged")
        expected, found = _shapes(_abstract(like)), _shapes(metadata.tree)
        if expected == found:
            restored: PyTree = checkpointer.restore(folder.resolve(), _abstract(like))
            # Not bound to a device any more: else a step would be compiled for these arrays, and again for
            # the fresh ones that it gives.
            return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), restored)
    different = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
    first = different[0]
    raise InputError(
        folder,
        found=f"a checkpoint of another network: {len(different)} of its arrays differ, first {first}: "
        f"{found.get(first, 'missing')}",
        expected=f"{what} with {first}: {expected.get(first, 'missing')}",
        remedy="Name the run that trained this network, or set model= and dataset= as that run had them.",
    )


def _validation_loss(metrics: Any) -> float:
    return float(metrics[VALIDATION_LOSS])


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p, simple=True, separator="/"): tuple(leaf.shape) for p, leaf in leaves}


@contextmanager
def _unreadable(folder: Path, *, expected: str, remedy: str) -> Iterator[None]:
    """Turn whatever Orbax raises for a damaged checkpoint, even a bare ``Exception``, into one sentence."""
    try:
        yield
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(
            folder,
            found=f"a checkpoint that cannot be read ({type(error).__name__}: {told})",
            expected=expected,
            remedy=remedy,
        ) from error
