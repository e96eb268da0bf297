"""Every leaf has one label, and no pattern is idle."""

from __future__ import annotations

import jax
import pytest

from psft_jax.model.config import PNetConfig
from psft_jax.model.leaves import FROZEN, TRAINED, Scope, label_leaves, leaf_path
from psft_jax.model.network import Network

TREE = {"head": {"conv1": {"kernel": 0.0, "bias": 0.0}}, "trunk": {"kernel": 0.0}}


def test_labels_stand_where_the_leaves_stood() -> None:
    assert label_leaves(TREE, {r"head/.*/kernel": "a", r"head/.*/bias": "b", r"trunk/.*": "c"}) == {
        "head": {"conv1": {"kernel": "a", "bias": "b"}},
        "trunk": {"kernel": "c"},
    }


def test_a_leaf_without_a_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="trunk/kernel matches 0 patterns"):
        label_leaves(TREE, {r"head/.*": TRAINED})


def test_a_leaf_with_two_patterns_is_named() -> None:
    with pytest.raises(ValueError, match="head/conv1/kernel matches 2 patterns"):
        label_leaves(TREE, {r"head/.*": TRAINED, r".*kernel": FROZEN, r"trunk/bias": FROZEN})


def test_a_pattern_must_match_the_whole_path() -> None:
    with pytest.raises(ValueError, match="matches 0 patterns"):
        label_leaves(TREE, {r"head/.*": TRAINED, r"trunk": FROZEN})


def test_an_idle_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="conv7"):
        label_leaves(TREE, {r".*": TRAINED, r"head/conv7/.*": FROZEN})


@pytest.mark.parametrize(
    ("scope", "trained"),
    [
        (Scope.LAST2, {"head/conv1/kernel", "head/conv1/bias", "head/conv2/kernel", "head/conv2/bias"}),
        (
            Scope.HEAD_BN,
            {
                *("head/conv1/kernel", "head/conv1/bias", "head/conv2/kernel", "head/conv2/bias"),
                *("head/norm/scale", "head/norm/bias"),
            },
        ),
    ],
)
def test_what_a_scope_trains_of_the_papers_network(scope: Scope, trained: set[str]) -> None:
    params = Network(PNetConfig(), (1, 1)).shapes.params
    labels = jax.tree_util.tree_leaves_with_path(label_leaves(params, scope.patterns))
    assert {leaf_path(path) for path, label in labels if label == TRAINED} == trained
    assert {label for _, label in labels} == {TRAINED, FROZEN}


def test_the_last_two_layers_hold_82306_parameters() -> None:
    params = Network(PNetConfig(), (1, 1)).shapes.params
    labels = label_leaves(params, Scope.LAST2.patterns)
    sizes = jax.tree.map(lambda leaf, label: leaf.size * (label == TRAINED), params, labels)
    assert sum(jax.tree.leaves(sizes)) == 82_306


def test_the_scope_all_trains_all() -> None:
    params = Network(PNetConfig(), (6, 3)).shapes.params
    assert set(jax.tree.leaves(label_leaves(params, Scope.ALL.patterns))) == {TRAINED}
