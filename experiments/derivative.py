"""What a BIDS derivative says of a fine-tuning run's results: names, sidecars, tables.

Of each follow-up, for the base CNN and the fine-tuned one (``desc``): the mask, the lesion probability
without dropout, and, with Monte Carlo samples, their mean (``desc-...mean``) and SD (``desc-...sd``). All lie
on the grid of the follow-up's file (``space-orig``). BIDS has no suffix for a standard deviation, and one of
our own, named in ``.bidsignore``, is refused where the validator is called with ``--recursive`` on the data
set above, which does not read that file; so the SD is a ``probseg`` too, and ``desc`` and sidecar say what it
is. The measures stand in ``sub-*_sessions.tsv``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.config import FinetuneRun
from experiments.parsing import plain
from experiments.patient import BASE, PATIENTS, TUNED, TUNING
from psft_jax.data.bids_derivative import Sources, checksum, read_json
from psft_jax.data.bids_names import bids_label, bids_path
from psft_jax.data.visit_files import VisitFiles
from psft_jax.errors import InputError
from psft_jax.evaluation.measures import MEASURES
from psft_jax.scan import Provenance

SPACE, LESION = "orig", "lesion"
DESCS = {BASE: "base", TUNED: "finetuned"}
"""What the two networks are called in file names."""
NETWORKS = {BASE: "base CNN", TUNED: "fine-tuned CNN"}
"""What they are called in sentences."""


@dataclass(frozen=True)
class Kind:
    """A volume that a run leaves of each network.

    Args:
        file: how its name ends in the run's folder.
        suffix: its suffix in BIDS.
        of: what its ``desc`` adds to the network's.
        description: of its voxels.
    """

    file: str
    suffix: str
    of: str
    description: str


PLAIN = (
    Kind("mask", "mask", "", "1 where the {network} finds lesion, 0 elsewhere"),
    Kind("probability", "probseg", "", "Probability of lesion by the {network}, without dropout"),
)
SAMPLED = (
    Kind(
        "mean",
        "probseg",
        "mean",
        "Mean probability of lesion over Monte Carlo dropout samples of the {network}",
    ),
    Kind(
        "sd",
        "probseg",
        "sd",
        "SD of the probability of lesion over Monte Carlo dropout samples of the {network}",
    ),
)
"""With Monte Carlo samples only."""

README = """# Lesions in follow-up scans

Follow-up scans of `{dataset}`{origin}, quantified by a base CNN and by the same CNN after fine-tuning to each
patient's baseline ({label}; seed {seed}), with psft_jax. On the grid of the follow-up's file:

{volumes}

Each has a JSON file that names what it was made from, with SHA-256, and all settings. The measures of each
visit stand in `sub-*/sub-*_sessions.tsv`, and what their columns mean in `sessions.json`.

Research software: not for diagnosis or treatment.
"""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, as its results' sidecars tell of it.

    Args:
        folder: where it lies.
        config: what it was.
        base_sha256: which base CNN it started from.
        versions: of the packages that made it.
        sources: names of the files that it was made from.
        results: the rows of its ``results.csv``.
    """

    folder: Path
    config: FinetuneRun
    base_sha256: str
    versions: Mapping[str, str]
    sources: Sources
    results: pd.DataFrame

    @property
    def dataset(self) -> str:
        """The cohort's name."""
        return str(self.results["dataset"].iloc[0])

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The volumes that it left of each network."""
        return (*PLAIN, *SAMPLED) if self.config.monte_carlo_samples else PLAIN


@dataclass(frozen=True)
class FollowUp:
    """A quantified visit.

    Args:
        subject: the patient's identifier.
        session: the visit's identifier.
        files: what the networks were given of it; None for a generated scan.
        tuned_on: the files that the head was tuned on.
    """

    subject: str
    session: str
    files: VisitFiles | None
    tuned_on: tuple[Path, ...]


@dataclass(frozen=True)
class Item:
    """A file of the derivative: its origin, its path inside the derivative, and what its sidecar says."""

    origin: Path
    path: Path
    sidecar: Mapping[str, Any]


def items(run: Run, visit: FollowUp) -> list[Item]:
    """The volumes of a follow-up, with all that is to be said of them.

    Raises:
        InputError: one of them is missing.
    """
    return [_item(run, visit, network, kind) for network in DESCS for kind in run.kinds]


def _item(run: Run, visit: FollowUp, network: str, kind: Kind) -> Item:
    home = run.folder / PATIENTS / visit.subject
    origin = home / network / f"{visit.subject}_{visit.session}_{kind.file}.nii.gz"
    entities = {"space": SPACE, "label": LESION, "desc": DESCS[network] + kind.of}
    path = bids_path(visit.subject, visit.session, kind.suffix, **entities)
    if not origin.is_file():
        raise InputError(
            origin,
            found="no such file",
            expected="the volumes that the run left",
            remedy="Restore it, or repeat the command that made the run with overwrite=true.",
        )
    return Item(origin, path, {**_told(run, visit, network, kind), "SHA256": checksum(origin)})


def _told(run: Run, visit: FollowUp, network: str, kind: Kind) -> dict[str, Any]:
    """The fields of a sidecar."""
    config = run.config
    told: dict[str, Any] = {"Description": kind.description.format(network=NETWORKS[network])}
    used = () if visit.files is None else _images(visit.files)
    told |= run.sources.told([*used, *visit.tuned_on] if network == TUNED else used)
    told["SpatialReference"] = run.sources.uri(used[0]) if used else SPACE
    if kind.suffix == "mask":
        told |= {"Type": "Lesion", "Manual": False, "Threshold": _threshold(run, visit, network)}
        told["Opening"] = config.task.opening
    else:
        told["Units"] = "1"
    if kind in SAMPLED:
        told |= {"Samples": config.monte_carlo_samples, "DropoutMasks": config.monte_carlo_masks}
    told |= {"Task": config.task.kind, "Provenance": config.dataset.provenance}
    told["BaseCNN"] = {"Model": str(run.results["model"].iloc[0]), "SHA256": run.base_sha256}
    if network == TUNED:
        told["FineTuning"] = {**plain(config.finetune), "variant": config.finetune.variant}
    return {**told, "Precision": config.precision, "Seed": config.seed, "Versions": dict(run.versions)}


def _images(visit: VisitFiles) -> tuple[Path, ...]:
    """The files of a visit that a network sees: not its lesion mask."""
    return tuple(file for file in visit.files if file != visit.lesion)


def _threshold(run: Run, visit: FollowUp, network: str) -> float:
    """The probability from which on a voxel is lesion."""
    if network == BASE:
        return run.config.task.threshold
    return float(read_json(run.folder / PATIENTS / visit.subject / TUNING)["threshold"])


def participants(subjects: Iterable[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """``participants.tsv`` and what its columns mean."""
    rows = [{"participant_id": f"sub-{bids_label(name)}", "patient": name} for name in sorted(subjects)]
    columns = {
        "participant_id": {"Description": "The label of the patient's files"},
        "patient": {"Description": "The patient's identifier in the source data"},
    }
    return pd.DataFrame(rows), columns


def sessions(visit: FollowUp, results: pd.DataFrame) -> pd.DataFrame:
    """``sub-*_sessions.tsv``: the measures of a follow-up, of either network.

    Args:
        visit: the follow-up.
        results: rows of ``results.csv``, of all patients and one run.
    """
    row: dict[str, str] = {"session_id": f"ses-{bids_label(visit.session)}"}
    for found in results[results["patient"] == visit.subject].itertuples():
        network = BASE if found.variant == BASE else TUNED
        value = float(found.value)  # type: ignore[arg-type]
        row[column(network, str(found.metric))] = repr(value) if math.isfinite(value) else "n/a"
    return pd.DataFrame([row])


def session_columns(metrics: Sequence[str]) -> dict[str, Any]:
    """What the columns of ``sub-*_sessions.tsv`` mean."""
    told: dict[str, Any] = {"session_id": {"Description": "The label of the visit that was quantified"}}
    for network in DESCS:
        for metric in metrics:
            measure = MEASURES[metric]
            about = {"Description": f"{measure.label}, {network}; n/a where it is undefined"}
            told[column(network, metric)] = about | ({"Units": measure.unit} if measure.unit else {})
    return told


def column(network: str, metric: str) -> str:
    """What a measure of a network is called."""
    return f"{DESCS[network]}_{metric}"


def descriptions(run: Run) -> pd.DataFrame:
    """``descriptions.tsv``: what the labels of ``desc`` stand for."""
    told = {}
    for network in DESCS:
        for kind in run.kinds:
            name = NETWORKS[network]
            text = kind.description.format(network=name) if kind.of else f"What the {name} finds"
            told[f"desc-{DESCS[network]}{kind.of}"] = text
    return pd.DataFrame({"desc_id": list(told), "description": list(told.values())})


def readme(run: Run) -> str:
    """``README.md``: what the derivative holds."""
    config = run.config
    origin = "" if config.dataset.provenance is Provenance.REAL else f" ({config.dataset.provenance} data)"
    volumes = "\n".join(
        f"- `*_desc-{DESCS[network]}{kind.of}_{kind.suffix}.nii.gz`: "
        f"{kind.description.format(network=NETWORKS[network])}"
        for network in DESCS
        for kind in run.kinds
    )
    label = config.finetune.label
    return README.format(dataset=run.dataset, origin=origin, label=label, seed=config.seed, volumes=volumes)
