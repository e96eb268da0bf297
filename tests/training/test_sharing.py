"""Fine-tuning that shares its work: kept features, patients and steps in one call, one compilation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from psft_jax.model.leaves import Scope
from psft_jax.model.network import Network, Variables
from psft_jax.model.precision import Precision
from psft_jax.scan import Scan
from psft_jax.training.checkpoints import restore_tree, save_tree
from psft_jax.training.drawing import _draw, cut_all
from psft_jax.training.features import _filled, _images
from psft_jax.training.finetune import Execution, Subject, Tuned, finetune, finetune_all
from psft_jax.training.material import Annotated
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.steps import take_steps
from tests.training.comparing import close, equal

MakeScan = Callable[..., Scan]


def test_kept_features_change_nothing(tune: Callable[..., list[Tuned]], settings: FinetuneConfig) -> None:
    """Ten patches at two angles, drawn twenty times. A variant that cuts other patches runs by itself.

    Kept in float32; and not kept. Over more steps also some at a time, in float32 and, where the budget is
    smaller, in bfloat16.
    """
    banked = replace(settings, iterations=10, patches=replace(settings.patches, angle_bank=2))
    entry = 81 * 16 * 4
    kept, other = tune(banked, settings)
    equal(other, tune(settings)[0])
    assert (kept.losses[:5] != other.losses).all()
    (anew,) = tune(banked, execution=Execution(feature_bytes=0))
    close(kept, anew)
    longer = replace(banked, iterations=40, patches=replace(settings.patches, angle_bank=1))
    (anew,) = tune(longer, execution=Execution(feature_bytes=0))
    (some,) = tune(longer, execution=Execution(feature_bytes=8 * entry))
    close(some, anew)
    (streamed,) = tune(longer, execution=Execution(feature_bytes=int(2.5 * entry)))
    np.testing.assert_allclose(streamed.losses[:10], anew.losses[:10], rtol=5e-3)
    assert (streamed.losses != anew.losses).any()


def test_patients_together_are_as_each_alone(
    tiny: Network,
    base: Variables,
    make_scan: MakeScan,
    settings: FinetuneConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three patients with other numbers of slices and other frames; three scopes, and kept features."""
    lesion = np.zeros((4, 24, 20), bool)
    lesion[:, 9:12, 8:12] = True
    subjects = [
        Subject("P1", [Annotated(make_scan())]),
        Subject("P2", [Annotated(make_scan(subject="P2", lesion=lesion))]),
        Subject("P3", [Annotated(make_scan((4, 30, 22), subject="P3"))]),
    ]
    banked = replace(settings, iterations=10, patches=replace(settings.patches, angle_bank=1))
    variants = [
        settings,
        replace(settings, iterations=2, class_weights=(1.0, 1.0)),
        replace(settings, scope=Scope.HEAD_BN, learning_rate=0.01),
        replace(settings, scope=Scope.ALL, iterations=2),
        banked,
    ]
    with caplog.at_level("INFO"):
        together = finetune_all(tiny, base, subjects, variants, seed=1)
    assert re.search("(\\d+) of \\1 different patches kept in float32 .* 60 drawn", caplog.text)
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


def test_in_bfloat16_heads_follow_those_of_float32(
    tiny: Network, base: Variables, make_scan: MakeScan, settings: FinetuneConfig
) -> None:
    """Drawn anew, from a bank, and with all layers trained; weights stay float32."""
    banked = replace(settings, patches=replace(settings.patches, angle_bank=1))
    variants = (settings, banked, replace(settings, scope=Scope.ALL))
    exact, found = (
        finetune(replace(tiny, precision=precision), base, "P1", [Annotated(make_scan())], variants, seed=1)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=0.05)
        assert (one.losses != other.losses).all()
        assert {leaf.dtype for leaf in jax.tree.leaves(one.variables)} == {np.dtype("float32")}


def compiled() -> tuple[int, ...]:
    """How many programs there are: those that train, then those that cut patches and draw them."""
    return tuple(program._cache_size() for program in (take_steps, _filled, cut_all, _images, _draw))


def test_another_patient_compiles_nothing(tune: Callable[..., list[Tuned]], settings: FinetuneConfig) -> None:
    """With another plane and 15 slices with lesions instead of 2, kept features or not. Nor do another
    learning rate and other class weights."""
    banked = replace(settings, iterations=10, patches=replace(settings.patches, angle_bank=1))
    batched = replace(banked, iterations=40)
    tune(settings)
    tune(banked)
    tune(batched, lesion=everywhere((4, 24, 20)))
    before = compiled()
    shape = (15, 31, 27)
    tune(settings, subject="P7", shape=shape, lesion=everywhere(shape))
    tune(replace(settings, learning_rate=0.001, class_weights=(1.0, 2.0)), subject="P8")
    lesion = np.zeros((4, 24, 20), bool)
    lesion[1:, 5:9, 8:12] = True
    tune(banked, subject="P7", lesion=lesion)
    tune(batched, subject="P7", shape=(6, 31, 27), lesion=everywhere((6, 31, 27)))  # 30 of 32 slots
    assert compiled() == before


def test_a_far_larger_patient_compiles_the_cutting_of_patches_alone(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig
) -> None:
    tune(settings)
    before = compiled()
    shape = (17, 40, 30)
    tune(settings, subject="P7", shape=shape, lesion=everywhere(shape))
    assert np.subtract(compiled(), before).tolist() == [0, 0, 1, 0, 0]


def everywhere(shape: tuple[int, int, int]) -> np.ndarray:
    """A lesion in every slice."""
    lesion = np.zeros(shape, bool)
    lesion[:, 5:9, 8:12] = True
    return lesion


def test_a_step_is_compiled_once_also_for_a_restored_network(
    tiny: Network, base: Variables, make_scan: MakeScan, settings: FinetuneConfig, tmp_path: Path
) -> None:
    save_tree(tmp_path / "network", base._asdict())
    restored = Variables(**restore_tree(tmp_path / "network", tiny.shapes._asdict(), what="the network"))
    for angle_bank in (0, 1):
        before = take_steps._cache_size()
        patches = replace(settings.patches, batch=3, angle_bank=angle_bank)  # compiled by no other test
        alone = replace(settings, iterations=10, patches=patches)
        finetune(tiny, restored, "P1", [Annotated(make_scan())], [alone], seed=1)
        assert take_steps._cache_size() == before + 1


def test_calls_are_shortened_to_what_can_be_kept(
    tune: Callable[..., list[Tuned]], settings: FinetuneConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Eight steps want more patches than the six that there is room for in bfloat16; two steps do not."""
    banked = replace(settings, iterations=16, patches=replace(settings.patches, angle_bank=1))
    entry = 81 * 16 * 4
    with caplog.at_level("INFO"):
        (found,) = tune(banked, execution=Execution(8, feature_bytes=3 * entry))
        (anew,) = tune(banked, execution=Execution(8, feature_bytes=0))
    assert re.search("[36] of 10 different patches kept", caplog.text)
    assert "computed anew in every step" in caplog.text
    np.testing.assert_allclose(found.losses, anew.losses, rtol=5e-3)
