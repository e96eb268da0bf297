"""Patient-specific fine-tuning: what stays frozen, what trains, and that variants keep to themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from psft_jax import rng
from psft_jax.errors import InputError
from psft_jax.model.leaves import Scope
from psft_jax.model.network import Network, Variables
from psft_jax.sampling.patches import PatchConfig, draw, extract, make_pool
from psft_jax.sampling.positions import corner_centres
from psft_jax.sampling.slices import lesion_slices, slices_of
from psft_jax.scan import Scan
from psft_jax.training.checkpoints import restore_tree, save_tree
from psft_jax.training.finetune import Execution, Subject, Tuned, finetune, finetune_all
from psft_jax.training.losses import weighted_cross_entropy
from psft_jax.training.material import Annotated
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.steps import start, take_steps

Fingerprints = Callable[[Any], dict[str, str]]
MakeScan = Callable[..., Scan]
CONVOLUTIONS = {f"params/head/{conv}/{leaf}" for conv in ("conv1", "conv2") for leaf in ("kernel", "bias")}
HEAD_NORM = {"params/head/norm/scale", "params/head/norm/bias"}
HEAD_STATISTICS = {"batch_stats/head/norm/mean", "batch_stats/head/norm/var"}

ONE_BY_ONE = Execution()


@pytest.fixture(scope="module")
def base(tiny: Network, scrambled: Callable[[Network, int], Variables]) -> Variables:
    return scrambled(tiny, 5)


@pytest.fixture(scope="module")
def settings(small_patches: PatchConfig) -> FinetuneConfig:
    return FinetuneConfig(iterations=5, learning_rate=0.02, patches=small_patches)


@pytest.fixture(scope="module")
def tune(tiny: Network, base: Variables, make_scan: MakeScan) -> Callable[..., list[Tuned]]:
    def run(
        *variants: FinetuneConfig, seed: int = 1, execution: Execution = ONE_BY_ONE, **changes: Any
    ) -> list[Tuned]:
        scan = make_scan(**changes)
        scans = [Annotated(scan)]
        return finetune(tiny, base, scan.subject, scans, variants, seed=seed, execution=execution)

    return run


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


def equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a: Any, b: Any) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), a, b)


@pytest.mark.parametrize(
    ("scope", "changed"),
    [
        ("last2", CONVOLUTIONS),
        ("head_bn", CONVOLUTIONS | HEAD_NORM | HEAD_STATISTICS),
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


def test_the_scope_all_changes_every_leaf(
    base: Variables, in_company: dict[str, Tuned], fingerprints: Fingerprints
) -> None:
    before, after = fingerprints(base), fingerprints(in_company["all"].variables)
    assert all(before[name] != after[name] for name in before)


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


def test_kept_features_change_nothing(tune: Callable[..., list[Tuned]], settings: FinetuneConfig) -> None:
    """Ten patches at two angles, drawn twenty times. A variant that cuts other patches runs by itself.

    Kept in float32; in bfloat16, some dropped and computed again, where the budget is smaller; and not kept.
    """
    banked = replace(settings, iterations=10, patches=replace(settings.patches, angle_bank=2))
    entry = 81 * 16 * 4
    kept, other = tune(banked, settings)
    equal(other, tune(settings)[0])
    assert (kept.losses[:5] != other.losses).all()
    (anew,) = tune(banked, execution=Execution(feature_bytes=0))
    close(kept, anew)
    (streamed,) = tune(banked, execution=Execution(feature_bytes=2 * entry))
    np.testing.assert_allclose(streamed.losses, anew.losses, rtol=5e-3)
    assert (streamed.losses != anew.losses).any()


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


def test_patients_together_are_as_each_alone(
    tiny: Network, base: Variables, make_scan: MakeScan, settings: FinetuneConfig
) -> None:
    """Three patients with other numbers of slices and other frames; three scopes, and a bank."""
    lesion = np.zeros((4, 24, 20), bool)
    lesion[:, 9:12, 8:12] = True
    subjects = [
        Subject("P1", [Annotated(make_scan())]),
        Subject("P2", [Annotated(make_scan(subject="P2", lesion=lesion))]),
        Subject("P3", [Annotated(make_scan((4, 30, 22), subject="P3"))]),
    ]
    banked = replace(settings, patches=replace(settings.patches, angle_bank=2))
    variants = [
        settings,
        replace(settings, iterations=2, class_weights=(1.0, 1.0)),
        replace(settings, scope=Scope.HEAD_BN, learning_rate=0.01),
        replace(settings, scope=Scope.ALL, iterations=2),
        banked,
    ]
    together = finetune_all(tiny, base, subjects, variants, seed=1)
    for subject, found in zip(subjects, together, strict=True):
        alone = finetune(tiny, base, subject.name, subject.scans, variants, seed=1)
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4)
        close(found[0].variables.params["head"]["conv2"], alone[0].variables.params["head"]["conv2"])


def test_many_steps_a_call_are_as_one_by_one(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig
) -> None:
    """Five steps in calls of at most three, and a snapshot after two."""
    banked = replace(settings, patches=replace(settings.patches, angle_bank=2))
    variants = (settings, replace(settings, iterations=2), banked)
    for one, other in zip(tune(*variants), tune(*variants, execution=Execution(3)), strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4)
        close(one.variables, other.variables)


def test_another_patient_compiles_nothing(tune: Callable[..., list[Tuned]], settings: FinetuneConfig) -> None:
    """Nor do other learning rates, class weights, and numbers of slices."""
    tune(settings)
    before = take_steps._cache_size()
    lesion = np.zeros((4, 24, 20), bool)
    lesion[2:, 5:9, 8:12] = True
    tune(settings, subject="P7", lesion=lesion)
    tune(replace(settings, learning_rate=0.001, class_weights=(1.0, 2.0)), subject="P8")
    assert take_steps._cache_size() == before


def test_a_step_is_compiled_once_also_for_a_restored_network(
    tiny: Network, base: Variables, make_scan: MakeScan, settings: FinetuneConfig, tmp_path: Path
) -> None:
    save_tree(tmp_path / "network", base._asdict())
    restored = Variables(**restore_tree(tmp_path / "network", tiny.shapes._asdict(), what="the network"))
    before = take_steps._cache_size()
    alone = replace(settings, patches=replace(settings.patches, batch=3))  # compiled by no other test
    finetune(tiny, restored, "P1", [Annotated(make_scan())], [alone], seed=1)
    assert take_steps._cache_size() == before + 1
