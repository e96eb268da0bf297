"""The machine's rates, and the time of each stage, measured with psft_jax' public functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter
from typing import Any

import jax
import numpy as np
import optax
from jax import numpy as jnp

from bench import operations
from bench.limits import Rates, Stage
from bench.machine import cores
from bench.material import Material, make_leaves, make_scan
from bench.ours import Ours
from bench.sizes import CHANNELS, CLASS_WEIGHTS, LEARNING_RATE, SEED, Size
from psft_jax import rng
from psft_jax.training.losses import weighted_cross_entropy

REPEATS = 7
COPIED_BYTES = 2**28
"""Many times what a cache holds."""


def seconds_of(work: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    """Seconds of each repeat, after one that is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        begin = perf_counter()
        work()
        taken.append(perf_counter() - begin)
    return taken


def measure_rates(size: int) -> Rates:
    """The fastest of several repeats of each.

    Args:
        size: rows of the square matrices; 2048 is large enough.
    """
    square = jnp.ones((size, size))
    image, kernel = jnp.ones((4, 128, 128, 64)), jnp.ones((3, 3, 64, 64))

    @jax.jit
    def convolve(x: Any, k: Any) -> Any:
        return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    product = jax.jit(jnp.matmul)
    of_product = min(seconds_of(lambda: product(square, square).block_until_ready()))
    of_convolution = min(seconds_of(lambda: convolve(image, kernel).block_until_ready()))

    # NumPy copies with one thread and without the lock of the interpreter: one part for each core.
    source = [np.ones(COPIED_BYTES // cores(), np.uint8) for _ in range(cores())]
    target = [np.ones_like(part) for part in source]
    with ThreadPoolExecutor(cores()) as pool:
        of_copy = min(seconds_of(lambda: list(pool.map(np.copyto, target, source))))
    moved = 2 * sum(part.nbytes for part in source)
    return Rates(
        2 * size**3 / of_product, 2 * image.size * kernel[..., 0].size / of_convolution, moved / of_copy
    )


def measure_stages(size: Size) -> list[Stage]:
    """Each stage, in the order of the work."""
    ours = Ours(size, Material(make_scan(size), make_leaves(size)))
    return [*_network_stages(ours), *_sampling_stages(ours), _base_stage(ours)]


def _network_stages(ours: Ours) -> list[Stage]:
    """The trunk alone, and a head's step on features that are there or have to be looked up."""
    size, network = ours.size, ours.network
    pixels, patches = size.batch * size.patch**2, f"{size.batch} patches"
    folded = jax.jit(network.fold)(ours.variables)
    images = tuple(jnp.ones((size.batch, size.patch, size.patch, channels)) for channels in CHANNELS)
    trunk = jax.jit(network.folded_trunk)
    of_trunk = median(seconds_of(lambda: trunk(folded, images).block_until_ready()))
    of_head = median(seconds_of(_head_step(ours, trunk(folded, images))))

    # Both runs begin with the trunk on every patch, which cancels.
    few, many = 10, 50
    bank: dict[str, Any] = {"slices": 1, "angle_bank": 2}
    of_steps = _difference(ours.finetune, {"iterations": [many], **bank}, {"iterations": [few], **bank})

    step = operations.head_step(size.model, pixels)
    return [
        Stage(f"trunk, {patches}", *operations.trunk(size.model, CHANNELS, pixels), of_trunk),
        Stage(f"fine-tuning step of a head, {patches}", *step, of_head),
        Stage("the same with looked-up features", *step, of_steps / (many - few)),
    ]


def _sampling_stages(ours: Ours) -> list[Stage]:
    """Monte Carlo dropout on the organ's voxels: what a volume with samples takes beyond one without."""
    slices, samples = 2, 25
    voxels = int(ours.material.some_slices(slices).organ.sum())
    need = operations.head(ours.size.model, voxels, samples)
    stages = []
    for masks in ("elementwise", "channel"):
        sampled: dict[str, Any] = {"slices": slices, "samples": samples, "masks": masks}
        seconds = _difference(ours.predict, sampled, {"slices": slices})
        stages.append(Stage(f"{samples} {masks} samples, {slices} slices", *need, seconds))
    return stages


def _base_stage(ours: Ours) -> Stage:
    size = ours.size
    need = operations.base_step(size.model, CHANNELS, size.batch * size.patch**2)
    return Stage(f"base-training step, {size.batch} patches", *need, ours.train_base(steps=3))


def _difference(work: Callable[..., float], more: dict[str, Any], less: dict[str, Any]) -> float:
    """What the larger work takes beyond the smaller; both are compiled beforehand."""
    for arguments in (more, less):
        work(**arguments)
    return median(work(**more) - work(**less) for _ in range(3))


def _head_step(ours: Ours, features: jax.Array) -> Callable[[], Any]:
    """A step of Adam on the head's parameters, with dropout, on features that are there."""
    adam = optax.adam(LEARNING_RATE)
    lesion = jnp.zeros(features.shape[:-1])

    @jax.jit
    def step(params: Any, optimiser: Any, features: Any, key: Any) -> Any:
        def objective(params: Any) -> Any:
            variables = ours.variables._replace(params={"head": params})
            logits, _ = ours.network.head(variables, features, dropout_key=key)
            return weighted_cross_entropy(logits, lesion, CLASS_WEIGHTS)

        updates, optimiser = adam.update(jax.grad(objective)(params), optimiser)
        return optax.apply_updates(params, updates), optimiser

    params = ours.variables.params["head"]
    state, key = adam.init(params), rng.key(SEED, "bench")
    return lambda: jax.block_until_ready(step(params, state, features, key))
