"""What README.md names exists: commands, their words, files, and links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from experiments.config import DemoRun, FinetuneRun, RunConfig, StudyRun, TrainBaseRun
from experiments.inspect import InspectRun
from experiments.preprocess import PreprocessRun
from experiments.segment import SegmentRun
from tests.integration.commands import composed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```(?:bash|console)\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
COMMANDS = [line.strip() for line in CODE.splitlines() if line.strip() and not line.strip().startswith("#")]
KINDS: dict[str, type[RunConfig]] = {
    "train_base": TrainBaseRun,
    "finetune": FinetuneRun,
    "study": StudyRun,
    "demo": DemoRun,
    "inspect": InspectRun,
    "preprocess": PreprocessRun,
    "segment": SegmentRun,
}


def test_readme_names_the_two_commands() -> None:
    assert any(line.startswith("make demo") for line in COMMANDS)
    assert any(line.startswith("make test") for line in COMMANDS)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_make_targets_exist(line: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert shlex.split(line, comments=True)[1] in targets


@pytest.mark.parametrize("line", [line for line in COMMANDS if "-m experiments." in line])
def test_commands_compose(line: str) -> None:
    words = shlex.split(line, comments=True)
    place = next(n for n, word in enumerate(words) if word.startswith("experiments."))
    module = words[place].removeprefix("experiments.")
    assert (ROOT / "experiments" / f"{module}.py").is_file()
    if module not in KINDS:  # no configuration of a run: report takes folders, dashboard names runs
        return
    given = [word for word in words[place + 1 :] if word not in ("-m", "--multirun")]
    if module == "study":
        composed(StudyRun, *given)
        return
    # In a multirun a word holds several values; each must be good.
    for n in range(max(word.count(",") for word in [*given, ""]) + 1):
        one = [f"{key}={values.split(',')[min(n, values.count(','))]}" for key, values in split(given)]
        composed(KINDS[module], *one)


def split(words: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (word.partition("=") for word in words)]


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith(("make ", "git ", "cd "))])
def test_other_commands_are_ours(line: str) -> None:
    known = (r"\.venv/bin/(python -m experiments\.\w+|wandb sync)", r"export PSFT_DATA=")
    assert any(re.match(pattern, line) for pattern in known), line


def test_named_files_exist() -> None:
    paths = set(re.findall(r"`((?:psft_jax|experiments|conf|tests|notebooks|docs|bench)/[\w./-]*)`", README))
    paths |= set(re.findall(r"\]\(([^)#:]+)\)", README))
    assert paths, "the README says where to look in the code"
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
