"""Which parameters train: every leaf matches one pattern, every pattern matches a leaf, or it raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import jax

from psft_jax.model.network import Tree

TRAINED = "trained"
FROZEN = "frozen"


class Scope(StrEnum):
    """What fine-tuning trains (section 2.3)."""

    LAST2 = "last2"
    """The two 1x1 convolutions; batch normalisation and all else frozen. The paper's, in our reading."""
    HEAD_BN = "head_bn"
    """Also the batch normalisation between them: its scale, its shift, and batch statistics."""
    ALL = "all"
    """Every layer, with batch normalisation on batch statistics, as the published script probably does."""

    @property
    def patterns(self) -> dict[str, str]:
        """Regular expression of a leaf's path -> label."""
        return {
            Scope.LAST2: {r"head/conv\d/.*": TRAINED, r"head/norm/.*": FROZEN, r"trunk/.*": FROZEN},
            Scope.HEAD_BN: {r"head/.*": TRAINED, r"trunk/.*": FROZEN},
            Scope.ALL: {r".*": TRAINED},
        }[self]

    @property
    def trains_trunk(self) -> bool:
        """Whether the trunk's features change during fine-tuning."""
        return self is Scope.ALL

    @property
    def trains_head_norm(self) -> bool:
        """Whether the head's batch normalisation runs on batch statistics."""
        return self is not Scope.LAST2


def leaf_path(path: tuple[object, ...]) -> str:
    """The path of a leaf as one string, for instance ``head/conv1/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def label_leaves(tree: Tree, patterns: Mapping[str, str]) -> Tree:
    """A label for each leaf, as ``optax.multi_transform`` wants it.

    Args:
        tree: parameters (or their shapes).
        patterns: regular expression -> label; it must match a leaf's whole path.

    Returns:
        The tree with labels for leaves.

    Raises:
        ValueError: a leaf matches no pattern or several, or a pattern matches no leaf.
    """
    used: set[str] = set()

    def label(path: tuple[object, ...], _: object) -> str:
        name = leaf_path(path)
        matches = [pattern for pattern in patterns if re.fullmatch(pattern, name)]
        if len(matches) != 1:
            raise ValueError(f"parameter {name} matches {len(matches)} patterns {matches}; it must match one")
        used.add(matches[0])
        return patterns[matches[0]]

    labels: Tree = jax.tree_util.tree_map_with_path(label, tree)
    unused = sorted(set(patterns) - used)
    if unused:
        raise ValueError(f"patterns {unused} match no parameter")
    return labels
