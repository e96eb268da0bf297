"""Runs in a process of its own, which has eight CPU devices, for ``test_sharding``: trains on one and on
eight of them, and writes what came out.

python tests/training/eight_devices.py FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import numpy as np
from jax.sharding import Mesh

from psft_jax import rng
from psft_jax.devices import data_mesh, device_count, split, whole
from psft_jax.model.config import PNetConfig
from psft_jax.model.leaves import Scope
from psft_jax.model.network import Network
from psft_jax.sampling.patches import PatchConfig, gather, make_pool
from psft_jax.sampling.positions import grid_centres
from psft_jax.sampling.slices import Slices, slices_of
from psft_jax.sampling.stored import StoredSlices, gathered, store
from psft_jax.scan import Scan, Visit
from psft_jax.training import finetune
from psft_jax.training.base import train_base
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.base_feed import PatchPlaces
from psft_jax.training.base_steps import TrainState, adam, draws_of, minibatch
from psft_jax.training.checkpoints import TrainingCheckpoints
from psft_jax.training.drawing import cut_all
from psft_jax.training.finetune import Execution, Subject, finetune_all
from psft_jax.training.material import Annotated
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.steps import take_steps

NETWORK = Network(PNetConfig(dilations=((1,), (2,)), width=4, head_width=8), (1, 2))
CONFIG = TrainConfig(
    iterations=12,
    learning_rate=0.002,
    validate_every=4,
    validation_patches=8,
    patches=PatchConfig(size=9, batch=8),
)


class PowerCutError(Exception):
    """The plug was pulled."""


def a_scan() -> Scan:
    """Noise with a bright lesion."""
    noise, shape = np.random.default_rng(0), (7, 24, 20)
    organ, lesion = np.zeros(shape, bool), np.zeros(shape, bool)
    organ[:, 3:17, 5:18] = True
    lesion[:, 8:12, 7:11] = True
    first, second = (noise.standard_normal((*shape, c), "f4") + 2 * lesion[..., None] for c in (1, 2))
    sequences = (first.astype(np.float32), second.astype(np.float32))
    return Scan("P1", "T1", sequences, organ, lesion, (3.0, 1.0, 1.0), np.eye(4))


def train(slices: Slices | StoredSlices, mesh: Mesh, folder: Path, stop_at: int | None = None) -> Any:
    """Losses of the steps, and the state after the last."""
    told = {}

    def log(step: int, values: dict[str, float]) -> None:
        if step == stop_at:
            raise PowerCutError
        told.update({f"{name} {step}": value for name, value in values.items()})

    checkpoints = TrainingCheckpoints(folder)
    train_base(NETWORK, slices, CONFIG, checkpoints, seed=0, log=log, mesh=mesh)
    variables = NETWORK.init(rng.key(0))
    after = checkpoints.restore(12, TrainState(variables, adam(CONFIG).init(variables.params)))
    leaves = jax.tree_util.tree_leaves_with_path(after.variables)
    return told | {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def pieces(array: jax.Array) -> list[list[int]]:
    """Shape of each device's piece."""
    return [list(shard.data.shape) for shard in array.addressable_shards]


def placed(slices: Slices, mesh: Mesh) -> dict[str, Any]:
    """How a minibatch lies on the devices, from memory and as it comes from the disk."""
    places = PatchPlaces.of(slices, partial(grid_centres, patch=9))
    draws = jax.device_get(draws_of(rng.key(0), np.arange(2), np.asarray(len(places)), CONFIG))
    sent = places.read(draws.patch, draws.angle, split(mesh, axis=1))

    pool = jax.device_put(make_pool(slices, partial(grid_centres, patch=9)), whole(mesh))
    variables = jax.device_put(NETWORK.init(rng.key(0)), whole(mesh))

    @jax.jit
    def forward(pool: Any, draw: Any, variables: Any) -> Any:
        batch = minibatch(gather(pool, draw), CONFIG, mesh)
        return batch, NETWORK.apply(variables, batch.images)[0]

    kernel = variables.params["head"]["conv1"]["kernel"]
    batch, logits = forward(pool, jax.tree.map(lambda leaf: leaf[0], draws), variables)
    return {
        "sent": pieces(sent.images[1]),
        "images": pieces(batch.images[1]),
        "lesion": pieces(batch.lesion),
        "logits": pieces(logits),
        "kernel": pieces(kernel),
    }


def tuned() -> dict[str, Any]:
    """Eight patients tuned on one device and on eight: a head with kept features, and a whole network."""
    scans = [replace(a_scan(), subject=f"P{n}") for n in range(8)]
    subjects = [Subject(scan.subject, [Annotated(scan)]) for scan in scans]
    banked = PatchConfig(size=9, batch=2, angle_bank=1)
    head = FinetuneConfig(iterations=12, learning_rate=0.01, patches=banked)
    variants = [head, replace(head, scope=Scope.ALL, patches=PatchConfig(size=9, batch=2))]
    base = NETWORK.init(rng.key(0))
    found, shared, kept = {}, {}, {}
    for count in (1, 8):
        execution = Execution(devices=count)
        with (
            patch.object(finetune, "cut_all", wraps=cut_all) as cuts,
            patch.object(finetune, "take_steps", wraps=take_steps) as calls,
        ):
            all_tuned = finetune_all(NETWORK, base, subjects, variants, seed=0, execution=execution)
        found[str(count)] = [[one.losses.tolist() for one in of_patient] for of_patient in all_tuned]
        # The slices; the base CNN, its trunk, and the kept features where there are any.
        given = [
            jax.tree.leaves((cut.args[0], *call.args[2:4], call.args[6]))
            for cut, call in zip(cuts.call_args_list, calls.call_args_list, strict=True)
        ]
        kept[str(count)] = [
            call.args[6].shape[0] for call in calls.call_args_list if call.args[6] is not None
        ]
        shared[str(count)] = sorted({tuple({len(leaf.devices()) for leaf in leaves}) for leaves in given})
    meshes = [Execution(devices=None).mesh(patients).size for patients in (1, 8, 12)]
    return {"losses": found, "shared": shared, "kept": kept, "meshes": meshes}


def main(out: Path) -> None:
    """Everything that the test looks at."""
    one, eight = data_mesh(1), data_mesh(8)
    scan = a_scan()
    slices = slices_of(scan, np.arange(7))
    on_disk = gathered([store(Visit("P1", "T1", lambda: scan), slices, out / "slices")])
    np.savez(out / "one.npz", **train(slices, one, out / "one"))
    np.savez(out / "eight.npz", **train(slices, eight, out / "eight"))
    np.savez(out / "disk.npz", **train(on_disk, eight, out / "disk"))
    try:
        train(slices, eight, out / "moved", stop_at=9)
    except PowerCutError:
        np.savez(out / "moved.npz", **train(slices, one, out / "moved"))
    counts = {str(items): device_count(None, items, what="patches") for items in (1, 4, 8, 12, 20)}
    (out / "tuned.json").write_text(json.dumps(tuned()))
    (out / "placed.json").write_text(json.dumps({**placed(slices, eight), "counts": counts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
