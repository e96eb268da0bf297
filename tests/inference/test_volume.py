"""Lesion probability of a volume: crops, batches, shared trunks and Monte Carlo dropout change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from psft_jax import rng
from psft_jax.errors import InputError
from psft_jax.inference import heads, volume
from psft_jax.inference.crops import LEAST_WORK, ONE_PROGRAM, crops_of
from psft_jax.inference.volume import Prediction, predict
from psft_jax.model.dropout import Masks
from psft_jax.model.network import Network, Variables
from psft_jax.model.precision import Precision
from psft_jax.scan import Scan

SHAPE = (5, 40, 36)


@pytest.fixture(scope="module")
def base(tiny: Network, scrambled: Callable[[Network, int], Variables]) -> Variables:
    return scrambled(tiny, 11)


@pytest.fixture(scope="module")
def tuned(base: Variables) -> Variables:
    """Another head on the very same trunk."""
    params, stats = (jax.tree.map(lambda leaf: leaf * 1.5 + 0.1, tree["head"]) for tree in base)
    return Variables({**base.params, "head": params}, {**base.batch_stats, "head": stats})


@pytest.fixture(scope="module")
def scan(make_scan: Callable[..., Scan]) -> Scan:
    """An organ of another ragged shape in each slice, at the slice's border, and in slice 3 none."""
    organ = np.zeros(SHAPE, bool)
    organ[:, 12:30, :20] = np.random.default_rng(1).random((5, 18, 20)) < 0.4
    organ[3] = False
    return make_scan(shape=SHAPE, organ=organ, lesion=None)


@pytest.fixture(scope="module")
def certain(tiny: Network, base: Variables, scan: Scan) -> Prediction:
    (prediction,) = predict(tiny, [base], scan)
    return prediction


@pytest.fixture(scope="module")
def sampled(tiny: Network, base: Variables, scan: Scan) -> Prediction:
    (prediction,) = predict(tiny, [base], scan, samples=400)
    return prediction


def known(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of a prediction that must have them."""
    assert prediction.mean is not None
    assert prediction.sd is not None
    return prediction.mean, prediction.sd


def whole_slices(network: Network, variables: Variables, scan: Scan, samples: int = 0) -> Any:
    """Probabilities of the whole network on whole slices: without dropout, or one for each sample."""
    first, second = map(jnp.asarray, scan.sequences)

    @jax.jit
    def probability(key: jax.Array | None) -> jax.Array:
        return jax.nn.softmax(network.apply(variables, (first, second), dropout_key=key)[0])[..., 1]

    if not samples:
        return np.asarray(probability(None))
    return np.stack([probability(rng.key(99, "sample", n)) for n in range(samples)])


def test_the_organ_is_as_on_the_whole_slice_and_the_rest_is_zero(
    tiny: Network, base: Variables, scan: Scan, certain: Prediction
) -> None:
    expected = whole_slices(tiny, base, scan)
    np.testing.assert_allclose(certain.probability[scan.organ], expected[scan.organ], atol=1e-5)
    assert (certain.probability[~scan.organ] == 0).all()
    assert np.ptp(certain.probability[scan.organ]) > 0.1
    assert (certain.mean, certain.sd) == (None, None)


def test_slices_with_regions_of_their_own_are_as_on_the_whole_slice(
    tiny: Network, base: Variables, make_scan: Callable[..., Scan]
) -> None:
    """Sections of falling size, each in another corner, so that each has a region and margins of its own."""
    organ = np.zeros((4, 64, 64), bool)
    organ[0, :60, 2:64] = organ[1, 30:50, 20:40] = organ[2, :3, 60:] = organ[3, 40:41, 1:2] = True
    scan = make_scan(shape=organ.shape, organ=organ, lesion=None)
    assert len(crops_of(organ, tiny.config.receptive_field // 2)) == 4
    (prediction,) = predict(tiny, [base], scan)
    expected = whole_slices(tiny, base, scan)
    np.testing.assert_allclose(prediction.probability[organ], expected[organ], atol=1e-5)
    assert (prediction.probability[~organ] == 0).all()


def test_variants_are_as_each_alone(
    tiny: Network,
    base: Variables,
    tuned: Variables,
    scrambled: Callable[[Network, int], Variables],
    scan: Scan,
    certain: Prediction,
) -> None:
    """Two that share a trunk, with one between them that does not."""
    other = scrambled(tiny, 12)
    first, second, third = predict(tiny, [base, other, tuned], scan)
    np.testing.assert_allclose(first.probability, certain.probability, atol=1e-6)
    inside = scan.organ
    for prediction, variables in ((second, other), (third, tuned)):
        expected = whole_slices(tiny, variables, scan)
        np.testing.assert_allclose(prediction.probability[inside], expected[inside], atol=1e-5)


def test_those_that_hold_the_same_trunk_share_its_pass(base: Variables, tuned: Variables, scan: Scan) -> None:
    copy = jax.tree.map(jnp.copy, base)
    assert volume._by_trunk([base, copy, tuned]) == [[0, 2], [1]]


def test_no_variants_give_no_predictions(tiny: Network, scan: Scan) -> None:
    assert predict(tiny, [], scan) == []


@pytest.mark.parametrize(
    ("slices_at_once", "expected", "voxels_at_once"),
    [(1, [1, 1, 1, 1], 8192), (3, [2, 2], 8192), (4, [4], 50)],
)
def test_batches_change_nothing(
    tiny: Network,
    base: Variables,
    scan: Scan,
    certain: Prediction,
    monkeypatch: pytest.MonkeyPatch,
    slices_at_once: int,
    expected: list[int],
    voxels_at_once: int,
) -> None:
    """Four slices hold organ, in one region; where three fit, two batches of two do as well."""
    (crop,) = crops_of(scan.organ, tiny.config.receptive_field // 2)
    rule = LEAST_WORK._replace(feature_bytes=slices_at_once * crop.pixels_seen * 16 * 4)
    monkeypatch.setattr(volume, "rule_here", lambda: rule)
    monkeypatch.setattr(heads, "voxels_per_call", lambda: voxels_at_once)
    batches = []
    trunk = volume._trunk
    monkeypatch.setattr(volume, "_trunk", lambda *args: batches.append(args[2][0].shape[0]) or trunk(*args))
    (prediction,) = predict(tiny, [base], scan)
    assert batches == expected
    np.testing.assert_allclose(prediction.probability, certain.probability, atol=1e-6)


@pytest.mark.parametrize("masks", Masks)
def test_another_visit_compiles_nothing_where_compiling_is_dear(
    tiny: Network,
    base: Variables,
    make_scan: Callable[..., Scan],
    monkeypatch: pytest.MonkeyPatch,
    masks: Masks,
) -> None:
    """Organs of other places, sizes and numbers of slices, three slices in a call; 50 voxels in a call.

    The regions of a CPU would differ.
    """
    monkeypatch.setattr(volume, "rule_here", lambda: ONE_PROGRAM._replace(feature_bytes=3 * 80 * 72 * 16 * 4))
    monkeypatch.setattr(heads, "voxels_per_call", lambda: 50)
    programs = (volume._trunk, heads._rows, heads._certain, heads._sampled, heads._thin)
    counts = []
    for z, rows, columns in [(5, slice(12, 30), slice(0, 20)), (4, slice(2, 79), slice(50, 70))]:
        organ = np.zeros((z, 80, 72), bool)
        organ[1:, rows, columns] = True
        scan = make_scan(shape=organ.shape, organ=organ, lesion=None)
        (prediction,) = predict(tiny, [base], scan, samples=7, masks=masks)
        expected = whole_slices(tiny, base, scan)
        np.testing.assert_allclose(prediction.probability[organ], expected[organ], atol=1e-5)
        counts.append([program._cache_size() for program in programs])
    assert counts[0] == counts[1]


def test_dropout_is_that_of_the_whole_network(
    tiny: Network, base: Variables, scan: Scan, sampled: Prediction
) -> None:
    """Mean and SD of 400 samples against 400 passes of the whole network with masks of their own."""
    draws = whole_slices(tiny, base, scan, samples=400)[:, scan.organ]
    mean, sd = (of[scan.organ] for of in known(sampled))
    spread = draws.std(axis=0)
    assert spread.min() > 0
    assert (np.abs(mean - draws.mean(axis=0)) < 6 * spread * np.sqrt(2 / 400)).all()
    assert abs(np.mean(mean - draws.mean(axis=0))) < 1e-2 * spread.mean()
    assert np.median(np.abs(sd / spread - 1)) < 0.1
    assert abs(np.mean(sd / spread) - 1) < 0.02


def test_sampling_leaves_the_probability_as_it_is(
    scan: Scan, certain: Prediction, sampled: Prediction
) -> None:
    np.testing.assert_allclose(sampled.probability, certain.probability, atol=1e-6)
    mean, sd = known(sampled)
    assert (mean[~scan.organ] == 0).all()
    assert (sd[~scan.organ] == 0).all()
    assert (sd[scan.organ] > 0).all()
    assert (
        np.abs(mean - certain.probability)[scan.organ] > 1e-3
    ).any()  # a mean of softmaxes is another thing


def test_25_samples_are_unbiased(tiny: Network, base: Variables, scan: Scan, sampled: Prediction) -> None:
    mean, sd = known(sampled)
    runs = [known(predict(tiny, [base], scan, samples=25, seed=seed)[0]) for seed in range(1, 9)]
    error = np.mean([m for m, _ in runs], axis=0) - mean
    inside = scan.organ
    assert (np.abs(error[inside]) < 6 * sd[inside] * np.sqrt(1 / 200 + 1 / 400)).all()
    # The mean of 25 samples scatters by a fifth of the SD: the samples are independent of each other.
    scatter = np.std([m for m, _ in runs], axis=0, ddof=1)[inside]
    assert np.sqrt(np.mean(scatter**2 / sd[inside] ** 2)) == pytest.approx(1 / 5, rel=0.1)
    # The variance of a population: (n - 1) / n of the unbiased one.
    variance = np.mean([s**2 for _, s in runs], axis=0)[inside]
    assert np.mean(variance / sd[inside] ** 2) == pytest.approx(24 / 25, rel=0.02)


def test_channel_masks_spread_each_voxel_as_elementwise_ones_do(
    tiny: Network, base: Variables, scan: Scan, sampled: Prediction
) -> None:
    """The same distribution in each voxel: mean and SD of 400 samples."""
    (by_channel,) = predict(tiny, [base], scan, samples=400, masks=Masks.CHANNEL)
    (mean, sd), (other, spread) = known(by_channel), known(sampled)
    inside = scan.organ
    assert (np.abs(mean - other)[inside] < 6 * spread[inside] * np.sqrt(2 / 400)).all()
    assert np.median(np.abs(sd[inside] / spread[inside] - 1)) < 0.1
    np.testing.assert_allclose(by_channel.probability, sampled.probability, atol=1e-6)


def test_channel_masks_are_one_for_the_volume(
    tiny: Network, base: Variables, tuned: Variables, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan without contrast: all voxels deep inside are alike, whatever slice and call they are in."""
    monkeypatch.setattr(heads, "voxels_per_call", lambda: 50)
    first, second = (np.ones_like(sequence) for sequence in scan.sequences)
    deep = np.zeros(SHAPE, bool)
    deep[1:3, 10:30, 10:20] = True
    flat = replace(scan, sequences=(first, second), organ=deep)
    found = predict(tiny, [base, tuned], flat, samples=7, masks=Masks.CHANNEL)
    for prediction in found:
        mean, sd = known(prediction)
        assert np.ptp(mean[deep]) < 1e-5
        assert np.ptp(sd[deep]) < 1e-5
        assert sd[deep].min() > 1e-3
    alone = known(predict(tiny, [tuned], flat, samples=7, masks=Masks.CHANNEL)[0])[1]
    np.testing.assert_allclose(alone, known(found[1])[1], atol=1e-6)


@pytest.mark.parametrize("masks", Masks)
def test_in_bfloat16_a_volume_is_nearly_that_of_float32(
    tiny: Network, base: Variables, scan: Scan, masks: Masks
) -> None:
    """The masks are the same, so what differs is the arithmetic; what comes out is float32."""
    exact, found = (
        predict(replace(tiny, precision=precision), [base], scan, samples=25, masks=masks)[0]
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    for one, other in zip(
        (found.probability, *known(found)), (exact.probability, *known(exact)), strict=True
    ):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=0.02)
        assert (one != other)[scan.organ].mean() > 0.5


def test_one_sample_has_no_spread(tiny: Network, base: Variables, scan: Scan) -> None:
    (prediction,) = predict(tiny, [base], scan, samples=1)
    mean, sd = known(prediction)
    assert (sd == 0).all()
    assert (mean != prediction.probability)[scan.organ].mean() > 0.9


def test_without_dropout_there_is_no_spread(tiny: Network, base: Variables, scan: Scan) -> None:
    network = Network(replace(tiny.config, dropout=0.0), tiny.channels)
    (prediction,) = predict(network, [base], scan, samples=3)
    mean, sd = known(prediction)
    np.testing.assert_allclose(sd, 0.0, atol=1e-6)
    np.testing.assert_allclose(mean, prediction.probability, atol=1e-6)


def test_masks_follow_the_seed_and_the_visit_alone(
    tiny: Network, base: Variables, tuned: Variables, scan: Scan
) -> None:
    """A variant's company changes neither its masks nor its numbers."""
    run = [
        known(predict(tiny, variants, of, samples=5, seed=seed)[position])[1]
        for variants, of, seed, position in [
            ([base, tuned], scan, 0, 0),
            ([base, tuned], scan, 0, 0),
            ([tuned, base], scan, 0, 1),
            ([base, tuned], scan, 1, 0),
            ([base, tuned], replace(scan, session="T2"), 0, 0),
            ([base, tuned], replace(scan, subject="P2"), 0, 0),
        ]
    ]
    np.testing.assert_array_equal(run[0], run[1])
    np.testing.assert_allclose(run[0], run[2], atol=1e-6)
    for other in run[3:]:
        assert (run[0] != other)[scan.organ].mean() > 0.9


def test_masks_do_not_depend_on_how_many_voxels_go_into_a_call(
    tiny: Network, base: Variables, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU takes a few thousand at once, a GPU a slice."""
    found = []
    for voxels in (8192, 50, 7):
        monkeypatch.setattr(heads, "voxels_per_call", lambda voxels=voxels: voxels)
        found.append(np.stack(known(predict(tiny, [base], scan, samples=6)[0])))
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)


def test_no_two_voxels_share_their_masks(
    tiny: Network, base: Variables, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan without contrast, whose voxels differ in nothing but their masks; 50 voxels in a call."""
    monkeypatch.setattr(heads, "voxels_per_call", lambda: 50)
    first, second = (np.ones_like(sequence) for sequence in scan.sequences)
    deep = np.zeros(SHAPE, bool)
    deep[1:3, 10:30, 10:20] = True  # far from the slice's border
    (prediction,) = predict(tiny, [base], replace(scan, sequences=(first, second), organ=deep), samples=10)
    mean, sd = known(prediction)
    assert np.ptp(prediction.probability[deep]) < 1e-6
    for values in (mean, sd):
        assert len(np.unique(values[deep])) > 0.95 * deep.sum()


def test_other_channels_are_refused(tiny: Network, base: Variables, make_scan: Callable[..., Scan]) -> None:
    with pytest.raises(InputError, match=r"P1_T1: found \(2, 1\) channels.*expected \(1, 2\)"):
        predict(tiny, [base], make_scan(channels=(2, 1)))
