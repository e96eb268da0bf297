"""The dashboard draws what runs tell, offline as JSON, and pushed to a stand-in of W&B's server."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments.dashboard import DashboardRun, run
from experiments.parsing import parse
from psft_jax.errors import InputError
from psft_jax.reporting.tables import HEADLINE
from psft_jax.scan import Task
from tests.tracking.standin import TEAM, StandIn

# wandb-workspaces is written for an older pydantic.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")

CONF = Path(__file__).parents[2] / "conf"


def configured(*words: str) -> DashboardRun:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("dashboard", list(words)), DashboardRun)


def section(view: dict[str, Any], beginning: str) -> list[dict[str, Any]]:
    """The configurations of a section's panels."""
    bank = view["spec"]["section"]["panelBankConfig"]["sections"]
    (found,) = [section for section in bank if section["name"].startswith(beginning)]
    return [panel["config"] for panel in found["panels"]]


@pytest.mark.parametrize("task", list(Task))
def test_every_headline_measure_is_compared_between_settings(task: Task, tmp_path: Path) -> None:
    view = json.loads(run(configured(f"task={task.value}", f"out={tmp_path}")).read_text())
    bars = section(view, "Settings: base CNN and fine-tuned")
    assert [bar["metrics"] for bar in bars] == [[f"base/{m}", f"fine-tuned/{m}"] for m in HEADLINE[task]]
    differences = section(view, "Settings: difference")
    assert [bar["metrics"] for bar in differences] == [[f"difference/{m}"] for m in HEADLINE[task]]
    for bar in (*bars, *differences):
        assert (bar["groupBy"], bar["groupAgg"], bar["groupArea"]) == ("variant.value", "mean", "stddev")
    assert [(dots["xAxis"], dots["yAxis"]) for dots in section(view, "Iterations")] == [
        ("config:finetune.value.settings.iterations", f"summary:fine-tuned/{m}") for m in HEADLINE[task]
    ]
    mean, every = section(view, "Loss")
    assert mean["metrics"] == ["loss"]
    assert every["metricRegex"] == "^loss/"
    assert section(view, "Figures")[0]["mediaKeys"] == ["paired"]


def test_the_table_of_runs_shows_the_setting_and_the_measures(tmp_path: Path) -> None:
    view = json.loads(run(configured(f"out={tmp_path}")).read_text())
    (runs,) = view["spec"]["section"]["runSets"]
    assert runs["runFeed"]["columnOrder"][:5] == [
        *("run:displayName", "config:variant.value", "config:seed.value"),
        *("summary:base/dsc", "summary:fine-tuned/dsc"),
    ]
    (key,) = runs["sort"]["keys"]
    assert key == {"key": {"section": "summary", "name": "fine-tuned/dsc"}, "ascending": False}


def test_only_the_runs_asked_for(tmp_path: Path) -> None:
    words = ("tracking.group=sweep-1", "tracking.tags=[iterations,phantom]", "tracking.project=lesions")
    view = json.loads(run(configured(*words, f"out={tmp_path}")).read_text())
    assert view["project"] == "lesions"
    (runs,) = view["spec"]["section"]["runSets"]
    filters = json.dumps(runs["filters"])
    for wanted in ("jobType", "finetune", "group", "sweep-1", "iterations", "phantom"):
        assert f'"{wanted}"' in filters


def test_pushed_twice_it_is_one_dashboard(server: StandIn, tmp_path: Path) -> None:
    words = ("tracking.project=lesions", f"out={tmp_path}")
    for mode in ("online", "offline", "online"):
        path = run(configured(*words, f"tracking={mode}"))
    first, second = server.views
    assert "id" not in first
    assert second["id"] == "view of team/lesions"
    assert second["name"] == first["name"]
    view = json.loads(path.read_text())
    assert view["entity"] == TEAM
    assert view["url"].startswith(f"{server.url}/{TEAM}/lesions?nw=")
    for sent in server.views:
        assert (sent["entityName"], sent["projectName"]) == (TEAM, "lesions")
        assert sent["displayName"] == "Fine-tuning: segmentation"
    assert json.loads(second["spec"])["section"]["runSets"] == view["spec"]["section"]["runSets"]


def test_another_team_gets_a_dashboard_of_its_own(server: StandIn, tmp_path: Path) -> None:
    run(configured("tracking=online", f"out={tmp_path}"))
    run(configured("tracking=online", "tracking.entity=others", f"out={tmp_path}"))
    assert [sent["entityName"] for sent in server.views] == [TEAM, "others"]
    assert "id" not in server.views[1]


def test_without_a_key_the_file_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No API key configured"):
        run(configured("tracking=online", f"out={tmp_path}"))
    assert json.loads((tmp_path / "dashboard.json").read_text())["url"] is None


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **named: Any) -> Any:
        if name.startswith("wandb_workspaces"):
            raise ImportError(name)
        return real(name, *args, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install wandb-workspaces"):
        run(configured(f"out={tmp_path}"))
    assert not any(tmp_path.iterdir())
