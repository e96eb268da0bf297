"""A base CNN on disk: read back as it was, and refused where it is not what its record says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from psft_jax.errors import InputError
from psft_jax.model.network import Network, Variables
from psft_jax.scan import Cohort, Patient, Provenance, Sequence, Task, Visit
from psft_jax.training.saved import RECORD, BaseRecord, fingerprint, load_base, save_base


@pytest.fixture
def variables(tiny: Network, scrambled: Callable[[Network, int], Variables]) -> Variables:
    return scrambled(tiny, 0)


@pytest.fixture
def record(tiny: Network, variables: Variables) -> BaseRecord:
    return BaseRecord(
        task=Task.SEGMENTATION,
        model=tiny.config,
        model_name="tiny",
        channels=tiny.channels,
        sequences=("FLAIR", "T1"),
        dataset="made up",
        provenance=Provenance.SIMULATED,
        training_subjects=("A", "B"),
        seed=3,
        sha256=fingerprint(variables),
    )


def cohort(
    *test: str, channels: tuple[int, int] = (1, 2), names: tuple[str, str] = ("FLAIR", "T1")
) -> Cohort:
    def never() -> None:
        raise AssertionError("nothing is loaded to check a cohort")

    def patient(subject: str) -> Patient:
        return Patient(subject, tuple(Visit(subject, session, never) for session in ("T1", "T2")))  # type: ignore[arg-type]

    first, second = (
        Sequence(name, tuple(f"{name}{n}" for n in range(count)))
        for name, count in zip(names, channels, strict=True)
    )
    return Cohort("others", Provenance.REAL, (first, second), (), tuple(patient(s) for s in test))


def test_what_was_saved_is_read_back(tmp_path: Path, record: BaseRecord, variables: Variables) -> None:
    save_base(tmp_path, record, variables)
    read, again = load_base(tmp_path)
    assert read == record
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    save_base(tmp_path, record, variables)  # a run that was stopped before its end does this once more


def test_a_changed_weight_is_noticed(tmp_path: Path, record: BaseRecord, variables: Variables) -> None:
    save_base(tmp_path, replace(record, sha256="0" * 64), variables)
    with pytest.raises(InputError, match="SHA-256 differs"):
        load_base(tmp_path)


def test_a_fingerprint_is_of_every_array(variables: Variables) -> None:
    params = {**variables.params, "head": jax.tree.map(lambda leaf: leaf + 1e-6, variables.params["head"])}
    assert fingerprint(Variables(params, variables.batch_stats)) != fingerprint(variables)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_a_base_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected the folder of a finished base training"):
        load_base(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"task": "surgery"}, "task"), ({"channels": [1]}, "channels"), ({"model": {"width": 0}}, "model")],
)
def test_a_record_that_was_edited_wrongly_is_refused(
    tmp_path: Path, record: BaseRecord, variables: Variables, change: dict[str, object], said: str
) -> None:
    save_base(tmp_path, record, variables)
    path = tmp_path / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=said):
        load_base(tmp_path)


def test_a_record_of_another_network_is_refused(
    tmp_path: Path, record: BaseRecord, variables: Variables
) -> None:
    save_base(tmp_path, replace(record, model=replace(record.model, width=8)), variables)
    with pytest.raises(InputError, match="a checkpoint of another network"):
        load_base(tmp_path)


def test_a_base_fits_its_own_kind_alone(record: BaseRecord) -> None:
    record.check_fits(cohort("C"), Task.SEGMENTATION)
    with pytest.raises(InputError, match="a base CNN for segmentation"):
        record.check_fits(cohort("C"), Task.DETECTION)
    with pytest.raises(InputError, match=r"FLAIR \(1\) and T1 \(1\) channels"):
        record.check_fits(cohort("C", channels=(1, 1)), Task.SEGMENTATION)
    with pytest.raises(InputError, match="DCE"):
        record.check_fits(cohort("C", names=("DCE", "DWI")), Task.SEGMENTATION)
    with pytest.raises(InputError, match="was trained on: B"):
        record.check_fits(cohort("B", "C"), Task.SEGMENTATION)
