"""Patient-specific fine-tuning: what stays frozen, what trains, and that variants keep to themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from psft_jax import rng
from psft_jax.errors import InputError
from psft_jax.model.leaves import Scope
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import lesion_slices, slices_of
from psft_jax.scan import Scan
from psft_jax.training.finetune import Tuned
from psft_jax.training.losses import weighted_cross_entropy
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.steps import start
from tests.training.comparing import close, equal

Fingerprints = Callable[[Any], dict[str, str]]
MakeScan = Callable[..., Scan]
CONVOLUTIONS = {f"params/head/{conv}/{leaf}" for conv in ("conv1", "conv2") for leaf in ("kernel", "bias")}
NORMALISED_AWAY = {"params/head/conv1/bias"}
"""Where batch normalisation after it runs on batch statistics."""
HEAD_NORM = {"params/head/norm/scale", "params/head/norm/bias"}
HEAD_STATISTICS = {"batch_stats/head/norm/mean", "batch_stats/head/norm/var"}


@pytest.fixture(scope="module")
def in_company(tune: Callable[..., list[Tuned]], settings: FinetuneConfig) -> dict[str, Tuned]:
    """Four runs in one call, with other scopes and other class weights."""
    variants = {
        "last2": settings,
        "head_bn": replace(settings, scope=Scope.HEAD_BN),
        "all": replace(settings, scope=Scope.ALL),
        "unweighted": replace(settings, class_weights=(1.0, 1.0)),
    }
    return dict(zip(variants, tune(*variants.values()), strict=True))


@pytest.mark.parametrize(
    ("scope", "changed"),
    [
        ("last2", CONVOLUTIONS),
        ("head_bn", CONVOLUTIONS - NORMALISED_AWAY | HEAD_NORM | HEAD_STATISTICS),
        ("unweighted", CONVOLUTIONS),
    ],
)
def test_nothing_but_the_scope_changes_a_single_bit(
    base: Variables, in_company: dict[str, Tuned], fingerprints: Fingerprints, scope: str, changed: set[str]
) -> None:
    """Parameters and batch normalisation's statistics alike."""
    before, after = fingerprints(base), fingerprints(in_company[scope].variables)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_scope_all_changes_every_leaf_that_changes_anything(
    base: Variables, in_company: dict[str, Tuned], fingerprints: Fingerprints
) -> None:
    before, after = fingerprints(base), fingerprints(in_company["all"].variables)
    kept = {name for name in before if before[name] == after[name]}
    assert kept == NORMALISED_AWAY | {name for name in before if name.endswith("/conv/bias")}


def test_the_frozen_trunk_is_the_bases_own(base: Variables, in_company: dict[str, Tuned]) -> None:
    """Not a copy: inference shares the trunk's pass among those that hold the very same arrays."""
    for tuned in (in_company["last2"], in_company["head_bn"]):
        for own, other in zip(base, tuned.variables, strict=True):
            leaves = zip(jax.tree.leaves(own["trunk"]), jax.tree.leaves(other["trunk"]), strict=True)
            assert all(a is b for a, b in leaves)


def test_the_base_is_left_as_it_was(
    tiny: Network,
    scrambled: Callable[[Network, int], Variables],
    base: Variables,
    in_company: dict[str, Tuned],
    fingerprints: Fingerprints,
) -> None:
    assert in_company.keys() >= {"last2", "all"}  # they have run
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(base))
    assert fingerprints(base) == fingerprints(scrambled(tiny, 5))


def test_a_variant_does_not_depend_on_its_company(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig, in_company: dict[str, Tuned]
) -> None:
    (alone,) = tune(settings)
    close(alone, in_company["last2"])
    assert (in_company["unweighted"].losses < alone.losses).all()


def test_snapshots_of_one_run_are_runs_of_their_own(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig
) -> None:
    """In the order asked for, also where one is asked for twice."""
    five, two = settings, replace(settings, iterations=2)
    together = tune(five, two, replace(settings, iterations=0), five)
    assert [len(tuned.losses) for tuned in together] == [5, 2, 0, 5]
    equal(together[0], tune(five)[0])
    equal(together[1], tune(two)[0])
    equal(together[3], together[0])
    np.testing.assert_array_equal(together[0].losses[:2], together[1].losses)


def test_no_iterations_give_the_base(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig, base: Variables, fingerprints: Fingerprints
) -> None:
    for scope in Scope:
        (tuned,) = tune(replace(settings, iterations=0, scope=scope))
        assert fingerprints(tuned.variables) == fingerprints(base)
        assert tuned.losses.shape == (0,)


def test_no_variants_give_nothing(tune: Callable[..., list[Tuned]]) -> None:
    assert tune() == []


def test_the_losses_are_those_of_plain_adam_on_the_last_two_layers(
    tiny: Network,
    base: Variables,
    make_scan: MakeScan,
    settings: FinetuneConfig,
    in_company: dict[str, Tuned],
) -> None:
    """The whole network, its whole gradient, and Adam in NumPy on the two convolutions alone."""
    scan = make_scan()
    pool = make_pool(slices_of(scan, lesion_slices(scan)), partial(corner_centres, patch=9))
    cut = jax.jit(extract, static_argnames="config")

    @jax.jit
    def gradient(params: Any, batch: Any, key: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            logits, _ = tiny.apply(Variables(params, base.batch_stats), batch.images, dropout_key=key)
            return weighted_cross_entropy(logits, batch.lesion, (1.0, 5.0))

        return jax.value_and_grad(loss)(params)

    params = jax.tree.map(np.asarray, base.params)
    m = v = jax.tree.map(lambda leaf: np.zeros(leaf.shape), params)
    key = rng.key(1, "finetune", scan.subject)
    for step in range(5):
        of_draw, of_dropout = jax.random.split(jax.random.fold_in(key, step))
        batch = cut(pool, draw(of_draw, pool.n_patches, settings.patches), config=settings.patches)
        loss, g = gradient(params, batch, of_dropout)
        assert in_company["last2"].losses[step] == pytest.approx(float(loss), rel=1e-4)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * np.asarray(g), m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * np.asarray(g) ** 2, v, g)
        rate = 0.02 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        new = jax.tree.map(
            lambda p, m, v, rate=rate: (p - rate * m / (np.sqrt(v) + 1e-8)).astype("f4"), params, m, v
        )
        params = {**params, "head": {**new["head"], "norm": params["head"]["norm"]}}

    def compare(actual: Any, expected: Any, v: Any) -> None:
        # Adam takes a whole step also where the gradient is nothing but rounding.
        moved = (v == 0) | (np.sqrt(v) > 2e-4 * np.sqrt(v.max()))
        assert moved.mean() > 0.9
        np.testing.assert_allclose(np.asarray(actual)[moved], expected[moved], rtol=1e-3, atol=1e-3)

    jax.tree.map(compare, in_company["last2"].variables.params, params, v)


@pytest.mark.parametrize("scope", ["last2", "head_bn", "all", "unweighted"])
def test_the_loss_falls_on_an_easy_patient(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig, in_company: dict[str, Tuned], scope: str
) -> None:
    if scope == "last2":  # compiled already, so it may run for longer
        losses = tune(replace(settings, iterations=60))[0].losses
        assert losses[-10:].mean() < 0.75 * losses[:10].mean()
    else:
        assert in_company[scope].losses[-2:].mean() < in_company[scope].losses[0]


@pytest.mark.parametrize(
    ("scope", "trained"),
    [(Scope.LAST2, CONVOLUTIONS), (Scope.HEAD_BN, CONVOLUTIONS | HEAD_NORM), (Scope.ALL, None)],
)
def test_the_optimiser_holds_moments_for_what_trains_alone(
    base: Variables,
    settings: FinetuneConfig,
    scope: Scope,
    trained: set[str] | None,
) -> None:
    sizes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path({"params": base.params})
    }
    state = start(base, replace(settings, scope=scope)).optimiser
    moments = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert moments == 2 * sum(size for name, size in sizes.items() if trained is None or name in trained)


def test_seed_and_patient_draw_the_patches(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig
) -> None:
    losses = [
        tune(settings, **changes)[0].losses
        for changes in ({}, {}, {"seed": 2}, {"subject": "P2"}, {"session": "T9"})
    ]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert (losses[0] != losses[2]).all()
    assert (losses[0] != losses[3]).all()
    np.testing.assert_array_equal(losses[0], losses[4])


def test_only_slices_with_lesions_are_looked_at(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig, make_scan: MakeScan
) -> None:
    (seen,) = tune(settings)
    first, second = (sequence.copy() for sequence in make_scan().sequences)
    for sequence in (first, second):
        sequence[[0, 3]] = 1000.0
    (again,) = tune(settings, sequences=(first, second))
    equal(seen, again)


def test_a_baseline_without_lesions_is_refused(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig
) -> None:
    with pytest.raises(InputError, match="P1_T1: found a lesion mask without a lesion"):
        tune(settings, lesion=np.zeros((4, 24, 20), bool))
    with pytest.raises(InputError, match="P1_T1: found no lesion mask"):
        tune(settings, lesion=None)


def test_a_baseline_with_other_channels_is_refused(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig
) -> None:
    with pytest.raises(InputError, match=r"found \(2, 1\) channels.*expected \(1, 2\)"):
        tune(settings, channels=(2, 1))


def test_a_loss_that_is_not_a_number_is_refused(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig, make_scan: MakeScan
) -> None:
    first, second = make_scan().sequences
    with pytest.raises(InputError, match="fine-tuning of P1, iteration 1: found a loss that is not a number"):
        tune(settings, sequences=(np.sign(first) * np.float32(1e38), second))


@pytest.mark.parametrize(
    ("name", "value"), [("iterations", -1), ("learning_rate", 0.0), ("class_weights", (0.0, 1.0))]
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"FinetuneConfig\.{name}"):
        FinetuneConfig(**{name: value})
