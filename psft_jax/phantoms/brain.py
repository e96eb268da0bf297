"""A generated cohort of ageing brains with white matter hyperintensities, for use without any download.

Assumption, and it is that of the paper: *a patient's images look alike from visit to visit, and patients
differ*. In this phantom

* what differs between patients and persists within one is the shape of the brain, its ventricles and sulci;
  the signal of each tissue; how bright lesions are, how their edge and surround look; which septum, choroid
  plexus and flow artefacts are bright; and the lesions themselves, each with its place, shape and brightness;
* what is drawn anew at each visit is the position of the head, the bias field, the noise and the gain;
* what changes with time is that each lesion grows, or shrinks, and that new ones appear.

How much the patients differ is set by the ranges in the parameters below, which were chosen after what such
images look like, before anything was trained on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise

import numpy as np

from psft_jax.errors import InputError
from psft_jax.phantoms.brain_anatomy import (
    FIELD_OF_VIEW_MM,
    AnatomyParameters,
    Grid,
    draw_anatomy,
    position,
    tissue,
)
from psft_jax.phantoms.brain_contrast import ContrastParameters, draw_contrast, signal
from psft_jax.phantoms.brain_lesions import LesionParameters, draw_lesions, follow_up_lesions
from psft_jax.phantoms.brain_painting import paint
from psft_jax.phantoms.fields import bias_field, rician
from psft_jax.rng import generator
from psft_jax.scan import Cohort, Image, Mask, Patient, Provenance, Scan, Sequence, Visit, Volume

SEQUENCES = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))
_SIGNED = ("growth_log_mean", "flair_texture")  # the parameters that may be negative
_POSITIVE = ("size", "count", "load_ml", "halo_mm", "dirty_mm", "bias_mm", "white_matter")
_COARSEST = (12, 60, 60)  # voxels of 12 x 4 x 4 mm
_BASELINE, _FOLLOW_UP = "baseline", "follow_up"


@dataclass(frozen=True)
class AcquisitionParameters:
    """What is drawn at each visit.

    Args:
        rotation_deg: standard deviation of the head's rotation about each axis.
        shift_mm: standard deviation of its shift along each axis.
        bias: standard deviation of the logarithm of the receive coil's gain over the brain.
        bias_mm: how far that gain stays alike.
        flair_noise, t1_noise: range of the noise's standard deviation, against white matter at 1.
        gain_log_sd: standard deviation of the logarithm of the scanner's gain.
        white_matter: median signal of white matter in the scanner's units.
    """

    rotation_deg: float = 3.0
    shift_mm: float = 3.0
    bias: float = 0.08
    bias_mm: float = 50.0
    flair_noise: tuple[float, float] = (0.03, 0.05)
    t1_noise: tuple[float, float] = (0.02, 0.04)
    gain_log_sd: float = 0.3
    white_matter: float = 300.0


Parameters = AnatomyParameters | LesionParameters | ContrastParameters | AcquisitionParameters


@dataclass(frozen=True)
class BrainPhantomSettings:
    """The brain cohort.

    Args:
        n_training: patients with one visit, to train the base CNN.
        n_test: patients with a baseline and a follow-up about two years later.
        seed: each patient and visit is a function of this, its name and the parameters; not of the other
            patients.
        shape: (Z, Y, X) voxels of the fixed field of view of 144 x 230 x 230 mm. The default has the paper's
            voxels, 3 x 0.958 x 0.958 mm; (24, 120, 120) is the small size.
        anatomy, lesions, contrast, acquisition: the parameters of the generative model.

    Raises:
        InputError: a number of patients is negative, there are none at all, or the grid is too coarse to
            show a brain; or a parameter is not finite, negative where it cannot be, or a range that does not
            ascend.
    """

    n_training: int = 20
    n_test: int = 10
    seed: int = 0
    shape: tuple[int, int, int] = (48, 240, 240)
    anatomy: AnatomyParameters = field(default_factory=AnatomyParameters)
    lesions: LesionParameters = field(default_factory=LesionParameters)
    contrast: ContrastParameters = field(default_factory=ContrastParameters)
    acquisition: AcquisitionParameters = field(default_factory=AcquisitionParameters)

    def __post_init__(self) -> None:
        if self.n_training < 0 or self.n_test < 0 or self.n_training + self.n_test == 0:
            raise InputError(
                "brain phantom",
                found=f"{self.n_training} training and {self.n_test} test patients",
                expected="at least one patient, and no negative number",
                remedy="Set n_training and n_test.",
            )
        if any(n < least for n, least in zip(self.shape, _COARSEST, strict=True)):
            raise InputError(
                "brain phantom",
                found=f"a grid of {self.shape} voxels",
                expected=f"at least {_COARSEST} in the field of view of {FIELD_OF_VIEW_MM} mm",
                remedy="Use (24, 120, 120) for small experiments and (48, 240, 240) for the paper's voxels.",
            )
        for group in (self.anatomy, self.lesions, self.contrast, self.acquisition):
            _check_parameters(group)


def _check_parameters(group: Parameters) -> None:
    """Ranges ascend, and what is a size, a spread or a number is not negative."""
    for f in fields(group):
        value = getattr(group, f.name)
        numbers = value if isinstance(value, tuple) else (value,)
        valid, expected = min(numbers) >= 0, "not below 0"
        if f.name in _SIGNED:
            valid, expected = True, "of either sign"
        elif f.name in _POSITIVE:
            valid, expected = min(numbers) > 0, "above 0"
        ascends = all(low <= high for low, high in pairwise(numbers))
        if not (valid and ascends and np.isfinite(numbers).all()):
            raise InputError(
                f"brain phantom, {type(group).__name__}.{f.name}",
                found=f"{value}",
                expected=f"finite numbers {expected}, ascending if several",
                remedy="Correct the parameter, or leave it out for its default.",
            )


def brain_cohort(settings: BrainPhantomSettings) -> Cohort:
    """The cohort; a visit is generated when it is loaded, in a few seconds at full size.

    Args:
        settings: how many patients, how large, and the parameters of the generative model.

    Returns:
        Patients ``brain-train-000`` ... with the visit ``baseline``, and ``brain-test-000`` ... with
        ``baseline`` and ``follow_up``.
    """

    def patients(kind: str, n: int, sessions: tuple[str, ...]) -> tuple[Patient, ...]:
        subjects = [f"brain-{kind}-{i:03d}" for i in range(n)]
        return tuple(
            Patient(s, tuple(Visit(s, session, partial(_scan, settings, s, session)) for session in sessions))
            for s in subjects
        )

    return Cohort(
        name="brain phantom",
        provenance=Provenance.PHANTOM,
        sequences=SEQUENCES,
        training=patients("train", settings.n_training, (_BASELINE,)),
        test=patients("test", settings.n_test, (_BASELINE, _FOLLOW_UP)),
    )


def _scan(settings: BrainPhantomSettings, subject: str, session: str) -> Scan:
    """One visit, from the named streams of its patient and of the visit."""
    stream = partial(generator, settings.seed, "brain", subject)
    anatomy = draw_anatomy(stream("anatomy"), settings.anatomy)
    contrast = draw_contrast(stream("contrast"), settings.contrast)
    lesions = draw_lesions(stream("lesions"), settings.lesions, anatomy)
    if session == _FOLLOW_UP:
        lesions = follow_up_lesions(stream("lesions", session), settings.lesions, anatomy, lesions)

    acquisition, rng = settings.acquisition, stream(session, "position")
    grid = position(
        settings.shape, rng.normal(0, acquisition.rotation_deg, 3), rng.normal(0, acquisition.shift_mm, 3)
    )
    content = tissue(anatomy, grid)
    painted = paint(lesions, grid, content.wm, contrast.profile)
    lesion = (painted.fraction > 0.5) & content.brain
    flair, t1 = signal(content, painted, contrast, grid)
    return Scan(
        subject=subject,
        session=session,
        sequences=(
            _acquired(
                flair, content.brain, grid, acquisition, acquisition.flair_noise, stream(session, "FLAIR")
            ),
            _acquired(t1, content.brain, grid, acquisition, acquisition.t1_noise, stream(session, "T1")),
        ),
        organ=content.brain,
        lesion=lesion,
        spacing_mm=grid.spacing_mm,
        affine=grid.affine,
    )


def _acquired(
    image: Volume,
    brain: Mask,
    grid: Grid,
    acquisition: AcquisitionParameters,
    noise: tuple[float, float],
    rng: np.random.Generator,
) -> Image:
    """``image`` (white matter at 1) as the scanner delivers it, inside the brain: (Z, Y, X, 1) float32."""
    gain = acquisition.white_matter * np.exp(rng.normal(0, acquisition.gain_log_sd))
    sd = float(rng.uniform(*noise))
    bias = bias_field(rng, grid.shape, grid.spacing_mm, acquisition.bias_mm, acquisition.bias)
    noisy = rician(rng, np.maximum(image * bias, 0), sd)
    return (np.float32(gain) * noisy * brain)[..., None]
