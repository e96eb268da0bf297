"""The plain PyTorch build does the same work: the same network, patches, training step and uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import numpy as jnp

from psft_jax.inference.volume import predict
from psft_jax.model.config import PNetConfig, Taps
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import Draw, PatchConfig, extract, make_pool
from psft_jax.sampling.positions import corner_centres, grid_centres
from psft_jax.sampling.slices import lesion_slices, slices_of
from psft_jax.scan import Scan
from psft_jax.training.finetune import finetune
from psft_jax.training.material import Annotated
from psft_jax.training.settings import FinetuneConfig

torch = pytest.importorskip("torch", reason="PyTorch is an extra: pip install -e '.[bench]'")

from bench import reference_work  # noqa: E402 - only where PyTorch is
from bench.material import Leaves  # noqa: E402
from bench.ours import variables_of  # noqa: E402
from bench.reference import PlainPNet, build  # noqa: E402
from bench.reference_work import Patches, Trainer, monte_carlo  # noqa: E402

torch.set_num_threads(1)  # the arrays are small
MakeScan = Callable[..., Scan]
Scrambled = Callable[[Network, int], Variables]
PATCH = 16


@pytest.fixture(scope="module")
def network() -> Network:
    """Few layers, other channels in each pathway, and no dropout."""
    return Network(PNetConfig(dilations=((1,), (2, 2)), width=4, head_width=8, dropout=0.0), (1, 2))


@pytest.fixture(scope="module")
def leaves(network: Network, scrambled: Scrambled) -> Leaves:
    return leaves_of(scrambled(network, 3))


def leaves_of(variables: Variables) -> Leaves:
    tree = flatten_dict(variables._asdict(), sep="/")
    return {path: np.asarray(leaf) for path, leaf in tree.items()}


@pytest.fixture
def plain(network: Network, leaves: Leaves) -> PlainPNet:
    return build(network.channels, network.config, leaves).eval()


def images(scan: Scan, z: int) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (torch.from_numpy(s[z]).permute(2, 0, 1)[None] for s in scan.sequences)
    return first, second


def test_variables_come_back(network: Network, leaves: Leaves) -> None:
    assert jax.tree.map(jnp.shape, variables_of(leaves)) == jax.tree.map(
        lambda leaf: leaf.shape, network.shapes
    )


def test_same_logits(scrambled: Scrambled) -> None:
    """With all the paper's layers."""
    network = Network(PNetConfig(width=4, head_width=8), (1, 2))
    variables = scrambled(network, 3)
    noise = np.random.default_rng(1)
    first, second = (noise.standard_normal((2, 21, 26, c), "f4") for c in network.channels)
    ours, _ = network.apply(variables, (jnp.asarray(first), jnp.asarray(second)))
    plain = build(network.channels, network.config, leaves_of(variables)).eval()
    with torch.inference_mode():
        theirs = plain(*(torch.from_numpy(image).permute(0, 3, 1, 2) for image in (first, second)))
    assert theirs.std() > 0.1
    np.testing.assert_allclose(theirs.permute(0, 2, 3, 1).numpy(), ours, rtol=1e-4, atol=1e-4)


def test_a_missing_weight_is_noticed(network: Network, leaves: Leaves) -> None:
    incomplete = {path: leaf for path, leaf in leaves.items() if not path.endswith("conv2/bias")}
    with pytest.raises(RuntimeError, match=r"head\.conv2\.bias"):
        build(network.channels, network.config, incomplete)


def test_the_reference_is_the_papers_network_alone(leaves: Leaves) -> None:
    with pytest.raises(ValueError, match="taps"):
        build((1, 2), PNetConfig(taps=Taps.SECOND_CONV), leaves)


@pytest.mark.parametrize("centres", [corner_centres, grid_centres])
def test_same_patches(make_scan: MakeScan, centres: Callable[..., np.ndarray]) -> None:
    slices = slices_of(make_scan(), np.array([1, 2, 3]))
    where = partial(centres, patch=PATCH)
    patch = np.array([0, 6, 11, 3])
    angle = np.array([0.3, -0.7, 0.11, 0.0], dtype=np.float32)
    ours = extract(
        make_pool(slices, where),
        Draw(jnp.asarray(patch), jnp.asarray(angle), jnp.zeros(4, jnp.int32)),
        PatchConfig(size=PATCH, batch=4),
    )
    theirs, lesion = Patches(slices, where, PATCH).cut(torch.from_numpy(patch), torch.from_numpy(angle))
    for image, expected in zip(theirs, ours.images, strict=True):
        np.testing.assert_allclose(image.permute(0, 2, 3, 1).numpy(), expected, atol=1e-4)
    np.testing.assert_array_equal(lesion.numpy(), ours.lesion)
    assert 0 < lesion.sum() < lesion.numel()


def test_draws_are_fresh_and_in_range(make_scan: MakeScan) -> None:
    patches = Patches(slices_of(make_scan(), np.array([1, 2])), partial(corner_centres, patch=PATCH), PATCH)
    torch.manual_seed(0)
    (first, second), lesion = patches.draw(3, 45.0)
    assert first.shape == (3, 1, PATCH, PATCH)
    assert second.shape == (3, 2, PATCH, PATCH)
    assert lesion.shape == (3, PATCH, PATCH)
    assert not torch.equal(first, patches.draw(3, 45.0)[0][0])


def test_same_fine_tuning(network: Network, leaves: Leaves, make_scan: MakeScan) -> None:
    """One slice, no rotation, and an organ no larger than a patch: every draw is the same patch."""
    lesion = np.zeros((1, 24, 20), bool)
    lesion[:, 8:12, 7:11] = True
    scan = make_scan(shape=lesion.shape, lesion=lesion)
    settings = FinetuneConfig(
        iterations=3, learning_rate=0.01, patches=PatchConfig(size=PATCH, batch=2, rotation_deg=0.0)
    )
    variables = variables_of(leaves)
    ours = finetune(network, variables, "one", [Annotated(scan)], [settings], seed=0)[0]

    theirs = build(network.channels, network.config, leaves)
    theirs.freeze_all_but_last2()
    trainer = Trainer(theirs, settings.learning_rate, settings.class_weights)
    patches = Patches(slices_of(scan, lesion_slices(scan)), partial(corner_centres, patch=PATCH), PATCH)
    losses = [trainer.step(*patches.draw(2, 0.0)) for _ in range(settings.iterations)]

    np.testing.assert_allclose(losses, ours.losses, rtol=1e-4)
    assert losses[-1] < losses[0]
    expected = build(network.channels, network.config, leaves_of(ours.variables)).state_dict()
    before = build(network.channels, network.config, leaves).state_dict()
    for name, weight in theirs.state_dict().items():
        np.testing.assert_allclose(weight, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
        trained = name.startswith(("head.conv1", "head.conv2"))
        assert torch.equal(weight, before[name]) is not trained


def test_same_probability(network: Network, leaves: Leaves, plain: PlainPNet, make_scan: MakeScan) -> None:
    scan = make_scan()
    ours = predict(network, [variables_of(leaves)], scan)[0].probability
    for z in range(scan.shape[0]):
        theirs = reference_work.predict(plain, images(scan, z)).numpy()
        np.testing.assert_allclose(theirs[scan.organ[z]], ours[z][scan.organ[z]], atol=1e-4)


def test_samples_without_dropout_are_the_prediction(plain: PlainPNet, make_scan: MakeScan) -> None:
    slice_ = images(make_scan(), 1)
    mean, sd = monte_carlo(plain, slice_, 3)
    torch.testing.assert_close(mean, reference_work.predict(plain, slice_))
    assert sd.max() < 1e-6


def test_samples_vary_and_leave_no_dropout_behind(
    network: Network, leaves: Leaves, make_scan: MakeScan
) -> None:
    dropping = build(network.channels, replace(network.config, dropout=0.4), leaves).eval()
    slice_ = images(make_scan(), 1)
    before = reference_work.predict(dropping, slice_)
    _, sd = monte_carlo(dropping, slice_, 4)
    assert sd.median() > 1e-3
    torch.testing.assert_close(reference_work.predict(dropping, slice_), before, rtol=0, atol=0)
