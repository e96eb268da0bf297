"""The settings of base training."""

from __future__ import annotations

from dataclasses import dataclass, field

from psft_jax.errors import check_fields
from psft_jax.sampling.patches import PatchConfig


@dataclass(frozen=True)
class TrainConfig:
    """Base training; the defaults are the paper's (section 2.2).

    Args:
        iterations: optimiser steps.
        learning_rate: of Adam.
        class_weights: of background and lesion in the loss.
        validation_fraction: part of the slices that is held out.
        validate_every: steps between two validations, each of which writes a checkpoint.
        validation_patches: fixed, unrotated patches that make the validation loss.
        patches: how patches are cut.

    Raises:
        InputError: a number is out of its range.
    """

    iterations: int = 10_000
    learning_rate: float = 1e-4
    class_weights: tuple[float, float] = (1.0, 5.0)
    validation_fraction: float = 0.15
    validate_every: int = 250
    validation_patches: int = 64
    patches: PatchConfig = field(default_factory=PatchConfig)

    def __post_init__(self) -> None:
        background, lesion = self.class_weights
        check_fields(
            self,
            {
                "iterations": (self.iterations >= 1, "at least 1"),
                "learning_rate": (self.learning_rate > 0, "more than 0"),
                "class_weights": (background > 0 and lesion > 0, "two weights of more than 0"),
                "validation_fraction": (0 < self.validation_fraction < 1, "a fraction between 0 and 1"),
                "validate_every": (self.validate_every >= 1, "at least 1 iteration"),
                "validation_patches": (self.validation_patches >= 1, "at least 1"),
            },
            remedy="See conf/train/paper.yaml for the paper's values.",
        )
