"""The dual-pathway P-Net against the paper's numbers and against a NumPy build of the same formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import ndimage

from psft_jax import rng
from psft_jax.model.config import PNetConfig, Taps
from psft_jax.model.network import Network, Variables

Scramble = Callable[[Network, int], Variables]
RF123 = ((1, 1), (4, 4), (4, 4, 4), (5, 5, 5), (8, 8, 8))


def images_for(network: Network, shape: tuple[int, int, int] = (2, 13, 11)) -> tuple[Any, Any]:
    noise = np.random.default_rng(7)
    first, second = (jnp.asarray(noise.standard_normal((*shape, c), "f4")) for c in network.channels)
    return first, second


def fresh(network: Network, kernel: Callable[[tuple[int, ...]], np.ndarray]) -> Variables:
    """Identity normalisation, zero biases, and kernels of our choice."""

    def fill(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = path[-1].key
        values = (
            kernel(leaf.shape) if name == "kernel" else np.full(leaf.shape, float(name in ("scale", "var")))
        )
        return jnp.asarray(values, jnp.float32)

    return Variables(*jax.tree_util.tree_map_with_path(fill, tuple(network.shapes)))


class Reference:
    """The network of section 2.2 in float64 NumPy; ``stats`` are the running averages after the pass."""

    def __init__(self, network: Network, variables: Variables, *, train: bool) -> None:
        self.config, self.train = network.config, train
        self.params, old = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tuple(variables))
        self.stats = old

    def norm(self, x: np.ndarray, params: Any, stats: Any) -> np.ndarray:
        mean, var = stats["mean"], stats["var"]
        if self.train:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            stats["mean"] = 0.99 * stats["mean"] + 0.01 * mean
            stats["var"] = 0.99 * stats["var"] + 0.01 * var
        return (x - mean) / np.sqrt(var + 1e-3) * params["scale"] + params["bias"]

    @staticmethod
    def conv(x: np.ndarray, params: Any, dilation: int) -> np.ndarray:
        kernel = params["kernel"]
        spread = np.zeros((2 * dilation + 1, 2 * dilation + 1, *kernel.shape[2:]))
        spread[::dilation, ::dilation] = kernel
        out = np.zeros((*x.shape[:3], kernel.shape[3])) + params["bias"]
        for b, i, o in np.ndindex(x.shape[0], *kernel.shape[2:]):
            out[b, ..., o] += ndimage.correlate(x[b, ..., i], spread[..., i, o], mode="constant", cval=0.0)
        return out

    def pathway(self, x: np.ndarray, name: str) -> list[np.ndarray]:
        taps = []
        for b, block in enumerate(self.config.dilations):
            for c, dilation in enumerate(block):
                layer = f"block{b + 1}_conv{c + 1}"
                if layer not in self.params["trunk"][name]:
                    continue  # behind the last tap
                params, stats = self.params["trunk"][name][layer], self.stats["trunk"][name][layer]
                x = np.maximum(
                    self.norm(self.conv(x, params["conv"], dilation), params["norm"], stats["norm"]), 0
                )
                if c == (1 if self.config.taps is Taps.SECOND_CONV else len(block) - 1):
                    taps.append(x)
        return taps

    def __call__(self, images: tuple[Any, Any]) -> np.ndarray:
        first, second = (np.asarray(image, np.float64) for image in images)
        x = np.concatenate([*self.pathway(first, "pathway1"), *self.pathway(second, "pathway2")], axis=-1)
        head, stats = self.params["head"], self.stats["head"]
        x = x @ head["conv1"]["kernel"][0, 0] + head["conv1"]["bias"]
        x = np.maximum(self.norm(x, head["norm"], stats["norm"]), 0)
        return x @ head["conv2"]["kernel"][0, 0] + head["conv2"]["bias"]


@pytest.mark.parametrize("taps", list(Taps))
@pytest.mark.parametrize("train", [False, True])
def test_the_formulas_of_the_paper(scrambled: Scramble, taps: Taps, train: bool) -> None:
    config = PNetConfig(dilations=((1, 2), (3, 1, 2)), width=3, head_width=5, taps=taps)
    network = Network(config, (1, 2))
    variables, images = scrambled(network, 3), images_for(network)
    logits, stats = jax.jit(network.apply, static_argnames="train")(variables, images, train=train)
    reference = Reference(network, variables, train=train)
    np.testing.assert_allclose(logits, reference(images), rtol=1e-4, atol=1e-4)
    if train:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), stats, reference.stats
        )
    else:
        jax.tree.map(np.testing.assert_array_equal, stats, variables.batch_stats)


def test_running_averages_move_by_the_momentum(tiny: Network) -> None:
    """A feature map that is constant over the batch: mean 5, variance 0, from running averages 0 and 1."""
    variables = fresh(tiny, np.zeros)
    variables.params["head"]["conv1"]["bias"] += 5.0
    head = jax.jit(partial(tiny.head, train_norm=True))
    _, after = head(variables, jnp.ones((2, 3, 3, 16)))
    np.testing.assert_allclose(after["norm"]["mean"], np.full(8, 0.05), rtol=1e-5)
    np.testing.assert_allclose(after["norm"]["var"], np.full(8, 0.99), rtol=1e-5)


def test_parameters_are_as_many_as_the_papers() -> None:
    network = Network(PNetConfig(), (1, 1))
    head = network.shapes.params["head"]
    assert network.parameter_count == 973_442
    convolutions = jax.tree.leaves((head["conv1"], head["conv2"]))
    assert sum(leaf.size for leaf in convolutions) == 82_306
    assert head["conv1"]["kernel"].shape == (1, 1, 640, 128)
    assert Network(PNetConfig(), (6, 3)).parameter_count == 973_442 + 9 * 64 * (5 + 2)


@pytest.mark.parametrize(
    ("config", "reach"),
    [
        (PNetConfig(width=2, head_width=4), 60),
        (PNetConfig(width=2, head_width=4, dilations=RF123), 61),
        (PNetConfig(width=2, head_width=4, taps=Taps.SECOND_CONV), 52),
    ],
)
def test_one_pixel_reaches_exactly_the_receptive_field(config: PNetConfig, reach: int) -> None:
    """With positive kernels nothing cancels, so the impulse's whole support shows; each pathway by itself."""
    network = Network(config, (1, 1))
    noise = np.random.default_rng(0)
    variables = fresh(network, lambda shape: noise.uniform(0.05, 0.5, shape))
    side = 2 * reach + 9
    impulse = jnp.zeros((2, side, side, 2)).at[(0, 1), side // 2, side // 2, (0, 1)].set(1.0)
    logits, _ = jax.jit(network.apply)(variables, (impulse[..., :1], impulse[..., 1:]))
    expected = np.zeros((side, side), bool)
    expected[4:-4, 4:-4] = True
    for pathway in range(2):
        np.testing.assert_array_equal(np.asarray(logits[pathway, ..., 1]) != 0, expected)
    assert network.config.receptive_field == 2 * reach + 1


def test_fresh_kernels_are_he_uniform_and_biases_zero() -> None:
    network = Network(PNetConfig(dilations=((1,), (2,)), width=32, head_width=64), (3, 3))
    init = jax.jit(network.init)
    variables, other = init(rng.key(0)), init(rng.key(1))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, network.shapes)
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables.params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("kernel"):
            limit = np.sqrt(6 / np.prod(leaf.shape[:-1]))
            assert 0.95 * limit < np.abs(leaf).max() <= limit * (1 + 1e-6), name
            assert abs(np.asarray(leaf).std() * np.sqrt(3) / limit - 1) < 0.1, name  # uniform, not normal
        else:
            np.testing.assert_array_equal(
                leaf, np.full(leaf.shape, float(name.endswith("scale"))), err_msg=name
            )
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables.batch_stats):
        assert (leaf == float(path[-1].key == "var")).all()
    trunk = variables.params["trunk"]
    first, second = (trunk[name]["block1_conv1"]["conv"]["kernel"] for name in ("pathway1", "pathway2"))
    assert (first != second).all()
    assert (first != other.params["trunk"]["pathway1"]["block1_conv1"]["conv"]["kernel"]).all()


def test_without_a_key_there_is_no_dropout_and_with_one_it_follows_the_key(
    tiny: Network, scrambled: Scramble
) -> None:
    variables, images = scrambled(tiny, 0), images_for(tiny)
    features = jax.jit(tiny.trunk)(variables, images)[0]
    apply = jax.jit(lambda key: tiny.head(variables, features, dropout_key=key)[0])
    plain = apply(None)
    np.testing.assert_array_equal(plain, apply(None))
    np.testing.assert_allclose(plain, jax.jit(tiny.apply)(variables, images)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(apply(rng.key(1)), apply(rng.key(1)))
    assert (apply(rng.key(1)) != apply(rng.key(2))).any()
    assert (np.asarray(apply(rng.key(1))) != np.asarray(plain)).mean() > 0.9


def test_dropout_stands_before_and_after_the_first_1x1_convolution(tiny: Network) -> None:
    """A head that counts: each of the 16 features and then the hidden unit falls with probability 51/256."""
    variables = fresh(tiny, np.ones)
    one_unit = np.zeros((1, 1, 8, 2), np.float32)
    one_unit[0, 0, 0, 0] = 1.0
    variables.params["head"]["conv2"]["kernel"] = jnp.asarray(one_unit)
    features = jnp.ones((1, 64, 64, 16))
    head = jax.jit(tiny.head)
    logits, _ = head(variables, features, dropout_key=rng.key(5, "dropout"))
    certain = float(head(variables, features)[0][0, 0, 0, 0])
    assert certain == pytest.approx(16 / np.sqrt(1 + 1e-3))
    keep = 205 / 256
    counts = np.asarray(logits)[..., 0].ravel() / certain * 16 * keep**2
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    error = 4 / np.sqrt(counts.size)
    assert abs((counts == 0).mean() - (1 - keep)) < 0.5 * error
    assert abs(counts[counts > 0].mean() - 16 * keep) < np.sqrt(16 * keep * (1 - keep)) * error
    assert abs(np.asarray(logits)[..., 0].mean() / certain - 1) < error  # the mean is kept
    assert (np.asarray(logits)[..., 1] == 0).all()


def test_networks_of_one_architecture_are_one_key() -> None:
    """Compiled functions are kept per network: equal ones must share them, others must not."""
    assert hash(Network(PNetConfig(), (1, 1))) == hash(Network(PNetConfig(), (1, 1)))
    assert Network(PNetConfig(), (1, 1)) == Network(PNetConfig(), (1, 1))
    assert Network(PNetConfig(), (1, 1)) != Network(PNetConfig(), (1, 2))
    assert Network(PNetConfig(), (1, 1)) != Network(PNetConfig(taps=Taps.SECOND_CONV), (1, 1))
