"""What the scanner makes of the liver phantom: coils, gain, noise, and a softer diffusion scan that slips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from psft_jax.errors import InputError
from psft_jax.phantoms.fields import bias_field, displacement_field, rician
from psft_jax.phantoms.liver_anatomy import Anatomy
from psft_jax.phantoms.liver_geometry import Frame, Stream
from psft_jax.scan import Image, Volume


@dataclass(frozen=True)
class AcquisitionSettings:
    """How a visit's images differ from what the patient is made of.

    Args:
        shift_sd_mm: standard deviation of the patient's place on the table, along each axis.
        breath_sd_mm: standard deviation of the height of diaphragm and organs against the spine.
        stretch_sd: standard deviation of the organs' stretch along each axis, from how deep a breath is held.
        bias_strength: standard deviation of the coils' log gain, beside its rise towards the skin.
        bias_scale_mm: how far that gain stays alike.
        coil_rise: how much more signal there is at the skin, in front and behind, than in the middle.
        gain_sd: standard deviation of the logarithm of the receiver's gain.
        dce_snr: liver before contrast against the noise's standard deviation.
        dwi_snr: liver at b = 10 against the noise's standard deviation.
        dwi_blur_mm: standard deviation of the diffusion scan's extra blur.
        dwi_slip_mm: standard deviation of what registration leaves between the sequences, along each axis.

    Raises:
        InputError: a value that no scanner has.
    """

    shift_sd_mm: float = 4.0
    breath_sd_mm: float = 5.0
    stretch_sd: float = 0.015
    bias_strength: float = 0.15
    bias_scale_mm: float = 70.0
    coil_rise: float = 0.9
    gain_sd: float = 0.3
    dce_snr: float = 20.0
    dwi_snr: float = 22.0
    dwi_blur_mm: float = 1.8
    dwi_slip_mm: float = 1.2

    def __post_init__(self) -> None:
        limits = {
            "shift_sd_mm": (0, 10),
            "breath_sd_mm": (0, 10),
            "stretch_sd": (0, 0.1),
            "bias_strength": (0, 1),
            "bias_scale_mm": (20, 500),
            "coil_rise": (0, 3),
            "gain_sd": (0, 2),
            "dce_snr": (1, 1000),
            "dwi_snr": (1, 1000),
            "dwi_blur_mm": (0, 10),
            "dwi_slip_mm": (0, 8),
        }
        for name, (least, most) in limits.items():
            value: float = getattr(self, name)
            if not least <= value <= most:
                raise InputError(
                    f"liver phantom, acquisition, {name}",
                    found=f"{value}",
                    expected=f"a value from {least} to {most}",
                    remedy="Leave it at its default, or choose a value in this range.",
                )


def place_visit(visit: Stream, frame: Frame, settings: AcquisitionSettings) -> tuple[Frame, Frame]:
    """One visit's voxels in the patient's coordinates: as the trunk lies, and as the organs in it lie."""
    rng = visit("position")
    z, y, x = np.clip(rng.normal(0, settings.shift_sd_mm, 3), -15, 15).tolist()
    breath = float(np.clip(rng.normal(0, settings.breath_sd_mm), -15, 15))
    dz, dy, dx = np.exp(np.clip(rng.normal(0, settings.stretch_sd, 3), -0.1, 0.1)).tolist()
    return frame.moved((z, y, x)), frame.moved((z + breath, y, x), (dz, dy, dx))


def acquire_dce(
    visit: Stream, image: Image, coils: Volume, liver: float, settings: AcquisitionSettings
) -> Image:
    """The 16 phases as the scanner gives them; breath holds are taken as registered to each other.

    Args:
        visit: the visit's streams.
        image: (Z, Y, X, 16), the tissues' signals.
        coils: gain of the coils at every voxel (``coil_gain``).
        liver: the liver's signal before contrast, against which noise is measured.
        settings: gain and noise.

    Returns:
        (Z, Y, X, 16) float32, Rician noise on it, in arbitrary units.
    """
    scale, noise = _receiver(visit, "dce", settings), visit("dce", "noise")
    acquired = np.empty(image.shape, np.float32)
    for channel in range(image.shape[-1]):  # one phase at a time, for the memory's sake
        seen = image[..., channel] * (coils / np.float32(liver))
        acquired[..., channel] = scale * rician(noise, seen, 1 / settings.dce_snr)
    return acquired


def acquire_dwi(
    visit: Stream,
    image: Image,
    coils: Volume,
    liver: float,
    spacing_mm: tuple[float, float, float],
    settings: AcquisitionSettings,
) -> Image:
    """The three b-values: blurred, noisy, then moved by what registration to the other sequence has left.

    Args:
        visit: the visit's streams.
        image: (Z, Y, X, 3), the tissues' signals.
        coils: gain of the coils at every voxel (``coil_gain``).
        liver: the liver's signal at b = 10, against which noise is measured.
        spacing_mm: voxel size along (Z, Y, X).
        settings: gain, noise, blur and slip.

    Returns:
        (Z, Y, X, 3) float32, in arbitrary units. Resampling softens the noise, as in registered scans.
    """
    scale, noise = _receiver(visit, "dwi", settings), visit("dwi", "noise")
    shape = coils.shape
    slip = displacement_field(
        visit("dwi", "slip"), (shape[0], shape[1], shape[2]), spacing_mm, 40.0, settings.dwi_slip_mm
    )
    places = slip / np.array(spacing_mm, np.float32)[:, None, None, None]
    for axis, n in enumerate(shape):
        places[axis] += np.arange(n, dtype=np.float32).reshape([n if a == axis else 1 for a in range(3)])
    blur = [settings.dwi_blur_mm / step for step in spacing_mm]
    acquired = np.empty(image.shape, np.float32)
    for channel in range(image.shape[-1]):
        seen = gaussian_filter(image[..., channel], blur) * (coils / np.float32(liver))
        noisy = rician(noise, seen, 1 / settings.dwi_snr)
        acquired[..., channel] = scale * map_coordinates(noisy, places, order=1, mode="nearest")
    return acquired


def coil_gain(
    visit: Stream,
    sequence: str,
    anatomy: Anatomy,
    frame: Frame,
    spacing_mm: tuple[float, float, float],
    settings: AcquisitionSettings,
) -> Volume:
    """Gain of the receive coils: a smooth field that rises towards the trunk's skin, front and back."""
    smooth = bias_field(
        visit(sequence, "bias"), frame.shape, spacing_mm, settings.bias_scale_mm, settings.bias_strength
    )
    front, back = (np.exp(-np.maximum(anatomy.depth - side * frame.y, 0) / 35) for side in (1.0, -1.0))
    return smooth * (1 + settings.coil_rise * (front + back))[None, :, None]


def _receiver(visit: Stream, sequence: str, settings: AcquisitionSettings) -> float:
    """The receiver's gain: the liver comes out at about 300."""
    return 300 * float(np.exp(visit(sequence, "gain").normal(0, settings.gain_sd)))
