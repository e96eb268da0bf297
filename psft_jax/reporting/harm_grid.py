"""The page "did fine-tuning hurt?": what may be said in a sentence, and a row for each patient it hurt."""

from __future__ import annotations

import math

from psft_jax.evaluation.measures import SMALL_BELOW_ML
from psft_jax.reporting.grid import Cell, Grid
from psft_jax.reporting.harm import Change, Harm, LesionChange, WorsePatient
from psft_jax.reporting.wording import NO_VALUE, labels, population_text, title
from psft_jax.scan import Provenance

SLICES = (
    "Slices are counted from 0 at the lowest one, as in all figures and as the third index of the NIfTI "
    "files (other than these if a scan was stored from top to bottom, or not in axial slices)."
)


def harm_text(found: Harm) -> list[str]:
    """The answer in sentences; that no patient got worse is said only where it is known of every patient."""
    n = len(found.values.patients)
    compared = labels(found.measures) or "none"
    if found.nobody:
        text = [f"No patient got worse in any of these measures (n = {n}): {compared}."]
    elif found.worse:
        text = [
            f"{len(found.worse)} of {n} patients got worse in at least one of these measures: {compared}.",
            f"Not worse in any: {_names(found.not_worse)}.",
        ]
    else:
        text = [
            f"No patient is known to have got worse, but {len(found.unknown)} of {n} cannot be judged by "
            f"these measures: {compared}.",
            f"Not worse in any: {_names(found.not_worse)}.",
        ]
    if found.unknown:
        text.append(
            f"Cannot be judged: {_names(found.unknown)}. A measure is defined for one network only, or there "
            "is no reference."
        )
    if found.undefined:
        text.append(f"Undefined, and not compared: {'; '.join(_undefined(found))}.")
    return text


def _names(patients: tuple[str, ...]) -> str:
    return ", ".join(patients) or "nobody"


def _undefined(found: Harm) -> list[str]:
    """For each measure who has no value, and with which network."""
    said = []
    for measure in found.measures:
        own = [change for change in found.undefined if change.measure is measure]
        sides = {
            "both networks": [c.patient for c in own if not c.one_sided],
            found.base: [c.patient for c in own if c.one_sided and math.isnan(c.base)],
            found.tuned: [c.patient for c in own if c.one_sided and math.isnan(c.tuned)],
        }
        who = [f"{', '.join(patients)} (with {side})" for side, patients in sides.items() if patients]
        if who:
            said.append(f"{measure.label}: {', '.join(who)}")
    return said


def harm_grid(found: Harm, *, provenance: Provenance, heading: str) -> Grid:
    """A row a patient who got worse, the largest loss in the first measure first.

    Args:
        found: from ``harm``.
        provenance: where the images come from.
        heading: what the table shows.
    """
    values, small_below = found.values, f"{SMALL_BELOW_ML[found.task]:g} mL"
    return Grid(
        heading=heading,
        provenance=provenance,
        population=population_text(values.dataset, values.patients, values.seeds),
        header=(
            "Patient",
            "Got worse",
            f"Lesions below {small_below}",
            f"Lesions of {small_below} or more",
            "False positive objects",
            "Slice to look at",
            "Seed",
        ),
        rows=tuple(_row(patient) for patient in found.worse),
        notes=(
            f"Got worse: {found.base} → {found.tuned}, seeds averaged within each patient; any loss counts.",
            f"Compared: {'; '.join(title(measure) for measure in found.measures)}.",
            f"Lesions: annotated ones that {found.base} hit and {found.tuned} missed (lost), or the other "
            "way round (gained).",
            f"Slice: the one in which false negative and false positive voxels grew most. {SLICES}",
            "Seed: the one whose value is nearest to the patient's mean in the first measure that got worse "
            "(the worst of such); lesions, false positives and slice are that seed's.",
        ),
    )


def _row(found: WorsePatient) -> tuple[Cell, ...]:
    before, after = found.false_positives
    look = found.look_at
    return (
        Cell(f"{found.patient} ({found.session})"),
        Cell("; ".join(map(_change, found.worse))),
        Cell(_lesions(found.small)),
        Cell(_lesions(found.large)),
        Cell(f"{after - before:+d} ({before} → {after})" if after != before else f"same ({after})"),
        Cell(f"{look.slice} (wrong voxels {look.base} → {look.tuned})" if look else NO_VALUE),
        Cell(str(found.seed)),
    )


def _change(change: Change) -> str:
    """Both values and their difference, with as many decimals as it takes to see that there is one."""
    decimals = change.measure.decimals
    while not round(change.tuned - change.base, decimals):
        decimals += 1
    before, after = f"{change.base:.{decimals}f}", f"{change.tuned:.{decimals}f}"
    return f"{change.measure.label} {before} → {after} ({change.tuned - change.base:+.{decimals}f})"


def _lesions(change: LesionChange) -> str:
    return f"{change.lost} lost, {change.gained} gained, of {change.n}" if change.n else "none"
