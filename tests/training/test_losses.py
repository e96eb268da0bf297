"""The class-weighted cross-entropy."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp
from scipy.special import softmax
from sklearn.metrics import log_loss

from psft_jax.training.losses import weighted_cross_entropy


def test_two_pixels_by_hand() -> None:
    """Probabilities of lesion 0.8 and 0.4; the first pixel is a lesion: -(5 log 0.8 + log 0.6) / 2."""
    logits = jnp.log(jnp.array([[0.2, 0.8], [0.6, 0.4]]))
    loss = weighted_cross_entropy(logits, jnp.array([1.0, 0.0]), (1.0, 5.0))
    assert float(loss) == pytest.approx(-(5 * np.log(0.8) + np.log(0.6)) / 2, rel=1e-6)


def test_a_pixel_may_be_half_a_lesion() -> None:
    logits = jnp.log(jnp.array([[0.2, 0.8]]))
    loss = weighted_cross_entropy(logits, jnp.array([0.5]), (2.0, 6.0))
    assert float(loss) == pytest.approx(-(3 * np.log(0.8) + np.log(0.2)), rel=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 5.0), (0.3, 2.0)])
def test_agreement_with_optax_and_scikit_learn(weights: tuple[float, float]) -> None:
    noise = np.random.default_rng(0)
    logits = jnp.asarray(3 * noise.standard_normal((2, 5, 4, 2)), jnp.float32)
    lesion = noise.random((2, 5, 4)) < 0.3
    loss = float(weighted_cross_entropy(logits, jnp.asarray(lesion, jnp.float32), weights))
    of_pixel = np.where(lesion, weights[1], weights[0])
    by_optax = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(lesion, jnp.int32))
    assert loss == pytest.approx(float(np.mean(of_pixel * by_optax)), rel=1e-5)
    probability = softmax(np.asarray(logits, np.float64), axis=-1).reshape(-1, 2)
    total = log_loss(lesion.ravel(), probability, normalize=False, sample_weight=of_pixel.ravel())
    assert loss == pytest.approx(total / lesion.size, rel=1e-5)  # a mean over pixels, not over weights


def test_certain_mistakes_cost_much_but_stay_finite() -> None:
    logits = jnp.array([[200.0, -200.0]])
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(logits, jnp.array([1.0]), (1.0, 5.0))
    assert float(loss) == pytest.approx(5 * 400)
    np.testing.assert_allclose(gradient, [[5.0, -5.0]])
