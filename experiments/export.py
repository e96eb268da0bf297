"""A finished fine-tuning run as a BIDS derivative.

python -m experiments.export runs/finetune/NAME
python -m experiments.export runs/finetune/NAME --out BIDS_FOLDER/derivatives/psft_jax

Files are copied, not linked: a mask that someone corrects in the derivative stays as it was in the run.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from experiments.derivative import (
    Item,
    Run,
    descriptions,
    items,
    participants,
    readme,
    session_columns,
    sessions,
)
from experiments.finished import finished_run
from experiments.launch import BASE_CNN, IDENTITY, errors_as_sentences, log_to_terminal
from psft_jax.data.bids_derivative import (
    PIPELINE,
    check_place,
    distinct_labels,
    read_dataset_description,
    read_json,
    sidecar_of,
    write_dataset_description,
    write_json,
    write_sidecar,
)
from psft_jax.errors import InputError
from psft_jax.files import atomic_path, refused_by_disk, write_text

logger = logging.getLogger(__name__)

PLACE = "derivative"
PARTICIPANTS = "participants.tsv"
RUN = "Run"
"""The field of the description that says which run a derivative was made from."""
IDENTIFIES = ("configuration", BASE_CNN)
"""What of a run's identity tells it from others."""


def export(folder: Path, out: Path | None = None) -> Path:
    """Write the derivative, or what is missing of it.

    Args:
        folder: of a finished run of ``finetune`` with ``outputs=full``.
        out: the derivative's folder; ``derivative`` in the run's without one. Inside a data set it must be
            one in its ``derivatives``. A patient's files appear whole or not at all, and those that are there
            already stay as they are.

    Returns:
        The derivative's folder.

    Raises:
        InputError: the run is not finished or has no volumes, its data set is not there or not the same any
            more, two names become one BIDS label, or the folder holds other files.
    """
    run, visits = finished_run(folder)
    labels = distinct_labels(visit.subject for visit in visits)
    out = out or run.folder / PLACE
    with refused_by_disk(out):
        _claim(out, run)
        written = [
            _write_patient(
                out / f"sub-{labels[visit.subject]}", items(run, visit), sessions(visit, run.results)
            )
            for visit in tqdm(visits, desc="patients", unit="patient", disable=len(visits) < 2)
        ]
        if any(written) or not (out / PARTICIPANTS).exists():
            _write_tables(out, run, [visit.subject for visit in visits])
    return out


def _claim(out: Path, run: Run) -> None:
    """Make the folder a derivative of this run, or find that it is.

    Raises:
        InputError: it is something else, or would lie among the files of a data set.
    """
    check_place(out, run.sources.folders.values())
    mark = {what: value for what, value in read_json(run.folder / IDENTITY).items() if what in IDENTIFIES}
    there = out.exists() or out.is_symlink()
    if out.is_dir():
        told = read_dataset_description(out)
        if told and told.get(RUN) == mark:
            return
        # What begins with a dot, an export that was killed can have left.
        there = any(not entry.name.startswith(".") for entry in out.iterdir())
    if there:
        raise InputError(
            out,
            found="other files, or the derivative of another run",
            expected="an empty folder, none yet, or an earlier export of this run",
            remedy="Choose another --out, or move it away.",
        )
    label = run.config.finetune.label
    write_dataset_description(
        out,
        name=f"Follow-up lesions of {run.dataset}, {label}",
        description=f"Lesions in follow-up scans, by a base CNN and after fine-tuning: {label}",
        sources=run.sources,
        version=run.versions[PIPELINE],
        more={RUN: mark},
    )


def _write_patient(target: Path, contents: Sequence[Item], table: pd.DataFrame) -> bool:
    """Write a patient's folder, whole or not at all; False where it is there already.

    Raises:
        InputError: it is there and says something else.
    """
    if target.exists():
        _check_written(target, contents)
        return False
    with atomic_path(target) as temporary:
        for item in contents:
            place = temporary / item.path.relative_to(target.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.origin, place)
            write_sidecar(place, item.sidecar)
        write_tsv(temporary / f"{target.name}_sessions.tsv", table)
    return True


def _check_written(target: Path, contents: Sequence[Item]) -> None:
    for item in contents:
        image = target.parent / item.path
        sidecar = sidecar_of(image)
        missing = [file for file in (image, sidecar) if not file.is_file()]
        if missing or read_json(sidecar) != item.sidecar:
            raise InputError(
                missing[0] if missing else sidecar,
                found="no such file" if missing else "another result than the run's",
                expected="what an earlier export of this run wrote",
                remedy=f"Delete {target} to have it written again, or choose another --out.",
            )


def _write_tables(out: Path, run: Run, subjects: Sequence[str]) -> None:
    """What stands beside the patients' folders; the list of patients comes last."""
    write_text(out / "README.md", readme(run), overwrite=True)
    write_tsv(out / "descriptions.tsv", descriptions(run))
    measured = dict.fromkeys(run.results["metric"])
    write_json(out / "sessions.json", session_columns([*measured]), overwrite=True)
    table, columns = participants(subjects)
    write_json(sidecar_of(out / PARTICIPANTS), columns, overwrite=True)
    write_tsv(out / PARTICIPANTS, table)


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as BIDS wants it, in place of an earlier one."""
    write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n"), overwrite=True)


def main() -> None:
    """Read the command line, and say where the derivative lies."""
    log_to_terminal()
    parser = argparse.ArgumentParser(
        prog="python -m experiments.export",
        description="The results of a finished fine-tuning run as a BIDS derivative: masks, probabilities "
        "and SDs with their sidecars. Repeated, it writes what is missing.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run's folder: runs/finetune/NAME")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"the derivative's folder, such as BIDS_FOLDER/derivatives/psft_jax; by default {PLACE} in the "
        "run's folder",
    )
    given = parser.parse_args()
    with errors_as_sentences():
        out = export(given.folder, given.out)
    logger.info("derivative: %s", out)


if __name__ == "__main__":
    main()
