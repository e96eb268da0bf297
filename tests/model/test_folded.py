"""The network that no longer trains is the network on its running averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from psft_jax import rng
from psft_jax.model.config import PNetConfig, Taps
from psft_jax.model.dropout import dropout
from psft_jax.model.folded import Folded, FoldedHead, Margins, lesion_probability, thinned
from psft_jax.model.network import Network, Variables
from psft_jax.model.precision import Precision

Scramble = Callable[[Network, int], Variables]


@pytest.fixture(scope="module")
def features() -> jax.Array:
    return jnp.asarray(np.random.default_rng(2).standard_normal((50, 16)), jnp.float32)


def images() -> tuple[jax.Array, jax.Array]:
    noise = np.random.default_rng(1)
    first, second = (jnp.asarray(noise.standard_normal((2, 15, 13, c)), jnp.float32) for c in (1, 2))
    return first, second


def softmax(network: Network, variables: Variables, features: jax.Array, key: jax.Array | None) -> jax.Array:
    return jax.nn.softmax(network.head(variables, features, dropout_key=key)[0])[:, 1]


@pytest.mark.parametrize("taps", list(Taps))
def test_the_folded_trunk_is_the_trunk(scrambled: Scramble, taps: Taps) -> None:
    network = Network(PNetConfig(dilations=((1, 2), (3, 1, 2)), width=3, head_width=5, taps=taps), (1, 2))
    variables = scrambled(network, 3)
    expected, _ = network.trunk(variables, images())
    found = network.folded_trunk(network.fold(variables), images())
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("taps", list(Taps))
@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 15), (0, 13)), ((3, 6), (0, 2)), ((1, 9), (4, 12)), ((7, 8), (5, 6))]
)
def test_the_features_of_a_region_are_those_of_the_whole_slice(
    scrambled: Scramble, taps: Taps, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """A receptive field of 13 or 19 pixels in a slice of 15 x 13: some margins end with the slice."""
    network = Network(PNetConfig(dilations=((1, 2), (1, 2, 3)), width=3, head_width=5, taps=taps), (1, 2))
    variables = scrambled(network, 3)
    expected = network.trunk(variables, images())[0][:, slice(*rows), slice(*columns)]
    reach = network.config.receptive_field // 2
    top, left = min(reach, rows[0]), min(reach, columns[0])
    bottom, right = min(reach, 15 - rows[1]), min(reach, 13 - columns[1])
    first, second = (
        image[:, rows[0] - top : rows[1] + bottom, columns[0] - left : columns[1] + right]
        for image in images()
    )
    margins = Margins(top, bottom, left, right)
    found = network.folded_trunk(network.fold(variables), (first, second), margins)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_the_bias_is_added_in_float32() -> None:
    """256 and 258 are neighbours in bfloat16: a bias of 257.02 would become the latter, and the sum 2."""
    network = Network(PNetConfig(dilations=((1,),), width=1, head_width=1), (1, 1), Precision.BFLOAT16)
    layer = Folded(jnp.zeros((3, 3, 1, 1)).at[1, 1].set(-1.0), jnp.full(1, 257.02, jnp.float32))
    trunk = {pathway: {"block1_conv1": layer} for pathway in ("pathway1", "pathway2")}
    image = jnp.full((1, 4, 4, 1), 256.0)
    found = network.folded_trunk(trunk, (image, image))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), 1.02, rtol=2**-8)


@pytest.mark.parametrize("seed", [None, 4])
def test_folded_heads_give_the_probabilities_of_each_head(
    tiny: Network, scrambled: Scramble, features: jax.Array, seed: int | None
) -> None:
    """Without dropout and with it: the masks are those that the network's head draws."""
    key = None if seed is None else rng.key(seed, "dropout")
    heads = [scrambled(tiny, n) for n in (1, 2, 3)]
    folded = FoldedHead(*map(jnp.concatenate, zip(*map(tiny.fold_head, heads), strict=True)))
    found = lesion_probability(folded, features, tiny.config.dropout, key)
    assert found.shape == (3, 50)
    for one, variables in zip(found, heads, strict=True):
        np.testing.assert_allclose(one, softmax(tiny, variables, features, key), rtol=1e-4, atol=1e-5)


def test_a_thinned_head_is_the_head_on_features_without_what_is_dropped(
    tiny: Network, scrambled: Scramble, features: jax.Array
) -> None:
    """One mask for all pixels: the dropped channels are zero everywhere, the others scaled."""
    head, key = tiny.fold_head(scrambled(tiny, 1)), rng.key(7)
    before, after = jax.random.split(key)
    kept, kept_hidden = dropout(jnp.ones(16), 0.2, before), dropout(jnp.ones(8), 0.2, after)
    assert 0 < (kept == 0).sum() < 16
    hidden = jnp.maximum((features * kept) @ head.kernel[0] + head.bias[0], 0) * kept_hidden
    expected = jax.nn.sigmoid(hidden @ head.contrast[0] + head.offset[0])
    found = lesion_probability(thinned(head, 0.2, key), features)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_computes_in_half_and_keeps_the_rest_in_float32(tiny: Network, scrambled: Scramble) -> None:
    half = replace(tiny, precision=Precision.BFLOAT16)
    variables = scrambled(tiny, 5)
    assert {leaf.dtype for leaf in jax.tree.leaves(half.init(rng.key(0)))} == {jnp.dtype("float32")}
    features = half.folded_trunk(half.fold(variables), images())
    assert features.dtype == jnp.bfloat16
    expected = tiny.folded_trunk(tiny.fold(variables), images())
    np.testing.assert_allclose(np.asarray(features, np.float32), expected, rtol=0.1, atol=0.05)
    assert (np.asarray(features, np.float32) != expected).any()
    for train in (False, True):
        logits, stats = half.apply(variables, images(), train=train, dropout_key=rng.key(1))
        exact, exact_stats = tiny.apply(variables, images(), train=train, dropout_key=rng.key(1))
        assert logits.dtype == jnp.float32
        np.testing.assert_allclose(logits, exact, rtol=0.1, atol=0.15)
        for found, wanted in zip(jax.tree.leaves(stats), jax.tree.leaves(exact_stats), strict=True):
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.05)
