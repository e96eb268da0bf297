from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from psft_jax.errors import InputError
from psft_jax.reporting.views import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    OPACITY,
    OUTLINE,
    TRUE_POSITIVE,
    axial_view,
    check_shapes,
    informative_slices,
    overlay_rgb,
    radiological,
    shown_image,
)

GREY = 0.4


def _over(colour):
    return [(1 - OPACITY) * GREY + OPACITY * channel for channel in colour]


def test_colours_are_those_of_the_paper():
    prediction = np.array([[True, False], [True, False]])
    reference = np.array([[True, True], [False, False]])
    rgb = overlay_rgb(np.full((2, 2), GREY), prediction, reference)
    np.testing.assert_allclose(rgb[0, 0], _over(TRUE_POSITIVE))
    np.testing.assert_allclose(rgb[0, 1], _over(FALSE_NEGATIVE))
    np.testing.assert_allclose(rgb[1, 0], _over(FALSE_POSITIVE))
    np.testing.assert_allclose(rgb[1, 1], [GREY] * 3)
    # Green, red and blue, whatever shade of them.
    assert [int(np.argmax(rgb[i])) for i in ((0, 0), (0, 1), (1, 0))] == [1, 0, 2]


def test_without_reference_only_the_outline_is_coloured():
    prediction = np.zeros((7, 7), bool)
    prediction[1:6, 1:6] = True
    rgb = overlay_rgb(np.full((7, 7), GREY), prediction, None)
    inside = np.zeros((7, 7), bool)
    inside[2:5, 2:5] = True
    np.testing.assert_allclose(rgb[prediction & ~inside], [_over(OUTLINE)] * 16)
    np.testing.assert_allclose(rgb[~prediction | inside], np.full((33, 3), GREY))


masks = arrays(bool, (4, 5))


@settings(deadline=None, max_examples=50)
@given(masks, masks, arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32)))
def test_overlay_stays_in_range_and_leaves_the_rest_alone(prediction, reference, image):
    before = image.copy()
    rgb = overlay_rgb(image, prediction, reference)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    untouched = ~(prediction | reference)
    assert (rgb[untouched] == image[untouched][:, None]).all()
    assert (image == before).all()


def test_the_patients_right_is_on_the_left_and_anterior_is_up():
    plane = np.zeros((5, 4))
    plane[4, 3] = 1.0  # the largest Y and X: anterior and right in RAS+
    assert radiological(plane)[0, 0] == 1.0


def test_right_and_anterior_in_the_view_of_a_scan(scan):
    marked = np.zeros(scan.shape, bool)
    x, y, z, _ = np.linalg.inv(scan.affine) @ (18.0, 11.0, 20.0, 1.0)  # mm to the right, front and top
    marked[int(z), int(y), int(x)] = True
    rows, columns = np.nonzero(axial_view(scan).plane(marked, 4))
    assert (rows.tolist(), columns.tolist()) == ([0], [0])


def test_view_is_cropped_to_the_organ_with_a_margin(scan):
    shape = (4, 60, 60)
    organ = np.zeros(shape, bool)
    organ[1:3, 20:30, 3:20] = True
    image = np.zeros((*shape, 1), np.float32)
    large = replace(scan, sequences=(image, image), organ=organ, lesion=None)
    view = axial_view(large)
    # 5 mm are 5 voxels of 1 mm along Y and 2 of 2 mm along X.
    assert view.box == (slice(15, 35), slice(1, 22))
    assert view.aspect == 0.5
    assert view.plane(organ, 1).shape == (20, 21)
    assert not view.grey(shown_image(large), 1).any()  # a constant image is black, and no division by 0


def test_grey_runs_from_black_to_white_inside_the_organ(scan):
    view = axial_view(scan)
    grey = view.grey(shown_image(scan), 4)
    black, white = np.percentile(scan.sequences[0][..., 1], (1, 99.8))
    expected = np.clip((scan.sequences[0][4, ::-1, ::-1, 1] - black) / (white - black), 0, 1)
    np.testing.assert_allclose(grey, expected, rtol=1e-5)


@pytest.mark.parametrize(("channels", "middle"), [(1, 0), (3, 1), (6, 3)])
def test_the_middle_channel_is_shown(scan, channels, middle):
    image = np.zeros((*scan.shape, channels), np.float32) + np.arange(channels, dtype=np.float32)
    assert (shown_image(scan.with_sequences(image, image)) == middle).all()


def _mask(shape, areas):
    mask = np.zeros(shape, bool)
    for z, area in areas.items():
        mask[z].flat[:area] = True
    return mask


def test_slices_by_lesion_area_and_disagreement_in_turns(scan):
    scan = replace(scan, lesion=_mask(scan.shape, {1: 9, 2: 8, 5: 5}))
    base, tuned = _mask(scan.shape, {7: 4, 6: 6}), _mask(scan.shape, {7: 4})
    # Slices are 5 mm apart, so those beside a chosen one are left out: 1 (area 9), 6 (6 voxels differ); then
    # of area 5 remains only what lies beside 6, and nothing else differs.
    assert informative_slices(scan, [base, tuned], 3) == [6, 1]
    assert informative_slices(scan, [base, tuned], 1) == [1]


def test_slices_without_reference_and_without_findings(scan):
    unannotated = replace(scan, lesion=None)
    found = _mask(scan.shape, {3: 5})
    assert informative_slices(unannotated, [found, found]) == [3]
    organ = scan.organ.copy()
    organ[:, 0] = False
    organ[2] = True
    nothing = np.zeros(scan.shape, bool)
    assert informative_slices(replace(unannotated, organ=organ), [nothing]) == [2]


def test_where_there_is_no_lesion_the_false_positives_are_shown(scan):
    healthy = replace(scan, lesion=np.zeros(scan.shape, bool))
    found = _mask(scan.shape, {3: 5})
    assert informative_slices(healthy, [found, found]) == [3]


def test_thick_slices_may_be_neighbours_but_not_the_same(scan):
    thick = replace(scan, spacing_mm=(20.0, 1.0, 1.0), lesion=_mask(scan.shape, {3: 5, 4: 4}))
    assert informative_slices(thick, [thick.lesion], 5) == [4, 3]


def test_a_volume_on_another_grid_is_named(scan):
    check_shapes(scan, {"base": scan.organ})
    with pytest.raises(InputError, match=r"P1_2: found tuned \(1, 2, 3\); expected .* \(8, 12, 10\)"):
        check_shapes(scan, {"base": scan.organ, "tuned": np.zeros((1, 2, 3), bool)})
    with pytest.raises(InputError, match="no prediction to show"):
        check_shapes(scan, {})
