"""N4 takes out most of a known bias field."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from psft_jax.errors import InputError
from psft_jax.preprocess.bias_field import correct_bias_field
from psft_jax.preprocess.brain_settings import BiasFieldSettings
from psft_jax.preprocess.itk_images import to_itk
from tests.preprocess.brains import head


def spread(log_field: np.ndarray, brain: np.ndarray) -> float:
    """Of a field's logarithm in the brain: a factor that is the same everywhere does not count."""
    return float(log_field[brain].std())


def test_most_of_a_known_field_is_taken_out() -> None:
    scan = head()
    clean = scan.sequences[1][..., 0]
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in scan.shape), indexing="ij")
    log_field = (0.4 * x + 0.3 * y - 0.3 * z + 0.2 * x * y).astype(np.float32)
    biased = clean * np.exp(log_field)
    settings = BiasFieldSettings(voxel_mm=6.0)
    corrected = correct_bias_field("T1.nii", to_itk(biased, scan.affine), settings, 1)
    alone = correct_bias_field("T1.nii", to_itk(clean, scan.affine), settings, 1)
    seen = scan.organ & (clean > 0)
    image, unbiased = (sitk.GetArrayFromImage(c.image) for c in (corrected, alone))
    with np.errstate(divide="ignore", invalid="ignore"):
        remaining = np.log(image / unbiased)  # N4 also flattens a head without a field
    assert spread(log_field, seen) > 0.15
    assert spread(remaining, seen) < 0.15 * spread(log_field, seen)
    assert image.dtype == np.float32
    assert not image[clean == 0].any()
    assert corrected.told["shrink"] == [3, 3, 1]
    assert corrected.told["voxel_mm"] == 6.0


@pytest.mark.parametrize("value", [0.0, -3.0, 7.0])
def test_an_image_without_a_head_is_refused(value: float) -> None:
    image = to_itk(np.full((8, 9, 10), value, np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"^T1.nii: found an image without a head"):
        correct_bias_field("T1.nii", image, BiasFieldSettings(), 1)


@pytest.mark.parametrize("wrong", [{"voxel_mm": 0.0}, {"iterations": ()}, {"convergence": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        BiasFieldSettings(**wrong)
