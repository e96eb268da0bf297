"""Brains: raw FLAIR and T1 become what the networks read (section 2.1.2 of the paper).

The parts that need SimpleITK are imported when the pipeline is made, so that the settings need no extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from psft_jax.data.bids_names import bids_label
from psft_jax.data.visit_files import Role, VisitFiles
from psft_jax.preprocess.brain_settings import BrainSettings
from psft_jax.preprocess.extra import missing_extra
from psft_jax.preprocess.outputs import Pipeline, Prepared

__all__ = ["BrainSettings", "brain_pipeline"]


def brain_pipeline(settings: BrainSettings) -> Pipeline:
    """The pipeline for brains.

    It corrects both images of a visit for the bias field, finds the brain, and registers the T1 to the FLAIR,
    on whose own grid, or on one of given voxels, all is written. Each follow-up stays in its own space; the
    rigid transform from the baseline to it is written beside it.

    Raises:
        InputError: SimpleITK is not installed.
    """
    if find_spec("SimpleITK") is None:
        raise missing_extra("brain", "no SimpleITK")
    return partial(_prepare, settings)


def _prepare(settings: BrainSettings, visits: Sequence[VisitFiles], folder: Path) -> list[Prepared]:
    """Prepare all visits of a subject, one after the other; see ``psft_jax.preprocess.outputs.Pipeline``."""
    from psft_jax.preprocess.brain_files import write_between, write_visit
    from psft_jax.preprocess.brain_visit import prepare_visit
    from psft_jax.preprocess.registration import register

    prepared: list[Prepared] = []
    baseline = None
    for files in visits:
        visit = prepare_visit(files, settings)
        written = write_visit(visit, files, settings, folder)
        if files.role is Role.BASELINE:
            baseline = files.session, visit.flair
        elif baseline is not None:
            session, earlier = baseline
            how = settings.registration, settings.threads
            where = f"{files.name}, with the baseline {session}"
            found = register(where, visit.flair, earlier, visit.brain, *how)
            labels = {"moving": bids_label(session), "fixed": bids_label(files.session)}
            written = Prepared(
                written.files, {**written.steps, **write_between(found, files, folder, **labels)}
            )
        prepared.append(written)
    return prepared
