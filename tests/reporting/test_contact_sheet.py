"""Contact sheets: what each panel shows, seen in the pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from psft_jax.reporting.contact_sheet import ORGAN, contact_sheet, strip_of
from psft_jax.reporting.views import OPACITY, OUTLINE
from psft_jax.scan import Provenance, Scan, Sequence

NAMES = (Sequence("FLAIR", ("FLAIR",) * 3), Sequence("T1", ("T1",) * 3))


def coloured(image: np.ndarray, colour: tuple[float, float, float]) -> list[list[int]]:
    """Pixels that were blended with a colour: what remains is grey of at most 1 - OPACITY."""
    rest = (image - OPACITY * np.asarray(colour)) / (1 - OPACITY)
    grey = np.ptp(rest, axis=-1) < 1e-6
    return np.argwhere(grey & (rest[..., 0] >= -1e-6) & (rest[..., 0] <= 1 + 1e-6)).tolist()


def organ_of(scan: Scan) -> Scan:
    """The scan with an organ of rows 2 to 9 and columns 1 to 8 in slices 1 to 6."""
    organ = np.zeros(scan.shape, bool)
    organ[1:7, 2:10, 1:9] = True
    return replace(scan, organ=organ)


def test_the_panels_of_a_visit(scan: Scan) -> None:
    scan = organ_of(scan)  # a lesion at rows 6 and 7, columns 2 and 3 of slice 4
    strip = strip_of(scan, NAMES, "P1")
    assert [panel.title for panel in strip.panels] == [
        *("FLAIR, slice 4", "FLAIR, slice 4", "T1, slice 4"),
        "FLAIR, coronal 6",
    ]
    plain, flair, t1, coronal = strip.panels
    assert (plain.aspect, coronal.aspect) == (0.5, 2.5)  # 1 mm over 2 mm; 5 mm over 2 mm
    assert not coloured(plain.image, OUTLINE)
    # The view holds rows 0 to 11 (5 mm around the organ) and columns 0 to 9 (2 voxels), both turned round.
    rows, columns, _ = flair.image.shape
    assert (rows, columns) == (12, 10)
    lesion = sorted([11 - y, 9 - x] for y in (6, 7) for x in (2, 3))
    for panel in (flair, t1):
        assert coloured(panel.image, OUTLINE) == lesion
    edge = [[11 - y, 9 - x] for y in range(2, 10) for x in range(1, 9) if (y in (2, 9) or x in (1, 8))]
    assert coloured(flair.image, ORGAN) == sorted(edge)
    assert not np.array_equal(flair.image, t1.image) or np.array_equal(*scan.sequences)
    # Coronal: slices 1 to 6 from top to bottom, so slice 4 is row 2; columns 1 to 8, so x = 2, 3 are 6, 5.
    assert coronal.image.shape == (6, 8, 3)
    assert coloured(coronal.image, OUTLINE) == [[2, 5], [2, 6]]


def test_a_visit_without_annotation_shows_its_organ(scan: Scan) -> None:
    strip = strip_of(replace(organ_of(scan), lesion=None), NAMES, "P1")
    assert all(not coloured(panel.image, OUTLINE) for panel in strip.panels)
    assert all(coloured(panel.image, ORGAN) for panel in strip.panels[1:])


def test_a_sheet_has_a_row_a_visit(scan: Scan) -> None:
    one = strip_of(organ_of(scan), NAMES, "P1 baseline")
    lesion = scan.lesion.copy()
    lesion[1, 4, 4] = True
    two = strip_of(replace(organ_of(scan), lesion=lesion), NAMES, "P2 follow-up")
    assert len(two.panels) == len(one.panels) + 1  # a second slice, 10 mm or more away
    figure = contact_sheet([one, two], title="toy, sheet 1", provenance=Provenance.PHANTOM)
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["P1 baseline", "P2 follow-up"]
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == len(one.panels) + len(two.panels)
    assert [text.get_text() for text in shown[0].texts] == ["R", "L", "A", "P"]
    assert [text.get_text() for text in shown[-1].texts] == ["R", "L", "S", "I"]
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["lesion", "organ"]
    assert legend.get_title().get_text() == "PHANTOM data: generated images, not patients"
