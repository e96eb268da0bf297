"""The commands as a user types them, each in a process of its own, with W&B offline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.help import help_of
from experiments.launch import errors_as_sentences
from tests.integration.commands import NAMES

ROOT = Path(__file__).parents[2]

SMALL = (
    *("dataset=phantom_brain", "dataset.phantom.n_training=1", "dataset.phantom.n_test=1"),
    "dataset.phantom.shape=[12,60,60]",
)
TRAINING = (
    *("model=demo", "model.pnet.width=4", "model.pnet.dilations=[[1,1],[2,2]]", "train=demo"),
    *("train.iterations=2", "train.validate_every=1", "train.patches.size=32"),
)
FINETUNING = ("finetune=demo_segmentation", "finetune.settings.iterations=2", "monte_carlo_samples=2")


def typed(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"experiments.{module}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("typed")
    done = typed("train_base", *SMALL, *TRAINING, f"out={out}", "name=base")
    assert done.returncode == 0, done.stderr
    assert f"-m experiments.finetune base={out}/train_base/base dataset=..." in done.stdout
    return out / "train_base" / "base"


def test_multirun_files_each_job_by_its_configuration_and_in_wandb(base: Path) -> None:
    out = base.parents[1]
    words = ("--multirun", *SMALL, *FINETUNING, f"base={base}", f"out={out}", "seed=0,1")
    done = typed("finetune", *words)
    assert done.returncode == 0, done.stderr
    assert "PHANTOM data" in done.stdout
    runs = sorted(path.parent for path in out.glob("finetune/*/done.json"))
    assert len(runs) == 2
    for run in runs:
        (recorded,) = run.glob("wandb/offline-run-*")
        assert next(recorded.glob("run-*.wandb")).stat().st_size > 1_000
        media = recorded / "files" / "media" / "images"
        images = [path.relative_to(media).as_posix() for path in media.rglob("*.png")]
        pictures = [name for name in images if not name.endswith(".mask.png")]
        assert len(pictures) == 6
        assert sum("with masks" in name for name in pictures) == 3  # the image and two SD maps
        assert any("SD of fine-tuned with masks" in name for name in set(images) - set(pictures))
        assert list(recorded.glob("files/media/table/results*"))
    again = typed("finetune", *words)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already finished") == 2


def test_a_failing_job_does_not_end_the_others(base: Path, tmp_path: Path) -> None:
    words = (*SMALL, *FINETUNING, f"base=nowhere,{base}", f"out={tmp_path}", "tracking=off")
    done = typed("finetune", "--multirun", *words)
    assert done.returncode != 0
    assert "error: nowhere: found no such folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("finetune/*/done.json"))) == 1


def test_an_ablation_is_a_multirun_and_a_wrong_value_fails_alone(base: Path, tmp_path: Path) -> None:
    words = (*SMALL, f"base={base}", f"out={tmp_path}", "tracking=off", "finetune.settings.patches.size=32")
    done = typed(
        "finetune", "+ablation=iterations", *words, "finetune.settings.iterations=0,2,-1", "seed=0,1"
    )
    assert done.returncode != 0
    assert (
        "error: finetune.settings.iterations: found -1; expected 0 (the base network) or more" in done.stderr
    )
    assert "Traceback" not in done.stderr
    finished = sorted(path.parent.name.rsplit("-", 1)[0] for path in tmp_path.glob("finetune/*/done.json"))
    assert finished == [
        f"phantom_brain-{count}_iterations_size_32-seed{seed}" for count in (0, 2) for seed in (0, 1)
    ]
    told = typed("report", str(tmp_path / "finetune"), "--out", str(tmp_path / "report"))
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "report" / "report.html").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("finetune", (), "error: base: found no value"),
        ("finetune", ("base=nowhere", *SMALL), "error: nowhere: found no such folder"),
        ("train_base", ("train.iterations=none",), "error: train.iterations: found 'none'"),
        ("train_base", ("hardware=gpu", *SMALL), "error: hardware.platform: found cuda"),
        ("train_base", ("hardware.devices=64", *SMALL), "error: hardware.devices: found 64 devices"),
        ("train_base", ("itterations=3",), "Key 'itterations' is not in struct"),
        ("demo", ("task=surgery",), "Could not find 'task/surgery'"),
        ("study", ("base=nowhere", *SMALL), "error: nowhere: found no such folder"),
    ],
)
def test_a_slip_is_answered_by_a_sentence_and_no_traceback(
    module: str, words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = typed(module, *words, f"out={tmp_path}")
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interruption_says_how_to_go_on() -> None:
    with pytest.raises(SystemExit, match="interrupted: repeat the command"), errors_as_sentences():
        raise KeyboardInterrupt


def test_help_names_the_groups_and_the_values() -> None:
    done = typed("finetune", "--help")
    assert done.returncode == 0
    for word in (
        "dataset=phantom_brain   of: bids, ",
        "finetune=paper   of: ",
        "dropout samples of the uncertainty",
    ):
        assert word in done.stdout
    for hydras in ("defaults:", "_self_", "hydra:", "help_of"):
        assert hydras not in done.stdout


@pytest.mark.parametrize("stage", sorted(NAMES.values()))
def test_help_tells_what_the_chosen_options_hold(stage: str) -> None:
    text = help_of(stage, {"dataset": "table", "hardware": "gpu", "finetune": "control/threshold"})
    assert text.startswith(
        ("Train", "Fine-tune", "All", "The", "Make", "Lesion", "From", "What", "Look", "Base")
    )
    assert "columns of the two sequences" in text
    assert "# as cpu, but for:" in text
    assert "finetune=control/threshold   of: all_layers, author_script, control/other_patient" in text
    assert "# of everything random but the phantoms" in text
