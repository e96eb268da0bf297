"""The settings of fine-tuning, and their names in tables."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from psft_jax.errors import check_fields
from psft_jax.model.leaves import Scope
from psft_jax.sampling.patches import PatchConfig
from psft_jax.sampling.selection import SliceSelection
from psft_jax.training.weighting import Weighting


@dataclass(frozen=True)
class FinetuneConfig:
    """One variant of fine-tuning; the defaults are the paper's (section 2.3).

    Args:
        iterations: optimiser steps; 0 leaves the base network as it is.
        learning_rate: of Adam.
        class_weights: of background and lesion in the loss. A weight of 5 draws the head towards larger
            masks, a weight of 1 towards tighter ones.
        scope: which parameters train.
        patches: how patches are cut.
        slices: which slices of the baseline they are cut from.
        weighting: weigh pixels by the base CNN's result on the baseline, in place of the class weights.

    Raises:
        InputError: a number is out of its range.
    """

    iterations: int = 100
    learning_rate: float = 1e-4
    class_weights: tuple[float, float] = (1.0, 5.0)
    scope: Scope = Scope.LAST2
    patches: PatchConfig = field(default_factory=PatchConfig)
    slices: SliceSelection = field(default_factory=SliceSelection)
    weighting: Weighting = Weighting.NONE

    def __post_init__(self) -> None:
        background, lesion = self.class_weights
        check_fields(
            self,
            {
                "iterations": (self.iterations >= 0, "0 (the base network) or more"),
                "learning_rate": (self.learning_rate > 0, "more than 0"),
                "class_weights": (background > 0 and lesion > 0, "two weights of more than 0"),
            },
            remedy="See conf/finetune/paper.yaml for the paper's values.",
        )

    @property
    def needs_result(self) -> bool:
        """Whether it asks what the base CNN makes of the baseline."""
        return self.slices.count is not None or self.weighting is not Weighting.NONE

    @property
    def differences(self) -> tuple[str, ...]:
        """What differs from the paper's setting, in words.

        >>> FinetuneConfig(iterations=50, class_weights=(1.0, 1.0)).differences
        ('50 iterations', 'class weight 1')
        """
        usual = FinetuneConfig()
        words = {
            "iterations": f"{self.iterations} iteration{'' if self.iterations == 1 else 's'}",
            "slices": self.slices.words,
            "weighting": f"weighted for {self.weighting}",
            "class_weights": _class_weights(*self.class_weights),
            "scope": f"scope {self.scope}",
            "learning_rate": f"learning rate {self.learning_rate:g}",
        }
        if self.weighting is not Weighting.NONE:
            del words["class_weights"]  # the scheme takes their place
        own = [text for name, text in words.items() if getattr(self, name) != getattr(usual, name)]
        return (*own, *_patch_differences(self.patches, usual.patches))


def _patch_differences(patches: PatchConfig, usual: PatchConfig) -> list[str]:
    values = {entry.name.replace("_", " "): getattr(patches, entry.name) for entry in fields(PatchConfig)}
    common = [getattr(usual, entry.name) for entry in fields(PatchConfig)]
    return [
        name if value is True else f"{name} {value}"
        for (name, value), other in zip(values.items(), common, strict=True)
        if value != other
    ]


def _class_weights(background: float, lesion: float) -> str:
    ratio = "class weight " if background == 1.0 else f"class weights {background:g} and "
    return f"{ratio}{lesion:g}"
