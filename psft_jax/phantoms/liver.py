"""The liver phantom: a generated cohort of abdominal MRI with metastases, at baseline and after treatment.

Patients differ in build, in the liver's shape, fat and perfusion, in their vessel trees, in the primary
tumour and with it the types of metastases, in every tissue's relaxation, diffusion and perfusion, in
circulation, and in the mimics that they carry. **Within a patient all of that persists.** Between visits
change: position, breath, coils, gain, noise and timing; a little of every contrast; and what treatment does
to the lesions. That a patient's visits are more alike than those of different patients is the assumption of
patient-specific fine-tuning (section 1 of the paper), and here it is built in. A gain measured on this
phantom shows that the method uses such likeness where it exists, not how much there is in real patients.

The sequences follow section 2.1.1: 16 dynamic phases in six breath holds, and diffusion weighting at three
b-values. Left out: motion between the phases, fat-water artefacts, biliary disease, and contrast taken up by
hepatocytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from psft_jax.errors import InputError
from psft_jax.phantoms.liver_acquisition import (
    AcquisitionSettings,
    acquire_dce,
    acquire_dwi,
    coil_gain,
    place_visit,
)
from psft_jax.phantoms.liver_anatomy import Anatomy, AnatomySettings, draw_anatomy
from psft_jax.phantoms.liver_body import abdomen_layers, chest_layers, trunk_layers
from psft_jax.phantoms.liver_contrast import ContrastSettings, visit_signals
from psft_jax.phantoms.liver_enhancement import DCE, DWI
from psft_jax.phantoms.liver_geometry import Stream, frame_of, spacing_of
from psft_jax.phantoms.liver_layers import paint
from psft_jax.phantoms.liver_lesions import Lesion, LesionSettings, draw_lesions
from psft_jax.phantoms.liver_organ import liver_layers
from psft_jax.phantoms.liver_treatment import TreatmentSettings, lesions_at_follow_up
from psft_jax.phantoms.liver_vessels import draw_vessels
from psft_jax.rng import generator
from psft_jax.scan import Cohort, Patient, Provenance, Scan, Visit

BASELINE, FOLLOW_UP = "baseline", "follow_up"


@dataclass(frozen=True)
class LiverPhantomSettings:
    """The liver cohort. Equal settings give equal scans, whichever of them are generated, in whatever order.

    Args:
        n_training: patients with one visit, for the base network.
        n_test: patients with a baseline and a follow-up.
        seed: what every random stream is derived from.
        shape: (Z, Y, X) of every scan, over a fixed field of view of 200 x 395 x 395 mm: (100, 256, 256) is
            the paper's, (32, 96, 96) a small one for tests.
        anatomy: how patients differ in build.
        lesions: how many lesions they have, and how large.
        contrast: how tissues differ between patients and between visits.
        treatment: what happens between baseline and follow-up.
        acquisition: position, coils, noise.

    Raises:
        InputError: no patients, a negative seed, or a grid too coarse to show a liver.
    """

    n_training: int = 31
    n_test: int = 16
    seed: int = 0
    shape: tuple[int, int, int] = (100, 256, 256)
    anatomy: AnatomySettings = field(default_factory=AnatomySettings)
    lesions: LesionSettings = field(default_factory=LesionSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    treatment: TreatmentSettings = field(default_factory=TreatmentSettings)
    acquisition: AcquisitionSettings = field(default_factory=AcquisitionSettings)

    def __post_init__(self) -> None:
        if min(self.n_training, self.n_test) < 0 or self.n_training + self.n_test == 0:
            raise InputError(
                "liver phantom",
                found=f"{self.n_training} training and {self.n_test} test patients",
                expected="at least one patient, and no negative number",
                remedy="Set n_training or n_test to 1 or more.",
            )
        if self.seed < 0:
            raise InputError(
                "liver phantom",
                found=f"seed {self.seed}",
                expected="0 or more",
                remedy="Choose another seed.",
            )
        if len(self.shape) != 3 or min(self.shape) < 16 or max(self.shape) > 1024:
            raise InputError(
                "liver phantom",
                found=f"shape {self.shape}",
                expected="(Z, Y, X), each from 16 to 1024",
                remedy="Use (100, 256, 256), or (32, 96, 96) for a small one.",
            )


def liver_cohort(settings: LiverPhantomSettings) -> Cohort:
    """The generated cohort; a scan is made when its visit is loaded, and depends on no other.

    Args:
        settings: how many patients, how large, and what they are like.

    Returns:
        Patients "liver-train-000" ... with one visit, "liver-test-000" ... with two.
    """

    def patients(group: str, count: int, sessions: tuple[str, ...]) -> tuple[Patient, ...]:
        subjects = [f"liver-{group}-{number:03d}" for number in range(count)]
        return tuple(
            Patient(s, tuple(Visit(s, v, partial(generate_scan, settings, s, v)) for v in sessions))
            for s in subjects
        )

    return Cohort(
        name="liver phantom",
        provenance=Provenance.PHANTOM,
        sequences=(DCE, DWI),
        training=patients("train", settings.n_training, (BASELINE,)),
        test=patients("test", settings.n_test, (BASELINE, FOLLOW_UP)),
    )


def visit_lesions(
    settings: LiverPhantomSettings, patient: Stream, session: str, anatomy: Anatomy
) -> tuple[Lesion, ...]:
    """The lesions that a patient has at ``session``: metastases and mimics, with their types and sizes."""
    history = draw_lesions(patient, anatomy, settings.lesions)
    if session == BASELINE:
        return history.lesions
    return lesions_at_follow_up(patient, history, anatomy, settings.treatment)


def generate_scan(settings: LiverPhantomSettings, subject: str, session: str) -> Scan:
    """One visit of one patient; the same at every call."""
    patient: Stream = partial(generator, settings.seed, "liver", subject)
    visit: Stream = partial(patient, session)
    spacing = spacing_of(settings.shape)
    trunk, organs = place_visit(visit, frame_of(settings.shape), settings.acquisition)

    anatomy = draw_anatomy(patient, settings.anatomy)
    trees = draw_vessels(patient, anatomy)
    lesions = visit_lesions(settings, patient, session, anatomy)
    liver = liver_layers(anatomy, trees, lesions, organs)
    layers = [
        *trunk_layers(anatomy, trunk),
        *chest_layers(anatomy, organs),
        *abdomen_layers(anatomy, trees, organs),
        *liver.layers,
    ]
    signals = visit_signals(patient, visit, lesions, settings.contrast)
    image = paint(settings.shape, layers, signals)
    del layers  # a few hundred MB that the noise needs

    phases = len(DCE.channels)
    dce_coils, dwi_coils = (
        coil_gain(visit, name, anatomy, trunk, spacing, settings.acquisition) for name in ("dce", "dwi")
    )
    reference = signals["liver"]
    return Scan(
        subject,
        session,
        (
            acquire_dce(visit, image[..., :phases], dce_coils, float(reference[0]), settings.acquisition),
            acquire_dwi(
                visit, image[..., phases:], dwi_coils, float(reference[phases]), spacing, settings.acquisition
            ),
        ),
        liver.organ,
        liver.lesion,
        spacing,
        _affine(settings.shape, spacing),
    )


def _affine(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """From voxel (x, y, z) to RAS+ mm, the middle of the field of view at 0."""
    affine = np.diag([*spacing_mm[::-1], 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * step for n, step in zip(shape[::-1], spacing_mm[::-1], strict=True)]
    return affine
