"""What can be set of the brain's preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from psft_jax.errors import check_fields

_REMEDY = "Correct it."


class BrainSource(StrEnum):
    """Where the brain mask of a visit comes from that has none of its own."""

    DEEPBET = "deepbet"
    """A network finds it on the T1."""
    NONZERO = "nonzero"
    """The FLAIR has been skull-stripped: the brain is where it is not 0."""


@dataclass(frozen=True)
class BiasFieldSettings:
    """N4 (``psft_jax.preprocess.bias_field``).

    Args:
        voxel_mm: the field is fitted to the image shrunk to voxels of about this side. Smaller ones take
            longer and change little.
        iterations: at most, at each level; each level halves the distance between the spline's knots.
        convergence: a level ends when the field changes by less than this (coefficient of variation).
    """

    voxel_mm: float = 4.0
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    convergence: float = 1e-3

    def __post_init__(self) -> None:
        valid = {
            "voxel_mm": (self.voxel_mm > 0, "more than 0"),
            "iterations": (bool(self.iterations) and min(self.iterations) >= 1, "1 or more at each level"),
            "convergence": (self.convergence > 0, "more than 0"),
        }
        check_fields(self, valid, remedy=_REMEDY)


@dataclass(frozen=True)
class RegistrationSettings:
    """Rigid registration by mutual information (``psft_jax.preprocess.registration``).

    Args:
        smoothing_mm: standard deviation of the Gaussian that both images are smoothed with, at each level.
        samples: points at which the two images are compared.
        bins: of the joint histogram, along each axis.
        iterations: at most, at each level; each searches along six directions.
        margin_mm: how far around the brain the images are compared.
        seed: of the places of the samples.
    """

    smoothing_mm: tuple[float, ...] = (4.0, 2.0, 0.0)
    samples: int = 30_000
    bins: int = 32
    iterations: int = 20
    margin_mm: float = 5.0
    seed: int = 1

    def __post_init__(self) -> None:
        valid = {
            "smoothing_mm": (bool(self.smoothing_mm) and min(self.smoothing_mm) >= 0, "0 or more a level"),
            "samples": (self.samples >= 1000, "at least 1000"),
            "bins": (self.bins >= 5, "at least 5"),
            "iterations": (self.iterations >= 1, "at least 1"),
            "margin_mm": (self.margin_mm >= 0, "0 or more"),
            # 0 asks SimpleITK for the time of day.
            "seed": (self.seed >= 1, "at least 1"),
        }
        check_fields(self, valid, remedy=_REMEDY)


@dataclass(frozen=True)
class BrainSettings:
    """The brain's preprocessing (section 2.1.2 of the paper).

    Args:
        brain: where the brain mask comes from for visits that have none of their own.
        resample_masks: brain and lesion masks that were drawn on another grid than the FLAIR's are brought
            onto it by the nearest voxel, those on the T1's grid along with the T1; without it they are
            refused.
        ignored_label: a label of the lesion masks that is no lesion, such as the other pathology (2) of the
            WMH challenge. Its voxels leave the brain mask.
        skull_strip: set the images to 0 outside the brain, as the images are that the networks were made on.
        resample: bring all onto a grid of ``shape`` and ``spacing_mm`` around the brain, along the FLAIR's
            own axes; without it the grid is the FLAIR's.
        shape: of that grid, voxels along (Z, Y, X).
        spacing_mm: of that grid, along (Z, Y, X).
        bias_field, registration: of these two steps.
        threads: how many work on one subject. With another number sums run in another order, so that the
            results differ a little.
    """

    brain: BrainSource = BrainSource.DEEPBET
    resample_masks: bool = False
    ignored_label: int | None = None
    skull_strip: bool = True
    resample: bool = False
    shape: tuple[int, int, int] = (48, 240, 240)
    spacing_mm: tuple[float, float, float] = (3.0, 0.958, 0.958)
    bias_field: BiasFieldSettings = field(default_factory=BiasFieldSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    threads: int = 1

    def __post_init__(self) -> None:
        valid = {
            "shape": (min(self.shape) >= 2, "at least 2 voxels along each axis"),
            "spacing_mm": (min(self.spacing_mm) > 0, "more than 0 along each axis"),
            "threads": (self.threads >= 1, "at least 1"),
        }
        check_fields(self, valid, remedy=_REMEDY)
