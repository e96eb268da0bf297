"""The paper's own numbers, to stand beside ours: Tables 1 to 5 and section 4 of Jansen et al. (2020).

Values are kept as printed, with ``0.82 (0.05)`` for 0.82 ± 0.05 and a star where the paper marks p < 0.01.
Which of them it prints in bold is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from psft_jax.scan import Task


class Setting(StrEnum):
    """The settings that the paper reports on.

    ``FINE_TUNED`` is its default: 100 iterations, all slices with lesions, no weights. The tables of
    iterations and of slices have it under other names.
    """

    BASE = "base"
    FINE_TUNED = "fine-tuned"
    ITERATIONS_50 = "iterations=50"
    ITERATIONS_500 = "iterations=500"
    ITERATIONS_1000 = "iterations=1000"
    ONE_ORGAN_SLICE = "slices=1 organ"
    TWO_ORGAN_SLICES = "slices=2 organ"
    ONE_LESION_SLICE = "slices=1 lesion"
    TWO_LESION_SLICES = "slices=2 lesion"
    ALL_ORGAN_SLICES = "slices=all organ"
    WEIGHTED = "weighted"


@dataclass(frozen=True)
class PaperValue:
    """One value as printed.

    Args:
        text: centre, then quartiles or SD where the paper gives them, then a star where it marks p < 0.01.
        p: what it says of p, where it does.

    >>> value = PaperValue("0.67 [0.32 to 1.00]*")
    >>> value.centre, value.spread, value.significant
    (0.67, (0.32, 1.0), True)
    """

    text: str
    p: str = ""

    @property
    def centre(self) -> float:
        """Median or mean."""
        return self._numbers[0]

    @property
    def spread(self) -> tuple[float, ...]:
        """First and third quartile, the SD alone, or nothing."""
        return self._numbers[1:]

    @property
    def significant(self) -> bool:
        """Whether the paper marks it; an unmarked value may not have been tested."""
        return self.text.endswith("*")

    @property
    def _numbers(self) -> tuple[float, ...]:
        return tuple(float(number) for number in re.findall(r"\d+(?:\.\d+)?", self.text))


@dataclass(frozen=True)
class PaperRow:
    """What the paper calls a setting, and its values by measure."""

    label: str
    values: Mapping[str, PaperValue]


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, or one paragraph of numbers.

    Args:
        name: of the files that ours is written to.
        source: where the paper has it.
        caption: what it shows.
        task: on which cohort.
        measures: the columns; some are ours alone.
        rows: in the paper's words and order, the base CNN first.
        remarks: what the reader of the paper's numbers should know.
        with_p: whether the paper gives p-values.
    """

    name: str
    source: str
    caption: str
    task: Task
    measures: tuple[str, ...]
    rows: Mapping[Setting, PaperRow]
    remarks: tuple[str, ...] = ()
    with_p: bool = False


CITATION = "Jansen et al., J. Med. Imaging 7(6) 064003 (2020)"
PATIENTS = {Task.DETECTION: 16, Task.SEGMENTATION: 20}
"""Test patients of the paper."""

_DETECTION = ("tpr", "fpc", "f1")
_SEGMENTATION = ("dsc", "avd_percent")


def _rows(measures: tuple[str, ...], printed: str, *, p: str = "") -> dict[Setting, PaperRow]:
    """Rows from lines of setting, label and values as printed; ``p`` belongs to the starred values."""
    rows = {}
    for line in printed.strip().splitlines():
        setting, label, *texts = (text.strip() for text in line.split("|"))
        values = (PaperValue(text, p if text.endswith("*") else "") for text in texts)
        rows[Setting(setting)] = PaperRow(label, dict(zip(measures, values, strict=True)))
    return rows


TABLES = (
    PaperTable(
        name="table_1",
        source="Table 1",
        caption="Detection by the number of iterations",
        task=Task.DETECTION,
        measures=_DETECTION,
        rows=_rows(
            _DETECTION,
            """
            base            | Base CNN        | 0.67 [0.32 to 1.00] | 3 [0 to 7] | 0.49 [0.21 to 0.67]
            iterations=50   | 50 iterations   | 0.67 [0.20 to 1.00] | 1 [0 to 3] | 0.40 [0.25 to 0.80]
            fine-tuned      | 100 iterations  | 0.85 [0.44 to 1.00] | 2 [0 to 3] | 0.57 [0.40 to 0.67]
            iterations=500  | 500 iterations  | 0.92 [0.33 to 1.00] | 2 [0 to 4] | 0.50 [0.25 to 0.71]
            iterations=1000 | 1000 iterations | 0.85 [0.50 to 1.00] | 1 [0 to 4] | 0.50 [0.40 to 0.75]
            """,
        ),
    ),
    PaperTable(
        name="table_2",
        source="Table 2",
        caption="Detection by the number of slices",
        task=Task.DETECTION,
        measures=_DETECTION,
        rows=_rows(
            _DETECTION,
            """
            base             | Base CNN              | 0.67 [0.32 to 1.00] | 3 [0 to 7] | 0.49 [0.21 to 0.67]
            slices=1 organ   | 1 slice liver         | 0.50 [0.11 to 1.00] | 4 [1 to 8] | 0.33 [0.12 to 0.64]
            slices=2 organ   | 2 slices liver        | 0.42 [0.11 to 1.00] | 1 [0 to 5] | 0.33 [0.15 to 0.67]
            slices=1 lesion  | 1 slice metastases    | 0.67 [0.08 to 1.00] | 4 [2 to 6] | 0.31 [0.00 to 0.50]
            slices=2 lesion  | 2 slices metastases   | 0.67 [0.08 to 1.00] | 3 [1 to 5] | 0.31 [0.00 to 0.44]
            fine-tuned       | All metastases slices | 0.85 [0.44 to 1.00] | 2 [0 to 3] | 0.57 [0.40 to 0.67]
            slices=all organ | All liver slices      | 0.67 [0.20 to 1.00] | 0 [0 to 3] | 0.56 [0.33 to 0.80]
            """,
        ),
    ),
    PaperTable(
        name="table_3",
        source="Table 3",
        caption="Detection with and without weights",
        task=Task.DETECTION,
        measures=_DETECTION,
        rows=_rows(
            _DETECTION,
            """
            base            | Base CNN        | 0.67 [0.32 to 1.00] | 3 [0 to 7]   | 0.49 [0.21 to 0.67]
            fine-tuned      | FT CNN          | 0.85 [0.44 to 1.00] | 2 [0 to 3]   | 0.57 [0.40 to 0.67]
            weighted        | Weighted FT CNN | 1.00 [0.62 to 1.00] | 6 [3 to 14]* | 0.42 [0.29 to 0.57]
            """,
        ),
    ),
    PaperTable(
        name="section_4_1_4",
        source="Section 4.1.4",
        caption="Detection by lesion size",
        task=Task.DETECTION,
        measures=("tpr_small", "tpr_large", "n_small", "n_large"),
        rows=_rows(
            ("tpr_small", "tpr_large"),
            """
            base            | Base CNN | 0.13 | 0.81
            fine-tuned      | FT CNN   | 0.26 | 0.83
            """,
        ),
        remarks=(
            "The paper calls metastases below 1 cm³ small. It does not say how it averaged the rates over "
            "patients, and gives no test of them.",
        ),
    ),
    PaperTable(
        name="section_4_1_5",
        source="Section 4.1.5",
        caption="Uncertainty of detection",
        task=Task.DETECTION,
        measures=("mean_sd_detected",),
        rows=_rows(
            ("mean_sd_detected",),
            """
            base            | Base CNN | 0.203 (0.078)
            fine-tuned      | FT CNN   | 0.158 (0.070)*
            """,
            p="0.003",
        ),
        with_p=True,
    ),
    PaperTable(
        name="section_4_2_1",
        source="Section 4.2.1",
        caption="Segmentation by the number of iterations",
        task=Task.SEGMENTATION,
        measures=_SEGMENTATION,
        rows=_rows(
            _SEGMENTATION,
            """
            base            | Base CNN        | 0.82 (0.05)  | 20.7 (13.5)
            iterations=50   | 50 iterations   | 0.85*        | around 10
            fine-tuned      | 100 iterations  | 0.87 (0.04)* | 10.7 (7.3)
            iterations=500  | 500 iterations  | around 0.87* | around 10
            iterations=1000 | 1000 iterations | around 0.87* | around 10
            """,
        ),
        remarks=(
            "The paper has no table of this. Its values for the base CNN and 100 iterations are those of its "
            "Table 4; it does not say whether AVD differs significantly after 50, 500 or 1000 iterations.",
        ),
    ),
    PaperTable(
        name="table_4",
        source="Table 4",
        caption="Segmentation by the number of slices",
        task=Task.SEGMENTATION,
        measures=_SEGMENTATION,
        rows=_rows(
            _SEGMENTATION,
            """
            base             | Base CNN                | 0.82 (0.05)  | 20.7 (13.5)
            slices=1 organ   | 1 slice                 | 0.86 (0.04)* | 11.2 (8.2)
            slices=2 organ   | 2 slices                | 0.86 (0.04)* | 10.7 (7.9)
            slices=1 lesion  | 1 slice, with lesions   | 0.86 (0.04)* | 11.2 (8.2)
            slices=2 lesion  | 2 slices, with lesions  | 0.86 (0.04)* | 10.7 (7.9)
            fine-tuned       | All lesion slices       | 0.87 (0.04)* | 10.7 (7.3)
            slices=all organ | All brain slices        | 0.87 (0.04)* | 10.2 (6.9)*
            """,
        ),
        remarks=(
            "In the paper the same slices were selected from all slices and from those with lesions (section "
            "4.2.2), so its one row for each number stands beside both of ours.",
            "The paper's text calls the better AVD with one slice significant; its table does not mark it.",
        ),
    ),
    PaperTable(
        name="table_5",
        source="Table 5",
        caption="Segmentation with and without weights",
        task=Task.SEGMENTATION,
        measures=_SEGMENTATION,
        rows=_rows(
            _SEGMENTATION,
            """
            base            | Base CNN        | 0.82 (0.05)  | 20.7 (13.5)
            fine-tuned      | FT CNN          | 0.87 (0.04)* | 10.7 (7.3)
            weighted        | Weighted FT CNN | 0.86 (0.05)* | 11.8 (10.5)
            """,
        ),
    ),
    PaperTable(
        name="section_4_2_4",
        source="Section 4.2.4",
        caption="The other measures of the WMH challenge",
        task=Task.SEGMENTATION,
        measures=("dsc", "avd_percent", "h95_mm", "lesion_recall", "lesion_f1"),
        rows=_rows(
            ("dsc", "avd_percent", "h95_mm", "lesion_recall", "lesion_f1"),
            """
            base            | Base CNN | 0.82 (0.05)  | 20.7 (13.5) | 2.40 | 0.84 | 0.72
            fine-tuned      | FT CNN   | 0.87 (0.04)* | 10.7 (7.3)  | 2.01 | 0.63 | 0.72
            """,
        ),
        remarks=("The paper gives no test of H95, lesion recall (there: TPR) and F1, and no SD.",),
    ),
    PaperTable(
        name="section_4_2_4_sizes",
        source="Section 4.2.4",
        caption="Lesions found, by size",
        task=Task.SEGMENTATION,
        measures=("tpr_small", "tpr_large", "fpc", "n_small", "n_large"),
        rows=_rows(
            (),
            """
            base            | Base CNN
            fine-tuned      | FT CNN
            """,
        ),
        remarks=(
            "The paper gives no numbers: its fine-tuned CNN missed more lesions below 0.01 cm³ than the base "
            "CNN, and segmented fewer false positive pixels.",
        ),
    ),
    PaperTable(
        name="section_4_2_5",
        source="Section 4.2.5",
        caption="Uncertainty of segmentation",
        task=Task.SEGMENTATION,
        measures=("max_sd",),
        rows=_rows(
            ("max_sd",),
            """
            base            | Base CNN | 0.398 (0.025)
            fine-tuned      | FT CNN   | 0.328 (0.038)*
            """,
            p="< 0.001",
        ),
        with_p=True,
    ),
)
"""In the paper's order; ``PaperTable.task`` tells the two cohorts apart."""
