"""``python -m experiments.preprocess`` with pipelines that take no time: real processes, but few of them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments import inspect, preprocess
from experiments.inspect import InspectRun
from experiments.launch import DONE, register_resolvers
from experiments.next_command import SCANS
from experiments.parsing import plain, run_folder
from experiments.prepared import LOGS, PROBLEMS
from experiments.preprocess import PreprocessRun
from psft_jax.data.assemble import MaskRules
from psft_jax.errors import InputError
from psft_jax.preprocess.brain import BrainSettings
from psft_jax.preprocess.liver_settings import LiverSettings
from tests.data.layouts import brain, lesion, save
from tests.integration import commands
from tests.integration.commands import CONF
from tests.integration.test_export import complaints
from tests.preprocess import pipelines

ROOT = Path(__file__).parents[2]


composed = partial(commands.composed, PreprocessRun)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The command in this process, with the pipeline that copies, into ``tmp_path/runs/preprocess/made``."""
    monkeypatch.setattr(preprocess, "pipeline_of", lambda config, rules: pipelines.copying)

    def command(table: Path, *words: str) -> Path:
        typed = ("dataset=table", f'dataset.path="{table}"', f"out={tmp_path / 'runs'}", "name=made")
        return preprocess.run(composed(*typed, "workers=2", *words))

    return command


def raw_table(folder: Path, *subjects: str) -> Path:
    """A table of subjects with two visits each, the first with masks, of T1s on a grid of their own."""
    rows = ["subject,session,role,FLAIR,T1,organ,lesion"]
    for place, subject in enumerate(subjects):
        for session, role in (("1", "baseline"), ("2", "follow_up")):
            home = folder / f"{subject} é" / session
            save(home / "flair.nii.gz", brain(10 * place + int(session)))
            save(home / "t1.nii.gz", brain(10 * place + int(session) + 5))
            masks = ","
            if session == "1":
                save(home / "brain.nii.gz", (brain() > 0).astype("u1"))
                save(home / "lesion.nii.gz", lesion())
                masks = f"{subject} é/1/brain.nii.gz,{subject} é/1/lesion.nii.gz"
            images = f"{subject} é/{session}/flair.nii.gz,{subject} é/{session}/t1.nii.gz"
            rows.append(f"{subject},{session},{role},{images},{masks}")
    path = folder / "raw.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def cut(table: Path, subject: str) -> bytes:
    """Cut a subject's first FLAIR short, and return what it held."""
    file = table.parent / f"{subject} é" / "1" / "flair.nii.gz"
    content = file.read_bytes()
    file.write_bytes(content[:-30])
    return content


def times(folder: Path) -> dict[str, int]:
    """When each subject's folder was made."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("sub-*")}


def test_a_broken_subject_stops_no_other_and_the_next_run_does_what_is_missing(
    tmp_path: Path,
    run: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    table = raw_table(tmp_path / "raw ü", "a", "b", "c")
    content = cut(table, "b")
    (table.parent / "c é" / "2" / "t1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"2 of 3 subjects that could not be prepared \(problems: 2,"):
        run(table)
    folder = tmp_path / "runs" / "preprocess" / "made"
    problems = pd.read_csv(folder / PROBLEMS)
    assert sorted(Path(where).parts[-3:] for where in problems["where"]) == [
        ("b é", "1", "flair.nii.gz"),
        ("c é", "2", "t1.nii.gz"),
    ]
    assert pd.read_csv(folder / SCANS)["subject"].tolist() == ["a", "a"]
    assert not (folder / DONE).exists()
    first = times(folder)
    assert first.keys() == {"sub-a"}

    (table.parent / "b é" / "1" / "flair.nii.gz").write_bytes(content)
    save(table.parent / "c é" / "2" / "t1.nii.gz", brain(9))
    assert run(table) == folder
    scans = pd.read_csv(folder / SCANS)
    assert list(scans.columns) == ["subject", "session", "role", "FLAIR", "T1", "organ", "lesion"]
    assert scans["subject"].tolist() == list("aabbcc")
    assert scans["lesion"].notna().tolist() == [True, False] * 3
    second = times(folder)
    assert second.keys() == {"sub-a", "sub-b", "sub-c"}
    assert second["sub-a"] == first["sub-a"]
    assert pd.read_csv(folder / PROBLEMS).empty
    assert (folder / DONE).exists()

    caplog.clear()
    run(table)
    assert times(folder) == second
    assert "nothing to prepare" in caplog.text
    assert_the_next_command_works(caplog.text, tmp_path)
    assert "6 visits" in capsys.readouterr().out


def assert_the_next_command_works(log: str, tmp_path: Path) -> None:
    (line,) = re.findall(r"next: \S*python\S* -m experiments\.inspect (.*)", log)
    words = (*shlex.split(line), f"out={tmp_path}", "name=looked", "per_sheet=0")
    inspect.run(commands.composed(InspectRun, *words))


def test_a_run_is_a_bids_derivative(tmp_path: Path, run: Callable[..., Path]) -> None:
    folder = run(raw_table(tmp_path / "raw", "a"))
    (folder / LOGS / "sub-b.log").write_text("of a subject that failed")
    assert [complaint for complaint in complaints(folder) if complaint["severity"] == "error"] == []


def test_what_has_changed_is_refused_and_with_overwrite_prepared_again(
    tmp_path: Path, run: Callable[..., Path]
) -> None:
    table = raw_table(tmp_path, "a", "b")
    folder = run(table)
    first = times(folder)
    save(tmp_path / "b é" / "2" / "flair.nii.gz", brain(77))
    with pytest.raises(InputError, match=r"sub-b: found what was prepared from other inputs \(2 sequence 1"):
        run(table)
    assert times(folder) == first
    run(table, "overwrite=true")
    second = times(folder)
    assert second["sub-a"] == first["sub-a"]
    assert second["sub-b"] > first["sub-b"]
    with pytest.raises(InputError, match="found a run with another configuration"):
        run(table, "seed=1")
    run(table, "seed=1", "overwrite=true")
    assert times(folder)["sub-a"] > second["sub-a"]
    assert not list(folder.parent.glob("*.replaced"))


def started(table: Path, out: Path) -> subprocess.Popen[str]:
    """The command with the slow pipeline in a process group of its own, when its first subject is ready."""
    words = ["dataset=table", f'dataset.path="{table}"', f"out={out}", "name=made", "workers=2"]
    module = "tests.integration.preprocess_with"
    command = [sys.executable, "-m", module, "slow", f"--config-path={CONF}", *words]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log = out / "preprocess" / "made" / "preprocess.log"
    while process.poll() is None and not (log.exists() and "quick: ready" in log.read_text()):
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_is_ready_and_goes_on(
    tmp_path: Path, run: Callable[..., Path], how: signal.Signals
) -> None:
    table = raw_table(tmp_path / "raw", "quick", "slow")
    process = started(table, tmp_path / "runs")
    children = psutil.Process(process.pid).children()
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.kill()
    _, errors = process.communicate(timeout=300)
    assert psutil.wait_procs(children, timeout=120)[1] == []
    folder = tmp_path / "runs" / "preprocess" / "made"
    first = times(folder)
    assert first.keys() == {"sub-quick"}
    if how is signal.SIGINT:
        assert process.returncode == 1
        assert "interrupted: repeat the command" in errors
        assert "Traceback" not in errors
        assert not list(folder.glob(".sub-*"))
        assert pd.read_csv(folder / SCANS)["subject"].tolist() == ["quick", "quick"]
    run(table)
    second = times(folder)
    assert second.keys() == {"sub-quick", "sub-slow"}
    assert second["sub-quick"] == first["sub-quick"]
    assert not list(folder.glob(".sub-*"))


def test_overwriting_deletes_nothing_that_somebody_put_there(
    tmp_path: Path, run: Callable[..., Path]
) -> None:
    table = raw_table(tmp_path / "raw", "a")
    folder = run(table)
    mine = folder / "scans_mine.csv"
    mine.write_text((folder / SCANS).read_text())
    again = ("overwrite=true", "brain.skull_strip=false")
    with pytest.raises(InputError, match=r"scans_mine\.csv: found files that this command did not make"):
        run(table, *again)
    assert mine.is_file()
    assert (folder / DONE).is_file()
    mine.rename(tmp_path / "scans_mine.csv")
    assert run(table, *again) == folder


def test_the_number_of_workers_makes_no_other_run(tmp_path: Path) -> None:
    words = ("dataset=table", f"dataset.path={tmp_path / 'raw.csv'}")
    folders = {
        run_folder(composed(*words, *more), preprocess.STAGE)
        for more in ((), ("workers=3",), ("memory_gb=2",))
    }
    assert len(folders) == 1


def test_a_generated_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset: found phantom_brain, which is generated"):
        preprocess.run(composed("dataset=phantom_brain", f"out={tmp_path}"))


@pytest.mark.parametrize(
    ("word", "told"), [("workers=0", "workers: found 0"), ("memory_gb=0", "memory_gb: found 0.0")]
)
def test_settings_that_cannot_be_are_refused(word: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        composed(word)


def test_the_file_of_settings_says_what_the_settings_are() -> None:
    config = composed("dataset=table")
    assert config.brain == BrainSettings()
    assert config.liver == LiverSettings()
    register_resolvers(PreprocessRun, preprocess.STAGE)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        written = OmegaConf.to_container(compose("preprocess", ["dataset=table"]))
    assert isinstance(written, dict)
    for part in ("brain", "liver"):
        assert written[part] == plain(getattr(config, part))


@pytest.mark.parametrize(
    ("rules", "words", "expected"),
    [
        (MaskRules(), (), (False, None)),
        (MaskRules(resample=True, ignored_label=2), (), (True, 2)),
        (MaskRules(ignored_label=2), ("brain.ignored_label=3", "brain.resample_masks=true"), (True, 3)),
    ],
)
def test_the_data_sets_rules_for_masks_hold(
    monkeypatch: pytest.MonkeyPatch,
    rules: MaskRules,
    words: tuple[str, ...],
    expected: tuple[bool, int | None],
) -> None:
    settings: list[BrainSettings] = []
    monkeypatch.setattr(preprocess, "brain_pipeline", settings.append)
    preprocess.pipeline_of(composed("dataset=table", *words), rules)
    assert [(each.resample_masks, each.ignored_label) for each in settings] == [expected]


@pytest.mark.parametrize(
    ("rules", "word", "expected"), [(True, "false", True), (False, "true", True), (False, "false", False)]
)
def test_masks_of_livers_are_resampled_if_asked_anywhere(
    monkeypatch: pytest.MonkeyPatch, rules: bool, word: str, expected: bool
) -> None:
    settings: list[LiverSettings] = []
    monkeypatch.setattr(preprocess, "liver_pipeline", settings.append)
    config = composed("dataset=table_liver", f"liver.resample_masks={word}")
    preprocess.pipeline_of(config, MaskRules(resample=rules))
    assert [each.resample_masks for each in settings] == [expected]


PAGE = (ROOT / "docs" / "preprocessing.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
COMMAND = ".venv/bin/python -m experiments.preprocess "


@pytest.mark.parametrize("line", [line for line in CODE.splitlines() if line.startswith(COMMAND)])
def test_the_commands_of_the_page_compose(line: str) -> None:
    words = shlex.split(line.removeprefix(COMMAND))
    dataset = next(word for word in words if word.startswith("dataset=")).removeprefix("dataset=")
    assert composed(*words).dataset.source == dataset.removesuffix("_liver")
