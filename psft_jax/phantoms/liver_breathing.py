"""A visit of the liver phantom as a scanner would give it: each breath hold and the diffusion scan elsewhere.

The six breath holds of the DCE-MRI (section 2.1.1) are held at different depths, so that the liver lies
elsewhere in each, mostly along the body; the phases of one breath hold lie alike. The diffusion scan has a
coarser grid, a breathing state of its own, and the patient has moved a little on the table. Every
displacement is known, and the mean of those of the phases is 0 everywhere: the phantom's own masks lie where
groupwise registration brings the phases together.

Left out: sliding along the chest wall, motion within a phase, and the diffusion scan's distortions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial.transform import Rotation

from psft_jax.errors import check_fields
from psft_jax.phantoms.fields import displacement_field, rician
from psft_jax.phantoms.liver import LiverPhantomSettings, generate_scan
from psft_jax.phantoms.liver_acquisition import AcquisitionSettings, place_visit
from psft_jax.phantoms.liver_anatomy import draw_anatomy
from psft_jax.phantoms.liver_enhancement import BREATH_HOLDS
from psft_jax.phantoms.liver_geometry import FIELD_OF_VIEW_MM, Frame, Stream, Texture, frame_of
from psft_jax.phantoms.liver_vessels import draw_vessels
from psft_jax.rng import generator
from psft_jax.scan import Image, Mask

_STEP_MM = 10.0  # between the points of the lattice that holds a displacement
_BEYOND_MM = 40.0  # how far the lattice reaches beyond the field of view
_LATTICE = tuple(int((size + 2 * _BEYOND_MM) / _STEP_MM) + 1 for size in FIELD_OF_VIEW_MM)
_NOISELESS = {"dce_snr": 1000.0, "dwi_snr": 1000.0, "dwi_slip_mm": 0.0}

Places = Float[np.ndarray, "n zyx"]
Displacement = Float[np.ndarray, "3 z y x"]


@dataclass(frozen=True)
class BreathingSettings:
    """How a patient moves during an examination.

    Args:
        along_mm: standard deviation between breath holds of the shift along the body, where it is largest;
            it falls off towards the feet and the spine.
        forward_mm: the same of the shift to the front.
        local_mm: standard deviation along each axis of what the organs deform beside that.
        local_scale_mm: how far that deformation stays alike.
        dwi_shift_mm: standard deviation of the patient's shift before the diffusion scan, along each axis.
        dwi_rotation_deg: standard deviation of the patient's rotation, about each axis.
        dwi_coarser: the diffusion scan's voxels against those of the DCE-MRI, along (Z, Y, X).

    Raises:
        InputError: a value that no patient and no scanner has.
    """

    along_mm: float = 6.0
    forward_mm: float = 1.5
    local_mm: float = 1.0
    local_scale_mm: float = 40.0
    dwi_shift_mm: float = 3.0
    dwi_rotation_deg: float = 1.0
    dwi_coarser: tuple[float, float, float] = (1.25, 1.5, 1.5)

    def __post_init__(self) -> None:
        limits = {
            "along_mm": (0, 10),
            "forward_mm": (0, 5),
            "local_mm": (0, 2),
            "local_scale_mm": (20, 200),
            "dwi_shift_mm": (0, 8),
            "dwi_rotation_deg": (0, 3),
        }
        valid = {
            name: (least <= getattr(self, name) <= most, f"a value from {least} to {most}")
            for name, (least, most) in limits.items()
        }
        valid["dwi_coarser"] = (
            min(self.dwi_coarser) >= 1 and max(self.dwi_coarser) <= 4,
            "a factor from 1 to 4 along each axis",
        )
        check_fields(self, valid, remedy="Leave it at its default, or choose a value in this range.")


@dataclass(frozen=True, eq=False)
class Motion:
    """Where every point of the patient lies during an acquisition.

    Args:
        displacement: (3, Z, Y, X) along (Z, Y, X) in mm, from the patient's mean position, at the points of a
            lattice around the middle of the field of view.
    """

    displacement: Displacement

    def at(self, places_mm: Places) -> Places:
        """The displacement of places (n, 3) in mm; cubic between the points of the lattice."""
        middle = (np.array(_LATTICE) - 1) / 2
        index = places_mm.T / _STEP_MM + middle[:, None]
        along = [
            map_coordinates(axis, index, order=3, mode="mirror", prefilter=False) for axis in self._splines
        ]
        return np.stack(along, axis=-1)

    @cached_property
    def _splines(self) -> Displacement:
        return np.stack([spline_filter(axis, order=3, output=np.float32) for axis in self.displacement])

    def on(self, frame: Frame) -> Displacement:
        """The displacement of every voxel of a grid."""
        return np.stack([Texture(axis, _STEP_MM).on(frame) for axis in self.displacement])

    @cached_property
    def inverse(self) -> Motion:
        """The way back, from where a point lies during the acquisition to its mean position."""
        lattice = _lattice_points()
        back = np.zeros_like(lattice)
        for _ in range(8):  # a contraction: displacements change slowly from point to point
            back = -self.at(lattice + back)
        return Motion(back.T.reshape(3, *_LATTICE).astype(np.float32))


@dataclass(frozen=True, eq=False)
class RawVisit:
    """A visit before any registration, and what is known of it.

    Args:
        dce: (Z, Y, X, 16), the phases.
        dce_affine: of the phases and the masks.
        dwi: (Z, Y, X, 3) on its own grid, the b-values.
        dwi_affine: of the b-values.
        organ: the liver in the patient's mean position.
        lesion: the metastases in that position.
        phases: where the patient lies in each phase.
        diffusion: where the patient lies in the diffusion scan.
        landmarks_mm: (n, 3) branching points of vessels in the liver, (Z, Y, X) in the scanner's RAS+ mm, in
            the mean position.
    """

    dce: Image
    dce_affine: Float[np.ndarray, "4 4"]
    dwi: Float[np.ndarray, "_ _ _ b"]
    dwi_affine: Float[np.ndarray, "4 4"]
    organ: Mask
    lesion: Mask
    phases: tuple[Motion, ...]
    diffusion: Motion
    landmarks_mm: Places


def raw_visit(
    settings: LiverPhantomSettings, breathing: BreathingSettings, subject: str, session: str
) -> RawVisit:
    """One visit of ``psft_jax.phantoms.liver.liver_cohort`` as the scanner gives it; the same at every call.

    Tissues move and the noise does not: the visit is generated nearly without noise, deformed, and given
    noise of the settings' strength. The coils' gain is taken to move with the tissues.
    """
    patient: Stream = partial(generator, settings.seed, "liver", subject)
    moving: Stream = partial(patient, session, "breathing")
    acquisition: AcquisitionSettings = replace(settings.acquisition, **_NOISELESS)
    still = generate_scan(replace(settings, acquisition=acquisition), subject, session)
    assert still.lesion is not None
    dce_frame = frame_of(still.shape)
    nz, ny, nx = (round(n / c) for n, c in zip(still.shape, breathing.dwi_coarser, strict=True))
    dwi_frame = frame_of((nz, ny, nx))
    holds, diffusion = draw_motion(moving, breathing)
    dce, dwi = (np.median(image[..., 0][still.organ]) for image in still.sequences)
    dce_sd, dwi_sd = float(dce) / settings.acquisition.dce_snr, float(dwi) / settings.acquisition.dwi_snr
    in_hold = zip(BREATH_HOLDS, holds, strict=True)
    phases = [_deformed(still.sequences[0][..., list(hold)], motion, dce_frame) for hold, motion in in_hold]
    return RawVisit(
        _noisy(np.concatenate(phases, axis=-1), dce_sd, moving("dce", "noise")),
        still.affine,
        _noisy(_deformed(still.sequences[1], diffusion, dwi_frame), dwi_sd, moving("dwi", "noise")),
        _affine(dwi_frame),
        still.organ,
        still.lesion,
        tuple(motion for hold, motion in zip(BREATH_HOLDS, holds, strict=True) for _ in hold),
        diffusion,
        _branching_points(settings, patient, session, still.organ),
    )


def draw_motion(moving: Stream, breathing: BreathingSettings) -> tuple[tuple[Motion, ...], Motion]:
    """The motion of each breath hold, 0 in the mean over all phases, and that of the diffusion scan."""
    states = [_breathing_state(moving(f"state{i}"), breathing) for i in range(len(BREATH_HOLDS) + 1)]
    phases = np.array([len(hold) for hold in BREATH_HOLDS])
    mean = np.average(states[:-1], axis=0, weights=phases)
    rng = moving("table")
    turn = Rotation.from_rotvec(np.deg2rad(rng.normal(0, breathing.dwi_rotation_deg, 3)))
    shift = rng.normal(0, breathing.dwi_shift_mm, 3)
    lattice = _lattice_points()
    moved = (turn.apply(lattice) + shift - lattice).T.reshape(3, *_LATTICE)
    holds = tuple(Motion((state - mean).astype(np.float32)) for state in states[:-1])
    return holds, Motion((states[-1] - mean + moved).astype(np.float32))


def _breathing_state(rng: np.random.Generator, breathing: BreathingSettings) -> Displacement:
    """How deep a breath is held: a shift that is largest under the diaphragm, and some deformation."""
    nz, ny, nx = _LATTICE
    local = displacement_field(
        rng, (nz, ny, nx), (_STEP_MM,) * 3, breathing.local_scale_mm, breathing.local_mm
    )
    z, y, x = _lattice_points().T.reshape(3, *_LATTICE)
    under_diaphragm = 0.35 + 0.65 / (1 + np.exp(-(z + 20) / 30))
    off_the_spine = 1 - 0.7 * np.exp(-(((y + 60) / 45) ** 2) - (x / 45) ** 2)
    local[0] += rng.normal(0, breathing.along_mm) * under_diaphragm * off_the_spine
    local[1] += rng.normal(0, breathing.forward_mm) * under_diaphragm * off_the_spine
    return local


def _lattice_points() -> Places:
    """The lattice's points (n, 3) in mm."""
    axes = [(np.arange(n) - (n - 1) / 2) * _STEP_MM for n in _LATTICE]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)


def _deformed(image: Image, motion: Motion, frame: Frame) -> Float[np.ndarray, "_ _ _ c"]:
    """``image``, which fills the field of view, as a grid over the same field of view sees it in motion."""
    index = motion.inverse.on(frame)
    for axis, coordinates in enumerate(frame.points):
        step = FIELD_OF_VIEW_MM[axis] / image.shape[axis]
        index[axis] = (index[axis] + coordinates) / np.float32(step) + (image.shape[axis] - 1) / 2
    moved = [map_coordinates(volume, index, order=3, mode="nearest") for volume in np.moveaxis(image, -1, 0)]
    return np.maximum(np.stack(moved, axis=-1), 0)


def _noisy(image: Image, sd: float, noise: np.random.Generator) -> Image:
    for channel in range(image.shape[-1]):  # one at a time, for the memory's sake
        image[..., channel] = rician(noise, image[..., channel], sd)
    return image


def _branching_points(settings: LiverPhantomSettings, patient: Stream, session: str, organ: Mask) -> Places:
    """Where the vessels inside the liver branch, in mm on the scanner's axes."""
    frame = frame_of(settings.shape)
    _, organs = place_visit(partial(patient, session), frame, settings.acquisition)
    trees = draw_vessels(patient, draw_anatomy(patient, settings.anatomy))
    ends = np.array([segment.end for segment in (*trees.portal_vein, *trees.hepatic_vein)])
    scanner = np.stack(
        [
            np.interp(place, theirs, ours)
            for place, theirs, ours in zip(
                ends.T, (organs.z, organs.y, organs.x), (frame.z, frame.y, frame.x), strict=True
            )
        ],
        axis=-1,
    )
    nearest = [
        np.abs(axis[:, None] - place).argmin(axis=0)
        for axis, place in zip((frame.z, frame.y, frame.x), scanner.T, strict=True)
    ]
    return scanner[organ[tuple(nearest)]]


def _affine(frame: Frame) -> Float[np.ndarray, "4 4"]:
    """From voxel (x, y, z) to RAS+ mm."""
    spacing = [size / n for size, n in zip(FIELD_OF_VIEW_MM, frame.shape, strict=True)]
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * step for n, step in zip(frame.shape[::-1], spacing[::-1], strict=True)]
    return affine
