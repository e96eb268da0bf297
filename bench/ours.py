"""Our side: the public functions of psft_jax, timed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import jax
from flax.traverse_util import unflatten_dict
from jax import numpy as jnp

from bench.material import Leaves, Material, make_scan
from bench.sizes import CHANNELS, CLASS_WEIGHTS, LEARNING_RATE, ROTATION_DEG, SEED, Size
from psft_jax.inference.volume import predict
from psft_jax.model.dropout import Masks
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig
from psft_jax.sampling.selection import SliceSelection
from psft_jax.sampling.slices import lesion_slices, slices_of
from psft_jax.training.base import train_base
from psft_jax.training.base_config import TrainConfig
from psft_jax.training.checkpoints import TrainingCheckpoints
from psft_jax.training.finetune import Subject, finetune_all
from psft_jax.training.material import Annotated, BaseResult
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.weighting import Weighting

_COMPILATION = {
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
}
FIRST_STEPS = 2
"""Steps of base training that are not timed: the first is compiled, the second waits for what it left."""


class Ours:
    """Each method does its work, waits for the result and returns the seconds that it took.

    Args:
        size: of the work.
        material: scan and weights.
    """

    def __init__(self, size: Size, material: Material) -> None:
        self.size = size
        self.material = material
        self.network = Network(size.model, CHANNELS)
        self.variables = variables_of(material.leaves)
        self._baselines: dict[int, Annotated] = {}
        self._compiling = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._count)

    def _count(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event in _COMPILATION:
            self._compiling += duration_secs

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on compiling so far."""
        return self._compiling

    def finetune(
        self,
        *,
        iterations: list[int],
        weighted: list[int] | None = None,
        slices: int | None = None,
        angle_bank: int = 0,
        patients: int = 1,
        one_call: bool = False,
    ) -> float:
        """Fine-tune to one patient or several.

        Args:
            iterations: of each variant.
            weighted: iterations of further variants, weighted by the base CNN's result.
            slices: how many slices; all with lesions without a number.
            angle_bank: number of fixed angles; 0 for continuous ones.
            patients: so many; those after the first are other phantoms.
            one_call: all patients at once instead of one after the other.
        """
        patches = PatchConfig(self.size.patch, self.size.batch, ROTATION_DEG, angle_bank)
        common = FinetuneConfig(
            learning_rate=LEARNING_RATE,
            class_weights=CLASS_WEIGHTS,
            patches=patches,
            slices=SliceSelection(count=slices),
        )
        schemes = {Weighting.NONE: iterations, Weighting.SEGMENTATION: weighted or []}
        variants = [
            replace(common, iterations=count, weighting=scheme)
            for scheme, counts in schemes.items()
            for count in counts
        ]
        subjects = [Subject(f"patient {number}", [self._baseline(number)]) for number in range(patients)]
        calls = [subjects] if one_call else [[subject] for subject in subjects]
        begin = time.perf_counter()
        for together in calls:
            tuned = finetune_all(self.network, self.variables, together, variants, seed=SEED)
            jax.block_until_ready([one.variables for patient in tuned for one in patient])
        return time.perf_counter() - begin

    def _baseline(self, patient: int) -> Annotated:
        """A patient's scan with what a base CNN might have made of it."""
        if patient not in self._baselines:
            of = Material(make_scan(self.size, patient), {}) if patient else self.material
            self._baselines[patient] = Annotated(of.scan, BaseResult(of.probability, of.found))
        return self._baselines[patient]

    def predict(self, *, slices: int, samples: int = 0, masks: str = "elementwise") -> float:
        """Predict a scan of so many slices with one network."""
        scan = self.material.some_slices(slices)
        begin = time.perf_counter()
        predict(self.network, [self.variables], scan, samples=samples, seed=SEED, masks=Masks(masks))
        return time.perf_counter() - begin

    def train_base(self, *, steps: int) -> float:
        """Train a base CNN from its initialisation; the median seconds of a step."""
        scan = self.material.scan
        slices = slices_of(scan, lesion_slices(scan))
        total = steps + FIRST_STEPS
        config = TrainConfig(
            iterations=total,
            learning_rate=LEARNING_RATE,
            class_weights=CLASS_WEIGHTS,
            validate_every=total,
            validation_patches=1,
            patches=PatchConfig(self.size.patch, self.size.batch, ROTATION_DEG),
        )
        ends: list[float] = []

        def log(_: int, measured: dict[str, float]) -> None:
            if "loss" in measured:
                ends.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            train_base(self.network, slices, config, TrainingCheckpoints(Path(folder)), seed=SEED, log=log)
        timed = ends[FIRST_STEPS - 1 :]
        return median(after - before for before, after in pairwise(timed))


def variables_of(leaves: Leaves) -> Variables:
    """The network's variables as JAX arrays."""
    tree = unflatten_dict({path: jnp.asarray(leaf) for path, leaf in leaves.items()}, sep="/")
    return Variables(tree["params"], tree["batch_stats"])
