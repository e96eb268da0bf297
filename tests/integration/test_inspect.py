"""``python -m experiments.inspect``: what it finds, all problems at once, pictures of what can be read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from experiments import inspect
from experiments.inspect import InspectRun
from experiments.launch import register_resolvers
from experiments.parsing import parse
from psft_jax.errors import InputError
from tests.data.layouts import SHAPE, bids_visit, brain, lesion, save
from tests.integration.commands import CONF

ROOT = Path(__file__).parents[2]


def composed(*words: str) -> InspectRun:
    register_resolvers(InspectRun, inspect.STAGE)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("inspect", list(words)), InspectRun)


def run(out: Path, *words: str) -> Path:
    return inspect.run(composed(*words, f"out={out}", "name=looked"))


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """A BIDS folder with a training patient and a patient with two visits."""
    root = tmp_path / "bids"
    bids_visit(root, "a", "1")
    bids_visit(root, "b", "1")
    bids_visit(root, "b", "2", mask=False)
    return root


def test_a_data_set_without_problems(
    healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "runs", "dataset=bids", f"dataset.root={healthy}", "per_sheet=2")
    visits = pd.read_csv(folder / inspect.VISITS)
    assert visits[["subject", "session", "role"]].to_numpy().tolist() == [
        ["sub-a", "ses-1", "training"],
        ["sub-b", "ses-1", "baseline"],
        ["sub-b", "ses-2", "follow_up"],
    ]
    assert visits["lesions"].tolist()[:2] == [1, 1]
    assert np.isnan(visits["lesions"][2])
    assert visits["lesion_ml"][0] == pytest.approx(2 * 3 / 1000)
    assert visits["organ_ml"][0] == pytest.approx((brain(1) > 0).sum() * 3 / 1000)
    assert visits["orientation"].tolist() == ["LAS"] * 3
    assert visits[["voxels_z", "voxels_y", "voxels_x"]].iloc[0].tolist() == [10, 14, 12]
    assert visits["FLAIR_maximum"][0] == pytest.approx(brain(1).max())
    assert pd.read_csv(folder / inspect.PROBLEMS).empty
    sheets = sorted(path.name for path in (folder / inspect.SHEETS).iterdir())
    assert sheets == ["sheet_001.png", "sheet_002.png"]
    assert "REAL data" in capsys.readouterr().out


def test_a_second_look_replaces_the_first(healthy: Path, tmp_path: Path) -> None:
    words = ("dataset=bids", f"dataset.root={healthy}")
    run(tmp_path / "runs", *words, "per_sheet=1")
    folder = run(tmp_path / "runs", *words)
    assert [path.name for path in (folder / inspect.SHEETS).iterdir()] == ["sheet_001.png"]


def break_everything(root: Path) -> dict[str, str]:
    """Patients who lack something, each in another way; by patient, what must be said of them."""
    for subject in "cdefghijk":
        bids_visit(root, subject, "1")
    place = {subject: root / f"sub-{subject}/ses-1/anat/sub-{subject}_ses-1" for subject in "cdefghijk"}
    mask = {
        subject: root
        / f"derivatives/manual/sub-{subject}/ses-1/anat/sub-{subject}_ses-1_label-L_desc-manual_mask.nii.gz"
        for subject in "cdefghijk"
    }
    Path(f"{place['c']}_T1w.nii.gz").unlink()
    save(Path(f"{place['d']}_run-2_FLAIR.nii.gz"), brain(3))
    save(Path(f"{place['e']}_FLAIR.nii.gz"), brain(1)[:, :, :1])
    save(mask["f"], lesion(), np.diag([1.0, 1, 3, 1]))
    save(mask["g"], lesion() * 3)
    flair = Path(f"{place['h']}_FLAIR.nii.gz")
    flair.write_bytes(flair.read_bytes()[:-30])
    save(mask["i"], np.zeros(SHAPE, np.uint8))
    mask["j"].unlink()
    image = nib.Nifti1Image(brain(1), np.diag([1.0, 1, 3, 1]))
    image.set_qform(np.diag([-1.0, 1, 3, 1]), code=1)
    nib.save(image, Path(f"{place['k']}_FLAIR.nii.gz"))
    return {
        "sub-c/ses-1/anat: found no T1w image": "c",
        "sub-d_ses-1_FLAIR.nii.gz: found more than one file that can be the flair: also sub-d": "d",
        "sub-e_ses-1_FLAIR.nii.gz: found a single slice": "e",
        "sub-f_ses-1_label-L_desc-manual_mask.nii.gz: found an affine": "f",
        "sub-g_ses-1_label-L_desc-manual_mask.nii.gz: found the labels 0, 3": "g",
        "sub-h_ses-1_FLAIR.nii.gz: found a file that cannot be read": "h",
        "sub-i_ses-1: found a lesion mask without a lesion": "i",
        "sub-j: found no lesion mask for visit ses-1 (training)": "j",
        "sub-k_ses-1_FLAIR.nii.gz: found an sform and a qform": "k",
    }


def test_every_problem_is_told_and_hides_no_other(healthy: Path, tmp_path: Path) -> None:
    expected = break_everything(healthy)
    with pytest.raises(InputError, match=r"bids: found problems \(9\), listed above and in .*problems\.csv"):
        run(tmp_path / "runs", "dataset=bids", f"dataset.root={healthy}")
    folder = tmp_path / "runs" / inspect.STAGE / "looked"
    problems = pd.read_csv(folder / inspect.PROBLEMS)
    told = [
        f"{where}: found {found}" for where, found in zip(problems["where"], problems["found"], strict=True)
    ]
    for text, subject in expected.items():
        assert sum(text in one for one in told) == 1, (subject, told)
    visits = pd.read_csv(folder / inspect.VISITS).set_index("subject")
    assert visits.loc["sub-a", "lesions"] == 1
    unreadable = visits.index[visits["orientation"].isna()]
    assert sorted(unreadable) == [f"sub-{subject}" for subject in "efghk"]
    assert "a single slice" in visits.loc["sub-e", "problems"]
    # Those that can be read are shown: a, b twice, i and j.
    assert len(list((folder / inspect.SHEETS).iterdir())) == 1


def test_the_command_fails_with_a_sentence(healthy: Path, tmp_path: Path) -> None:
    (healthy / "sub-b/ses-2/anat/sub-b_ses-2_T1w.nii.gz").unlink()
    words = ["dataset=bids", f"dataset.root={healthy}", f"out={tmp_path}", "name=typed"]
    command = [sys.executable, "-m", "experiments.inspect", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "problem 1: " in done.stdout
    assert "sub-b/ses-2/anat: found no T1w image that fits" in done.stdout
    assert "error: bids: found problems (1)" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sub-a ses-1" in done.stdout
    assert (tmp_path / "inspect" / "typed" / inspect.SHEETS / "sheet_001.png").stat().st_size > 10_000


def livers(folder: Path, *phases: int) -> Path:
    """A table of one patient's visits with so many phases of DCE each."""
    organ = save(folder / "organ.nii.gz", (brain() > 0).astype(np.uint8)).name
    mask = save(folder / "lesion.nii.gz", lesion()).name
    rows = ["subject,session,role,DCE,DWI,organ,lesion"]
    for session, count in enumerate(phases):
        for name, volumes in (("dce", count), ("dwi", 2)):
            series = np.stack([brain(volume) for volume in range(volumes)], axis=-1)
            save(folder / f"{name}{session}.nii.gz", series)
        role = "follow_up" if session else "baseline"
        rows.append(f"P,{session},{role},dce{session}.nii.gz,dwi{session}.nii.gz,{organ},{mask}")
    path = folder / "livers.csv"
    path.write_text("\n".join(rows))
    return path


def test_phases_that_the_network_does_not_take_are_a_problem_of_the_whole(tmp_path: Path) -> None:
    words = ("dataset=table_liver", f"dataset.path={livers(tmp_path, 5, 5)}")
    with pytest.raises(InputError, match=r"livers: found problems \(1\)"):
        run(tmp_path / "runs", *words)
    problems = pd.read_csv(tmp_path / "runs/inspect/looked" / inspect.PROBLEMS)
    assert problems["found"].tolist() == ["5 phases"]
    folder = run(tmp_path / "runs", *words, "dataset.dce_channels=null")
    assert pd.read_csv(folder / inspect.VISITS)["DCE_channels"].tolist() == [5, 5]


def test_mismatched_phases_are_told_once(tmp_path: Path) -> None:
    words = ("dataset=table_liver", f"dataset.path={livers(tmp_path, 5, 4, 5)}", "dataset.dce_channels=null")
    with pytest.raises(InputError, match=r"livers: found problems \(1\)"):
        run(tmp_path / "runs", *words)
    folder = tmp_path / "runs/inspect/looked"
    assert pd.read_csv(folder / inspect.PROBLEMS)["found"].tolist() == ["4 volumes of DCE for visit P_1"]
    assert pd.read_csv(folder / inspect.VISITS)["orientation"].isna().tolist() == [False, True, False]


def test_phantoms_can_be_looked_at_too(tmp_path: Path) -> None:
    folder = run(
        tmp_path / "runs",
        *("dataset=phantom_brain", "dataset.phantom.shape=[12,60,60]"),
        *("dataset.phantom.n_training=1", "dataset.phantom.n_test=1", "per_sheet=0"),
    )
    assert pd.read_csv(folder / inspect.VISITS)["role"].tolist() == ["training", "baseline", "follow_up"]
    assert not (folder / inspect.SHEETS).exists()


PAGE = (ROOT / "docs" / "layouts.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")


@pytest.mark.parametrize("line", [line for line in CODE.splitlines() if line])
def test_the_commands_of_the_page_on_layouts_compose(line: str) -> None:
    interpreter, _, module, *words = shlex.split(line)
    assert (interpreter, module) == (".venv/bin/python", "experiments.inspect")
    dataset = next(word for word in words if word.startswith("dataset=")).removeprefix("dataset=")
    assert composed(*words).dataset.source == dataset.removesuffix("_liver")
