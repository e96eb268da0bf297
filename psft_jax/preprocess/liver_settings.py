"""What can be chosen in the preprocessing of the liver; the defaults are the paper's (section 2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from psft_jax.errors import check_fields
from psft_jax.preprocess.groupwise import GroupwiseSettings
from psft_jax.preprocess.liver_diffusion import DiffusionSettings


@dataclass(frozen=True)
class LiverSettings:
    """How a liver examination is prepared.

    Args:
        shape: voxels of the outputs along (Z, Y, X), around the middle of the DCE-MRI.
        spacing_mm: their size along (Z, Y, X).
        groupwise: how the phases of the DCE-MRI are registered.
        diffusion: how the diffusion scan is registered to them.
        margin_mm: how far around the liver the images are to fit, where there is a mask of it.
        masks_from_phase: the phase, from 0, on which masks were drawn; None where they were drawn on a series
            without motion, and fit the mean position of all phases.
        resample_masks: bring masks on another grid than the DCE-MRI's onto it, by the nearest voxel.
        threads: how many work on a subject. With another number, sums run in another order, so that the
            results differ a little.

    Raises:
        InputError: a value that cannot be.
    """

    shape: tuple[int, int, int] = (100, 256, 256)
    spacing_mm: tuple[float, float, float] = (2.0, 1.543, 1.543)
    groupwise: GroupwiseSettings = field(default_factory=GroupwiseSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    margin_mm: float = 10.0
    masks_from_phase: int | None = None
    resample_masks: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        phase = self.masks_from_phase
        valid = {
            "shape": (min(self.shape) >= 8, "8 or more along each axis"),
            "spacing_mm": (min(self.spacing_mm) > 0, "above 0"),
            "margin_mm": (self.margin_mm >= 0, "0 or more"),
            "masks_from_phase": (phase is None or phase >= 0, "a phase, from 0, or none"),
            "threads": (self.threads > 0, "1 or more"),
        }
        check_fields(self, valid, remedy="Correct it, or leave it at its default.")
