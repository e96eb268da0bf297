"""The page of a report: what it is of, a part for each family of settings, all settings, the seeds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from experiments.conclude import cautions
from experiments.families import Family, families
from experiments.patient import BASE
from experiments.report_parts import Page, Part
from experiments.results import Collected
from psft_jax.evaluation.rows import write_table
from psft_jax.reporting.html import Section, write_page
from psft_jax.reporting.seeds import seeds_table
from psft_jax.reporting.settings import settings_table

PAGE = "report.html"


def report_of(collected: Collected, out: Path) -> Path:
    """Write the report of runs that may stand in one table.

    Args:
        collected: their results.
        out: folder to write to.

    Returns:
        The page.
    """
    for earlier in ("tables", "figures") if (out / PAGE).exists() else ():
        shutil.rmtree(out / earlier, ignore_errors=True)
    page = Page(collected, out)
    sections = [_about(page)]
    found = families([run.config.finetune for run in collected.runs])
    for number, family in enumerate(found):
        # A setting that one run alone has is in the table of all settings, and needs no part of its own.
        if number == 0 or family.is_studied:
            sections += Part(page, family, "" if number == 0 else f"_{number + 1}").sections()
    if len(found) > 1:
        sections.append(_what_trains(page, found))
    sections.append(_every_setting(page))
    path = out / PAGE
    heading = f"{collected.results['dataset'].iloc[0]}: patient-specific fine-tuning"
    write_page(path, heading=heading, sections=sections, overwrite=True)
    write_table(out / "results.csv", collected.results, overwrite=True)
    return path


def _about(page: Page) -> Section:
    collected = page.collected
    config, patients = collected.runs[0].config, collected.results["patient"].unique()
    seeds = sorted({run.config.seed for run in collected.runs})
    missing = [
        f"Not finished, and left out: {run.name}: {state}." for run, state in collected.unfinished.items()
    ]
    facts = {
        "Data": f"{collected.results['dataset'].iloc[0]} ({collected.provenance.value})",
        "Test patients": f"{len(patients)}: {', '.join(sorted(patients))}",
        "Base CNN": f"{config.base} ({collected.results['model'].iloc[0]}), "
        f"SHA-256 {collected.runs[0].base_sha256[:8]}",
        "Runs": f"{len(collected.runs)}, seeds {', '.join(map(str, seeds))}",
    }
    return Section(
        "What this is of", text=[*cautions(collected.provenance, len(patients)), *missing], facts=facts
    )


def _what_trains(page: Page, found: Sequence[Family]) -> Section:
    """The settings in the middle of the families: they differ in their scope, loss, or learning rate."""
    grid = settings_table(
        page.collected.results,
        page.collected.task,
        rows={BASE: "base CNN", **{family.variant: family.own.label for family in found}},
        measures=page.measures,
        provenance=page.collected.provenance,
        heading="Scope, class weight and learning rate",
    )
    page.save("scope", grid)
    return Section("Which layers train, and how", grids=[grid])


def _every_setting(page: Page) -> Section:
    """All settings beside each other, and what the seeds do to them."""
    collected = page.collected
    rows = {BASE: "base CNN"}
    for run in collected.runs:
        rows[run.config.finetune.variant] = run.config.finetune.label
    results, task, provenance = collected.results, collected.task, collected.provenance
    grids = [
        settings_table(
            results, task, rows=rows, measures=page.measures, provenance=provenance, heading="All settings"
        )
    ]
    page.save("settings", grids[0])
    if len({run.config.seed for run in collected.runs}) > 1:
        grids.append(
            seeds_table(
                results, task, rows=rows, measures=page.measures[:2], provenance=provenance, heading="Seeds"
            )
        )
        page.save("seeds", grids[1])
    return Section("All settings", grids=grids)
