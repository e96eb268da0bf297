"""How large the measured work is: the paper's, or so small that a test can run it.

What both sides import knows neither JAX nor PyTorch, so that a side's process holds its own library alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psft_jax.model.config import PNetConfig


class Size(NamedTuple):
    """A network, a scan and patches.

    Args:
        model: the architecture.
        shape: (Z, Y, X) voxels of the phantom.
        patch: side of a patch in pixels.
        batch: patches in a minibatch.
    """

    model: PNetConfig
    shape: tuple[int, int, int]
    patch: int = 128
    batch: int = 4


Arguments = dict[str, Any]
CHANNELS = (1, 1)
"""Input channels of the two pathways: FLAIR and T1."""
SEED = 0
ROTATION_DEG = 45.0
LEARNING_RATE = 1e-4
CLASS_WEIGHTS = (1.0, 5.0)
SIZES = {
    "full": Size(PNetConfig(), (48, 240, 240)),
    "quick": Size(PNetConfig(dilations=((1,), (2,)), width=8, head_width=16), (12, 60, 60), patch=32),
}


@dataclass(frozen=True)
class Job:
    """What one side is asked to do for a row, and which share of the row's work that is.

    Args:
        work: the side's method.
        arguments: of the method.
        done: how much of it is done, in units.
        whole: how much of it the row speaks of.
        unit: of both.
        warm: arguments of a shorter run beforehand, which is not counted; nothing without.
    """

    work: str
    arguments: Arguments
    done: int = 1
    whole: int = 1
    unit: str = ""
    warm: Arguments = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """What the measured time is multiplied by."""
        return self.whole / self.done

    @property
    def words(self) -> str:
        """The share, as the table says it.

        >>> Job("finetune", {}, 5, 100, "iterations").words
        '5 of 100 iterations'
        """
        return "all" if self.done == self.whole else f"{self.done} of {self.whole} {self.unit}"
