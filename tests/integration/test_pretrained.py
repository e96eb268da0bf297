"""The base CNN that comes with the project: whole, described truly, and at hand by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.config import PRETRAINED, FinetuneRun
from psft_jax.errors import InputError
from psft_jax.scan import Provenance, Task
from psft_jax.training.saved import load_base
from tests.integration.commands import composed

CARD = (PRETRAINED / "segmentation" / "README.md").read_text(encoding="utf-8")


def test_it_is_whole_and_has_not_seen_the_test_patient() -> None:
    record, _ = load_base(PRETRAINED / "segmentation")  # checks the variables' SHA-256
    assert (record.task, record.provenance) == (Task.SEGMENTATION, Provenance.REAL)
    assert record.sequences == ("FLAIR", "T1")
    assert "mslesseg-P14" not in record.training_subjects
    assert len(record.training_subjects) == 8


def test_the_card_says_what_it_is() -> None:
    record, _ = load_base(PRETRAINED / "segmentation")
    assert f"{record.network.parameter_count:,} parameters" in CARD
    assert f"`model={record.model_name}`" in CARD
    assert f"{record.model.width} kernels" in CARD
    for subject in record.training_subjects:
        assert subject.rpartition("-")[2].removeprefix("patient") in CARD
    assert (PRETRAINED / "segmentation" / "training.png").is_file()


def test_its_name_stands_for_its_folder(tmp_path: Path) -> None:
    run = composed(FinetuneRun, "base=pretrained", "dataset=mslesseg", f"out={tmp_path}")
    assert run.base_folder == PRETRAINED / "segmentation"
    other = composed(FinetuneRun, "base=some/folder", "dataset=mslesseg", f"out={tmp_path}")
    assert other.base_folder == Path("some/folder")


def test_there_is_none_for_the_liver(tmp_path: Path) -> None:
    run = composed(FinetuneRun, "base=pretrained", "dataset=phantom_liver", f"out={tmp_path}")
    with pytest.raises(
        InputError, match=r"base: found pretrained, for the task detection; .*\(segmentation\)"
    ):
        run.base_folder  # noqa: B018 - a property that raises
