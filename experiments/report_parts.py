"""The parts of a report: for one family of settings, the tables and figures that its runs allow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.conclude import PICTURES
from experiments.config import TunedOn
from experiments.families import Family
from experiments.patient import BASE, PATIENTS, TUNED, TUNING
from experiments.results import Collected
from psft_jax.evaluation.lesions import REFERENCE
from psft_jax.evaluation.measures import MEASURES
from psft_jax.evaluation.rows import CALIBRATION, LESIONS, SLICES, UNCERTAINTY
from psft_jax.reporting.agreement import bland_altman_figure
from psft_jax.reporting.curves import iterations_figure
from psft_jax.reporting.figures import paired_figure, save_figure
from psft_jax.reporting.gains import gains_table
from psft_jax.reporting.grid import Grid, save_grid
from psft_jax.reporting.harm import harm
from psft_jax.reporting.harm_grid import harm_grid, harm_text
from psft_jax.reporting.html import Section
from psft_jax.reporting.lesion_sd import sd_by_size_figure
from psft_jax.reporting.paper import TABLES, Setting
from psft_jax.reporting.patients import patient_values
from psft_jax.reporting.reliability import reliability_figure, sd_error_figure
from psft_jax.reporting.settings import paper_table
from psft_jax.reporting.tables import HEADLINE


@dataclass(frozen=True, eq=False)
class Page:
    """A report in the making: what it is of, and where its files go."""

    collected: Collected
    out: Path

    @property
    def measures(self) -> list[str]:
        """The main measures that the results hold."""
        held = set(self.collected.results["metric"])
        main = [name for name in HEADLINE[self.collected.task] if name in held]
        return main if set(main) - {"max_sd"} else ["volume_ml", "n_objects"]

    def save(self, name: str, grid: Grid) -> Grid:
        """A table as Markdown, CSV and LaTeX."""
        save_grid(grid, self.out / "tables", name, overwrite=True)
        return grid

    def draw(self, name: str, caption: str, figure: Figure) -> tuple[str, Path]:
        """A figure as PNG, and its caption."""
        path = self.out / "figures" / f"{name}.png"
        save_figure(figure, path, overwrite=True)
        return caption, path


class Part:
    """The part of one family of settings.

    Args:
        page: the report.
        family: the settings.
        suffix: of its files' names, to tell it from other families.
    """

    def __init__(self, page: Page, family: Family, suffix: str) -> None:
        self._page, self._family, self._suffix = page, family, suffix
        self._told = family.own.label

    def sections(self) -> Iterator[Section]:
        """Everything that its runs allow, in the order of the page."""
        reference = "reference_volume_ml" in set(self._page.collected.results["metric"])
        if reference:
            yield Section(f"The paper's tables: {self._told}", grids=list(self._paper_tables()))
            yield Section(
                f"Is the gain the patient's own? {self._told}",
                text=list(self._lenders()),
                grids=list(self._gains()),
            )
            yield self._hurt()
        yield Section(f"Figures: {self._told}", figures=list(self._figures(reference)))

    def _paper_tables(self) -> Iterator[Grid]:
        collected = self._page.collected
        held = set(collected.results["metric"])
        usual = {Setting.BASE, Setting.FINE_TUNED}
        for table in TABLES:
            variants = self._family.paper
            if Setting.ITERATIONS_50 in table.rows:
                variants = self._family.by_iterations
            own = set(table.rows) & set(variants)
            measures = tuple(name for name in table.measures if name in held)
            enough = own - usual if set(table.rows) - usual else own == usual
            if table.task is collected.task and enough and measures:
                grid = paper_table(
                    collected.results,
                    replace(table, measures=measures),
                    variants=variants,
                    provenance=collected.provenance,
                )
                yield self._page.save(table.name + self._suffix, grid)

    def _gains(self) -> Iterator[Grid]:
        if len(self._family.controls) > 1:
            grid = gains_table(
                self._page.collected.results,
                self._page.collected.task,
                own=self._family.variant,
                controls=self._family.every_control,
                measures=self._page.measures[:4],
                provenance=self._page.collected.provenance,
                heading="The patient's own baseline against controls",
            )
            yield self._page.save(f"controls{self._suffix}", grid)

    def _lenders(self) -> Iterator[str]:
        """On whose scan "another patient's" head was tuned."""
        scans = {
            f"{home.name} (seed {run.config.seed}): {json.loads((home / TUNING).read_text())['tuned_on']}"
            for run in self._page.collected.runs
            if run.config.finetune.tuned_on is TunedOn.OTHER
            and run.config.finetune.variant in self._family.controls
            for home in (run.folder / PATIENTS).iterdir()
        }
        if scans:
            yield f"The head of another patient was tuned on these scans: {'; '.join(sorted(scans))}."

    def _hurt(self) -> Section:
        collected = self._page.collected
        found = harm(
            self._pair(collected.results),
            self._pair(collected.table(LESIONS)),
            self._pair(collected.table(SLICES)),
            collected.task,
            base=BASE,
            tuned=TUNED,
        )
        heading = f"Did fine-tuning hurt? {self._told}"
        grid = harm_grid(found, provenance=collected.provenance, heading="Patients whose result got worse")
        self._page.save(f"hurt{self._suffix}", grid)
        return Section(heading, text=harm_text(found), grids=[grid] if found.worse else [])

    def _pair(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Base and fine-tuned alone, under these short names."""
        chosen = rows[rows["variant"].isin([BASE, self._family.variant])]
        return chosen.assign(variant=chosen["variant"].where(chosen["variant"] == BASE, TUNED))

    def _figures(self, reference: bool) -> Iterator[tuple[str, Path]]:
        collected = self._page.collected
        task, rows = collected.task, self._pair(collected.results)
        common: dict[str, Any] = {
            "title": f"{rows['dataset'].iloc[0]}: {self._told}",
            "provenance": collected.provenance,
        }
        measures = self._page.measures

        def draw(name: str, caption: str, make: Callable[[], Figure]) -> tuple[str, Path]:
            return self._page.draw(name + self._suffix, caption, make())

        yield draw(
            "paired",
            "Each line is one patient's follow-up.",
            lambda: paired_figure(rows, measures, task, BASE, TUNED, **common),
        )
        if not reference:
            return
        if len(self._family.iterations) > 2:
            yield draw(
                "iterations",
                "Measures against the number of iterations; each thin line is one patient.",
                lambda: iterations_figure(
                    collected.results, task, measures[:3], self._family.iterations, **common
                ),
            )
        yield draw(
            "bland_altman",
            "Lesion volume: difference from the reference against the mean of both (Bland-Altman).",
            lambda: bland_altman_figure(rows, [BASE, TUNED], task, **common),
        )
        yield draw(
            "reliability",
            "Reliability: predicted probability against the share of lesion voxels.",
            lambda: reliability_figure(self._pair(collected.table(CALIBRATION)), [BASE, TUNED], **common),
        )
        if "max_sd" in set(rows.loc[rows["variant"] == TUNED, "metric"]):
            yield draw(
                "sd_error",
                "Share of wrong voxels against the Monte Carlo SD.",
                lambda: sd_error_figure(self._pair(collected.table(UNCERTAINTY)), [BASE, TUNED], **common),
            )
            lesions = self._pair(collected.table(LESIONS))
            known = lesions[(lesions["kind"] == REFERENCE) & lesions["mean_sd"].notna()]
            if known["variant"].nunique() == 2:
                yield draw(
                    "sd_by_size",
                    "Mean Monte Carlo SD of each annotated lesion against its volume.",
                    lambda: sd_by_size_figure(lesions, [BASE, TUNED], task, **common),
                )
        yield from self._pictures()

    def _pictures(self) -> Iterator[tuple[str, Path]]:
        """Figures 3 to 5 of the paper for three patients, as the runs have drawn them."""
        for patient, why in self._telling_patients().items():
            for run in self._page.collected.runs:
                home = run.folder / PATIENTS / patient
                if run.config.finetune.variant == self._family.variant and (home / "overlay.png").exists():
                    drawn = {what: home / file for file, what in PICTURES.items() if (home / file).exists()}
                    yield from (
                        (f"{patient} ({why}), seed {run.config.seed}: {what}", path)
                        for what, path in drawn.items()
                    )
                    break

    def _telling_patients(self) -> dict[str, str]:
        """The patients who gained most and least and the one in the middle, and what they stand for."""
        measure = self._page.measures[0]
        values = patient_values(self._pair(self._page.collected.results), self._page.collected.task)
        sign = -1.0 if MEASURES[measure].higher_is_better is False else 1.0
        gains = sign * (values.of(TUNED, measure) - values.of(BASE, measure))
        known = [int(place) for place in np.argsort(-gains, kind="stable") if np.isfinite(gains[place])]
        if not known:
            return {}
        label = MEASURES[measure].label
        places = {
            known[0]: f"gained most in {label}",
            known[len(known) // 2]: f"in the middle in {label}",
            known[-1]: f"gained least in {label}",
        }
        if len(known) == 1:
            places = {known[0]: "the only patient"}
        return {values.patients[place]: why for place, why in places.items()}
