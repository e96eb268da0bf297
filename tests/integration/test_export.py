"""``python -m experiments.export``: a run's results as a BIDS derivative that the BIDS validator accepts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from experiments import export, finetune
from experiments.config import FinetuneRun
from experiments.datasets import BrainPhantomDataset, MSLesSegDataset, TableDataset
from experiments.finished import on_disk
from psft_jax.data import bids
from psft_jax.data.bids import Selection
from psft_jax.data.bids_derivative import Sources, checksum
from psft_jax.data.nifti import write_volume
from psft_jax.errors import InputError
from psft_jax.evaluation.rows import read_results
from psft_jax.phantoms.brain import brain_cohort
from tests.data.layouts import brain, lesion, save
from tests.integration.commands import composed, tiny, tiny_finetuning

ROOT = Path(__file__).parents[2]
Trained = tuple[str, Path, Path]
Exported = tuple[FinetuneRun, Path, Path]

ONE_TASK = pytest.mark.parametrize("trained", ["phantom_brain"], indirect=True)
"""For what is the same whatever the task."""
TOLERATED = {"SIDECAR_KEY_RECOMMENDED", "JSON_KEY_RECOMMENDED", "NO_AUTHORS", "TOO_FEW_AUTHORS"}
"""Warnings about what the project cannot know, such as authors and licence."""


def complaints(folder: Path, *words: str) -> list[dict[str, Any]]:
    """What the BIDS validator has to say, but for the warnings that are tolerated."""
    validator = Path(sys.executable).parent / "bids-validator-deno"
    command = [str(validator), str(folder), "--format", "json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = json.loads(done.stdout)
    assert said["summary"]["totalFiles"] > 0
    issues = [issue for issue in said["issues"]["issues"] if issue["code"] not in TOLERATED]
    assert any(issue["severity"] == "error" for issue in issues) == (done.returncode != 0)
    return issues


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A run of two test patients, and its derivative."""
    config = tiny_finetuning(*trained)
    run = finetune.run(config)
    return config, run, export.export(run, tmp_path_factory.mktemp("exported") / "études" / "psft")


def sidecars(out: Path) -> dict[str, dict[str, Any]]:
    """The sidecars of the first patient's volumes, by what their names end in."""
    folder = min(out.glob("sub-*"))
    return {
        path.stem.partition("_space-orig_label-lesion_")[2]: json.loads(path.read_text())
        for path in folder.rglob("*.json")
    }


def test_the_validator_accepts_it(exported: Exported) -> None:
    assert complaints(exported[2]) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("{stem}_desc-base_space-orig_mask.nii.gz", "FILENAME_MISMATCH"),
        ("{stem}_space-orig_desc-base_lesions.nii.gz", "NOT_INCLUDED"),
        ("{stem}_space-orig_desc-new_mask.nii.gz", "SIDECAR_KEY_REQUIRED"),  # no SpatialReference
    ],
)
def test_the_validator_refuses_what_is_wrong(
    name: str, code: str, exported: Exported, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(exported[2], tmp_path / "copy"))
    mask = min(out.rglob("*_desc-base_mask.nii.gz"))
    stem = mask.name.partition("_space")[0]
    mask.with_name(name.format(stem=stem)).write_bytes(mask.read_bytes())
    assert code in {issue["code"] for issue in complaints(out) if issue["severity"] == "error"}


def test_every_volume_is_there_and_is_the_runs(exported: Exported) -> None:
    _, run, out = exported
    names = {
        "mask": "desc-{}_mask",
        "probability": "desc-{}_probseg",
        "mean": "desc-{}mean_probseg",
        "sd": "desc-{}sd_probseg",
    }
    for home in (run / "patients").iterdir():
        label = "".join(filter(str.isalnum, home.name))
        place = out / f"sub-{label}" / "ses-followup" / "anat"
        assert len(list(place.iterdir())) == 2 * 2 * len(names)
        for network, desc in (("base", "base"), ("fine-tuned", "finetuned")):
            for what, name in names.items():
                origin = home / network / f"{home.name}_follow_up_{what}.nii.gz"
                file = place / f"sub-{label}_ses-followup_space-orig_label-lesion_{name.format(desc)}.nii.gz"
                assert file.read_bytes() == origin.read_bytes()
                assert file.stat().st_ino != origin.stat().st_ino  # a copy: either may be corrected alone
                told = json.loads(Path(str(file).replace(".nii.gz", ".json")).read_text())
                assert told["SHA256"] == checksum(file)
    told = pd.read_csv(out / "descriptions.tsv", sep="\t")["desc_id"].tolist()
    assert told == [f"desc-{name}{of}" for name in ("base", "finetuned") for of in ("", "mean", "sd")]


def test_sidecars_say_how_the_volumes_were_made(exported: Exported) -> None:
    config, run, out = exported
    told = sidecars(out)
    base = json.loads((config.base_folder / "base.json").read_text())
    for sidecar in told.values():
        assert sidecar["BaseCNN"] == {"Model": base["model_name"], "SHA256": base["sha256"]}
        assert sidecar["Provenance"] == "phantom"
        assert sidecar["Sources"] == []  # generated scans have no files
        assert sidecar["SpatialReference"] == "orig"
        assert sidecar["Versions"] == json.loads((run / "done.json").read_text())
    assert told["desc-base_mask"]["Threshold"] == 0.5
    assert told["desc-base_mask"]["Opening"] is config.task.opening
    assert "FineTuning" not in told["desc-base_mask"]
    assert told["desc-finetuned_mask"]["FineTuning"]["settings"]["iterations"] == 3
    assert told["desc-finetunedsd_probseg"]["Samples"] == 3
    assert "Samples" not in told["desc-finetuned_probseg"]


@ONE_TASK
def test_the_threshold_is_the_one_that_was_used(trained: Trained, tmp_path: Path) -> None:
    dataset, out, base = trained
    words = ("finetune=control/threshold", f"base={base}", "monte_carlo_samples=0")
    config = composed(FinetuneRun, *tiny(dataset, out), *words)
    run = finetune.run(config)
    derivative = export.export(run)
    assert derivative == run / "derivative"
    assert complaints(derivative) == []
    told = sidecars(derivative)
    assert set(told) == {f"desc-{n}_{kind}" for n in ("base", "finetuned") for kind in ("mask", "probseg")}
    tuning = json.loads((min((run / "patients").iterdir()) / "tuning.json").read_text())
    assert told["desc-finetuned_mask"]["Threshold"] == tuning["threshold"]
    assert told["desc-base_mask"]["Threshold"] == 0.5


def test_the_measures_are_those_of_the_results(exported: Exported) -> None:
    _, run, out = exported
    results = read_results(run / "results.csv")
    patients = pd.read_csv(out / "participants.tsv", sep="\t").set_index("participant_id")["patient"]
    columns = json.loads((out / "sessions.json").read_text())
    assert columns["finetuned_volume_ml"]["Units"] == "mL"
    assert set(patients) == set(results["patient"])
    for label, patient in patients.items():
        table = pd.read_csv(out / label / f"{label}_sessions.tsv", sep="\t", na_values="n/a")
        assert set(table) <= set(columns)
        assert table["session_id"].tolist() == ["ses-followup"]
        of_patient = results[results["patient"] == patient]
        assert len(of_patient) == table.shape[1] - 1
        for row in of_patient.itertuples():
            network = "base" if row.variant == "base" else "finetuned"
            assert table[f"{network}_{row.metric}"][0] == pytest.approx(row.value, rel=1e-12, nan_ok=True)


@ONE_TASK
def test_a_repeated_export_writes_what_is_missing_and_nothing_else(
    exported: Exported, tmp_path: Path
) -> None:
    _, run, _ = exported
    out = export.export(run, tmp_path / "out")
    first, second = sorted(out.glob("sub-*"))
    corrected = min(second.rglob("*_desc-finetuned_mask.nii.gz"))
    corrected.write_bytes(b"corrected by hand")
    shutil.rmtree(first)
    (out / "participants.tsv").unlink()  # as an interruption leaves it
    (out / ".sub-x.tmp").mkdir()
    assert export.export(run, out) == out
    assert len(list(first.rglob("*.nii.gz"))) == 8
    assert (out / "participants.tsv").is_file()
    assert corrected.read_bytes() == b"corrected by hand"
    (out / "participants.tsv").write_text("participant_id\tage\n")
    export.export(run, out)
    assert (out / "participants.tsv").read_text() == "participant_id\tage\n"


@ONE_TASK
def test_what_is_there_already_is_not_overwritten(exported: Exported, tmp_path: Path) -> None:
    _, run, _ = exported
    others = tmp_path / "others"
    others.mkdir()
    (others / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in (others, tmp_path / "file"):
        with pytest.raises(InputError, match="found other files, or the derivative of another run"):
            export.export(run, place)
    out = export.export(run, tmp_path / "out")
    other = Path(shutil.copytree(run, tmp_path / "finetune" / "other"))
    identity = (other / "identity.json").read_text()
    (other / "identity.json").write_text(identity.replace('"configuration": "', '"configuration": "0'))
    with pytest.raises(InputError, match="the derivative of another run"):
        export.export(other, out)
    sidecar = min(out.rglob("*_mask.json"))
    told = sidecar.read_text()
    sidecar.write_text(told.replace("0.5", "0.4"))
    with pytest.raises(InputError, match=r"_mask\.json: found another result than the run's"):
        export.export(run, out)
    sidecar.write_text(told)
    image = min(out.rglob("*_probseg.nii.gz"))
    image.unlink()
    with pytest.raises(InputError, match=r"_probseg\.nii\.gz: found no such file"):
        export.export(run, out)


@ONE_TASK
def test_runs_without_volumes_are_refused(exported: Exported, tmp_path: Path) -> None:
    _, run, _ = exported
    copy = Path(shutil.copytree(run, tmp_path / "finetune" / "copy"))
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("outputs: full", "outputs: results"))
    with pytest.raises(InputError, match="outputs=results, which has no volumes"):
        export.export(copy)
    (copy / "config.yaml").write_text(config)
    min(copy.rglob("*_sd.nii.gz")).unlink()
    with pytest.raises(InputError, match=r"_sd\.nii\.gz: found no such file"):
        export.export(copy)
    (copy / "done.json").unlink()
    with pytest.raises(InputError, match="none of them finished"):
        export.export(copy)


@pytest.fixture(scope="module")
def raw(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BIDS data set: a patient with two visits, and masks in derivatives."""
    config = composed(FinetuneRun, *tiny("phantom_brain", Path("unused")), "base=unused")
    root = tmp_path_factory.mktemp("data") / "raw"
    (patient, _) = brain_cohort(config.dataset.phantom).test
    for session, visit in zip(("1", "2"), patient.visits, strict=True):
        scan = visit.load()
        stem = f"sub-01_ses-{session}"
        images = root / "sub-01" / f"ses-{session}" / "anat"
        masks = root / "derivatives" / "manual" / "sub-01" / f"ses-{session}" / "anat"
        write_volume(images / f"{stem}_FLAIR.nii.gz", scan.sequences[0][..., 0], scan)
        write_volume(images / f"{stem}_T1w.nii.gz", scan.sequences[1][..., 0], scan)
        write_volume(masks / f"{stem}_label-brain_mask.nii.gz", scan.organ, scan)
        assert scan.lesion is not None
        write_volume(masks / f"{stem}_label-lesion_desc-manual_mask.nii.gz", scan.lesion, scan)
    description = {"Name": "raw", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("A generated brain at two visits, not a patient.")
    maker = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "Manual", "Description": "by hand"}]}
    manual = {**description, **maker, "Name": "manual"}
    (root / "derivatives" / "manual" / "dataset_description.json").write_text(json.dumps(manual))
    return root


@ONE_TASK
def test_from_a_bids_folder_to_a_derivative_in_it_and_back(
    raw: Path, trained: Trained, tmp_path: Path
) -> None:
    config = composed(
        FinetuneRun,
        *("dataset=bids", f"dataset.root={raw}", "dataset.provenance=phantom", f"base={trained[2]}"),
        *("finetune=demo_segmentation", "finetune.settings.iterations=2"),
        *("finetune.settings.patches.size=32", "monte_carlo_samples=2", f"out={tmp_path}", "tracking=off"),
    )
    run = finetune.run(config)
    for place in (raw, raw / "sub-01", raw / "derivatives", raw / "derivatives" / "manual"):
        with pytest.raises(InputError, match=r"among the files of the data set|other files"):
            export.export(run, place)
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*") if path.is_file()}
    out = export.export(run, raw / "derivatives" / "psft_jax")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert complaints(out) == []
    errors = [issue for issue in complaints(raw, "--recursive") if issue["severity"] == "error"]
    assert errors == []

    # The names of the sources lead to files with these hashes: the follow-up's, and for the fine-tuned head
    # the baseline's with its lesion mask, but never the follow-up's.
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"source": "../.."}
    told = sidecars(out)
    for sidecar in told.values():
        assert sidecar["SpatialReference"] == "bids:source:sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz"
        for uri, sha256 in sidecar["SourcesSHA256"].items():
            assert checksum(out / links["source"] / uri.removeprefix("bids:source:")) == sha256
    of_base, of_tuned = (told[f"desc-{name}_mask"]["Sources"] for name in ("base", "finetuned"))
    assert [uri.rpartition("_")[2] for uri in of_base] == ["FLAIR.nii.gz", "T1w.nii.gz", "mask.nii.gz"]
    assert of_tuned[:3] == of_base
    assert [uri for uri in of_tuned[3:] if "ses-1" in uri and "lesion" in uri] == of_tuned[-1:]
    assert not any("ses-2" in uri and "lesion" in uri for uri in of_tuned)

    # What the network found is not taken for an annotation unless someone asks for it.
    assert finetune.run(config) == run
    assert export.export(run, out) == out
    found = bids.find(raw)
    assert any("psft_jax, and are not read as annotations" in note for note in found.notes)
    assert found.visits[1].lesion is not None
    assert "desc-manual" in found.visits[1].lesion.name
    manual = next(raw.rglob("*_ses-2_label-lesion_desc-manual_mask.nii.gz"))
    manual.rename(tmp_path / manual.name)
    assert bids.find(raw).visits[1].lesion is None
    again = bids.find(raw, select=Selection(lesion={"desc": ("manual", "finetuned")}))
    assert not again.problems
    scan = again.cohort().test[0].follow_up.load()
    mask = nib.load(next(out.rglob("*_desc-finetuned_mask.nii.gz")))
    np.testing.assert_array_equal(np.asarray(mask.dataobj).T.astype(bool), scan.lesion)
    alone = bids.find(raw, derivatives=out, select=Selection(lesion={"desc": "base"}))
    assert alone.visits[1].lesion == next(out.rglob("*_desc-base_mask.nii.gz"))

    (tmp_path / manual.name).rename(manual)
    flair = raw / "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"
    kept = flair.read_bytes()
    flair.write_bytes(kept + b"0")
    with pytest.raises(InputError, match="files of sub-01: found other bytes than those that the run was"):
        export.export(run, out)
    flair.write_bytes(kept)


def test_files_of_any_layout_are_named_from_its_folder(tmp_path: Path) -> None:
    near, far = tmp_path / "study" / "P1", tmp_path / "elsewhere"
    for session in ("T1", "T2"):
        for what, values in (("FLAIR", brain(1)), ("T1", brain(2)), ("MASK", lesion())):
            save(near / session / f"P1_{session}_{what}.nii.gz", values)
    roots, files = on_disk(MSLesSegDataset(root=str(tmp_path / "study")))
    flair = near / "T2" / "P1_T2_FLAIR.nii.gz"
    assert files["mslesseg-P1", "T2"].sequences[0] == (flair,)
    assert Sources(roots).uri(flair) == "bids:source:P1/T2/P1_T2_FLAIR.nii.gz"

    table = tmp_path / "study" / "scans.csv"
    save(far / "t1.nii", brain(2))
    rows = ["subject,session,role,FLAIR,T1,organ,lesion", f"a,1,follow_up,P1/T2/{flair.name},{far}/t1.nii,,"]
    table.write_text("\n".join(rows))
    roots, files = on_disk(TableDataset(path=str(table)))
    uris = list(map(Sources(roots).uri, files["a", "1"].files))
    assert uris == ["bids:source:P1/T2/P1_T2_FLAIR.nii.gz", (far / "t1.nii").as_uri()]
    assert on_disk(BrainPhantomDataset()) == ({}, {})


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.export", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@ONE_TASK
def test_the_command_says_where_it_lies_or_what_is_wrong(exported: Exported, tmp_path: Path) -> None:
    done = typed(str(exported[1]), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert f"derivative: {tmp_path / 'out'}" in done.stderr
    assert (tmp_path / "out" / "dataset_description.json").is_file()
    slip = typed(str(tmp_path / "nowhere"))
    assert slip.returncode != 0
    assert "nowhere: found no such folder" in slip.stderr
    assert "Traceback" not in slip.stderr
