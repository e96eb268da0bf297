"""The network as pure functions of its variables: the only place where NNX modules are split and merged.

Variables are two plain nested dictionaries, ``params`` and ``batch_stats``, each with the branches ``trunk``
and ``head``. Everything here may stand under ``jax.jit``, ``jax.grad``, ``jax.vmap`` and ``jax.lax.scan``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from psft_jax.errors import InputError
from psft_jax.model.config import PNetConfig
from psft_jax.model.folded import (
    NO_MARGINS,
    FoldedHead,
    FoldedTrunk,
    Margins,
    Tree,
    apply_folded,
    fold,
    fold_head,
)
from psft_jax.model.pnet import DualPathwayPNet, Head, Images, Trunk
from psft_jax.model.precision import Precision
from psft_jax.scan import Scan


class Variables(NamedTuple):
    """All that a network holds: trainable parameters and the running averages of batch normalisation."""

    params: Tree
    batch_stats: Tree


@dataclass(frozen=True)
class Network:
    """A dual-pathway P-Net without its values; hashable, so that compiled functions can be kept per network.

    Args:
        config: the architecture.
        channels: input channels of the two pathways.
        precision: of the arithmetic; variables are float32 in any case.
    """

    config: PNetConfig
    channels: tuple[int, int]
    precision: Precision = Precision.FLOAT32

    def check_channels(self, scan: Scan) -> None:
        """Make sure that a scan has the channels of the two pathways.

        Raises:
            InputError: it has others.
        """
        if scan.channels != self.channels:
            raise InputError(
                scan.name,
                found=f"{scan.channels} channels in the two sequences",
                expected=f"{self.channels}, which the network was trained on",
                remedy="Use a base CNN of the same task and channel groups.",
            )

    def init(self, key: Array) -> Variables:
        """Fresh variables: He uniform kernels, zero biases, identity batch normalisation."""
        model = DualPathwayPNet(self.channels, self.config, self.precision, rngs=nnx.Rngs(params=key))
        return Variables(_pure(model, nnx.Param), _pure(model, nnx.BatchStat))

    def trunk(
        self, variables: Variables, images: Images, *, train: bool = False
    ) -> tuple[Float[Array, "b y x f"], Tree]:
        """The fused feature maps, and the trunk's BN statistics after them.

        Args:
            variables: of the whole network.
            images: the two sequences, (B, Y, X, C) each.
            train: normalise by the batch and update the running averages, instead of using them.
        """
        model = _merge(self._trunk, variables, "trunk")
        return model(images, train=train), _pure(model, nnx.BatchStat)

    def fold(self, variables: Variables) -> FoldedTrunk:
        """The trunk with its batch normalisation folded into its convolutions; it can no longer train."""
        return fold(variables.params["trunk"], variables.batch_stats["trunk"], self.config)

    def folded_trunk(
        self, trunk: FoldedTrunk, images: Images, margins: Margins = NO_MARGINS
    ) -> Float[Array, "b y2 x2 f"]:
        """The fused feature maps of a trunk that ``fold`` gave, in the network's precision.

        Args:
            trunk: of ``fold``.
            images: the two sequences, (B, Y, X, C) each.
            margins: what of the images lies around the region whose features are wanted.
        """
        return apply_folded(trunk, images, self.config, self.precision, margins)

    def fold_head(self, variables: Variables) -> FoldedHead:
        """The head with its batch normalisation folded in; only the branch ``head`` is read."""
        return fold_head(variables.params["head"], variables.batch_stats["head"], self.config)

    def head(
        self,
        variables: Variables,
        features: Float[Array, "*b f"],
        *,
        train_norm: bool = False,
        dropout_key: Array | None = None,
    ) -> tuple[Float[Array, "*b 2"], Tree]:
        """Logits of background and lesion, and the head's BN statistics after them.

        Args:
            variables: of the whole network; only the branch ``head`` is read.
            features: what ``trunk`` gave, for any set of pixels.
            train_norm: normalise by the batch and update the running averages, instead of using them.
            dropout_key: draws the two dropout masks; without it there is no dropout.
        """
        model = _merge(self._head, variables, "head")
        return model(features, train_norm=train_norm, dropout_key=dropout_key), _pure(model, nnx.BatchStat)

    def apply(
        self,
        variables: Variables,
        images: Images,
        *,
        train: bool = False,
        dropout_key: Array | None = None,
    ) -> tuple[Float[Array, "b y x 2"], Tree]:
        """Trunk and head: the logits, and all BN statistics after them."""
        features, trunk_stats = self.trunk(variables, images, train=train)
        logits, head_stats = self.head(variables, features, train_norm=train, dropout_key=dropout_key)
        return logits, {"trunk": trunk_stats, "head": head_stats}

    @cached_property
    def shapes(self) -> Variables:
        """The variables as ``jax.ShapeDtypeStruct``, without computing them."""
        return jax.eval_shape(self.init, jax.random.key(0))

    @cached_property
    def parameter_count(self) -> int:
        """Number of trainable parameters (973,442 for the paper's network with one channel a pathway)."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.shapes.params))

    @cached_property
    def _trunk(self) -> nnx.GraphDef:
        return _graph(lambda: Trunk(self.channels, self.config, self.precision, rngs=nnx.Rngs(0)))

    @cached_property
    def _head(self) -> nnx.GraphDef:
        return _graph(lambda: Head(self.config, self.precision, rngs=nnx.Rngs(0)))


def _graph(build: Any) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(build))[0]


def _merge(graph: nnx.GraphDef, variables: Variables, branch: str) -> Any:
    params = jax.tree.map(nnx.Param, variables.params[branch])
    batch_stats = jax.tree.map(nnx.BatchStat, variables.batch_stats[branch])
    state = nnx.merge_state(nnx.State(params), nnx.State(batch_stats))
    return nnx.merge(graph, state)


def _pure(model: nnx.Module, kind: type[nnx.Variable]) -> Tree:
    """A plain nested dictionary of the module's variables of one kind."""
    return nnx.to_pure_dict(nnx.state(model, kind))
