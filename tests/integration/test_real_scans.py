"""The commands' path on real scans: two of MSLesSeg's training patients, P14's two visits, a tiny network."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from experiments import finetune, train_base
from experiments.config import FinetuneRun, TrainBaseRun
from psft_jax.evaluation.rows import read_results
from tests.integration.commands import composed

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def scans(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of MSLesSeg, in the layout in which it is published."""
    root = tmp_path_factory.mktemp("mslesseg")
    for patient in ("P2", "P4", "P14"):
        shutil.copytree(real_data / "mslesseg" / "train" / patient, root / "train" / patient)
    return root


def test_p14_is_fine_tuned_and_quantified(scans: Path, tmp_path: Path) -> None:
    shared = ("dataset=mslesseg", f"dataset.root={scans}", "dataset.open_ms=null", f"out={tmp_path}")
    base = train_base.run(
        composed(
            TrainBaseRun,
            *shared,
            *("model=demo", "model.pnet.width=4", "model.pnet.dilations=[[1,1],[2,2]]", "train=demo"),
            *("train.iterations=30", "train.validate_every=15", "train.patches.size=64", "tracking=off"),
        )
    )
    run = finetune.run(
        composed(
            FinetuneRun,
            *shared,
            *(f"base={base}", "finetune=demo_segmentation", "monte_carlo_samples=2", "tracking=off"),
            "finetune.settings.iterations=10",
        )
    )
    results = read_results(run / "results.csv")
    assert set(results["patient"]) == {"mslesseg-P14"}
    assert set(results["session"]) == {"T2"}
    volumes = results[results["metric"] == "reference_volume_ml"]["value"]
    original = nib.load(scans / "train/P14/T2/P14_T2_MASK.nii.gz")
    assert volumes.tolist() == pytest.approx([np.count_nonzero(original.get_fdata()) / 1000] * 2)
    assert "REAL data" in (run / "report.html").read_text()
    for variant in ("base", "fine-tuned"):
        mask = nib.load(run / "patients" / "mslesseg-P14" / variant / "mslesseg-P14_T2_mask.nii.gz")
        assert mask.shape == original.shape
        np.testing.assert_array_equal(mask.affine, original.affine)
