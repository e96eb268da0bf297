"""What ``--help`` prints: what the command does, and its values with the comments that conf/ has on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from textwrap import indent

CONF = Path(__file__).parents[1] / "conf"
GENERAL = "config"
"""The file of what every command has."""
_DEFAULTS = re.compile(r"^defaults:\n(?:[ #].*\n)*\n?", re.MULTILINE)
_OTHERS = re.compile(r"^  - (\w+)$", re.MULTILINE)
"""The files of the same group that a file begins with."""
_HYDRA = re.compile(r"^# Runs are filed by.*", re.MULTILINE | re.DOTALL)


def help_of(stage: str, choices: Mapping[str, str]) -> str:
    """The text for one command.

    Args:
        stage: the command's name, of its module and of its file under conf/.
        choices: of each group of settings the option that is chosen, by the group's name.
    """
    about = (import_module(f"experiments.{stage}").__doc__ or "").split("\n\n")[0]
    parts = [
        about,
        f"Values of {stage}, given as NAME=VALUE:\n\n{_values(stage)}",
        f"Values of every command:\n\n{_values(GENERAL)}",
        "Groups of values: GROUP=OPTION takes another option, GROUP.NAME=VALUE changes a value of it.",
        *(_group(group, choices[group]) for group in sorted(choices)),
        "GROUP=OPTION beside --help shows the values of that option. --cfg job in place of --help shows all\n"
        "values as the command line makes them. --multirun with NAME=A,B runs with each.",
    ]
    return "\n\n".join(parts)


def _group(group: str, chosen: str) -> str:
    folder = CONF / group
    options = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    return f"{group}={chosen}   of: {', '.join(options)}\n{_values(f'{group}/{chosen}')}"


def _values(file: str) -> str:
    """A file under conf/ without what only Hydra reads."""
    text = (CONF / f"{file}.yaml").read_text(encoding="utf-8")
    others = [f"# as {name}, but for:\n" for name in _OTHERS.findall(text) if name not in (GENERAL, "_self_")]
    return indent("".join(others) + _HYDRA.sub("", _DEFAULTS.sub("", text)).strip(), "  ")
