"""A W&B workspace that compares runs of fine-tuning, as code.

What it draws is what such a run tells: in its configuration ``variant`` (the setting in words) and the
settings, in its summary ``base/MEASURE``, ``fine-tuned/MEASURE`` and ``difference/MEASURE``, and the loss.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psft_jax.errors import InputError
from psft_jax.files import write_text
from psft_jax.tracking.config import TrackingConfig
from psft_jax.tracking.session import at_home, end_process, told

BASE, TUNED, DIFFERENCE = "base", "fine-tuned", "difference"
"""How the names of a summary begin."""

SETTINGS = {
    "iterations": "finetune.settings.iterations",
    "learning rate": "finetune.settings.learning_rate",
    "slices": "finetune.settings.slices.count",
    "scope": "finetune.settings.scope",
    "weighting": "finetune.settings.weighting",
    "tuned on": "finetune.tuned_on",
    "seed": "seed",
}
"""What a run's configuration calls the axes of the ablations."""

MOST_RUNS = 500


def build(name: str, measures: Mapping[str, str], config: TrackingConfig) -> Any:
    """The workspace; nothing is sent.

    Args:
        name: of the workspace.
        measures: name -> heading of the measures to compare, the most important first.
        config: the project and team, and which of its runs: those of the group, those with all of the tags.

    Raises:
        InputError: wandb-workspaces is not installed.
    """
    ws, wr = _packages()
    filters = [ws.Metric("JobType") == "finetune"]
    if config.group is not None:
        filters.append(ws.Metric("Group") == config.group)
    filters += [ws.Tags().isin([tag]) for tag in config.tags]
    columns = [f"{begin}/{measure}" for measure in measures for begin in (BASE, TUNED)]
    return ws.Workspace(
        entity=config.entity or "",
        project=config.project,
        name=name,
        sections=_sections(ws, wr, measures),
        settings=ws.WorkspaceSettings(max_runs=MOST_RUNS, group_by_prefix="first"),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(*filters),
            order=[ws.Ordering(ws.Summary(f"{TUNED}/{next(iter(measures))}"), ascending=False)],
            pinned_columns=["config:variant.value", "config:seed.value", *(f"summary:{c}" for c in columns)],
        ),
        # Every picture and number that no panel here asks for gets one of W&B's own below them.
        auto_generate_panels=True,
    )


def save(workspace: Any, path: Path) -> None:
    """Write a workspace as JSON, as W&B's server takes it, whole or not at all.

    Args:
        workspace: from ``build``. Where the file holds one of the same name and project that was pushed, it
            takes that one's place.
        path: the file; one that is there is replaced.
    """
    try:
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise InputError(
            path,
            found=f"no JSON ({error})",
            expected="an earlier dashboard, or nothing",
            remedy="Delete the file: the dashboard is then made anew, also in W&B.",
        ) from error
    # The team may be open until it is pushed.
    here = {"entity": workspace.entity, "project": workspace.project, "displayName": workspace.name}
    if all(earlier.get(key) == value for key, value in here.items() if value):
        workspace.entity = earlier["entity"]
        workspace._internal_name, workspace._internal_id = earlier["name"], earlier["id"]
        _write(workspace, path, earlier["url"])
    else:
        _write(workspace, path, None)


def push(workspace: Any, path: Path) -> str:
    """Save a workspace and send it to W&B.

    Args:
        workspace: from ``build``.
        path: the file.

    Returns:
        Where W&B shows it.

    Raises:
        InputError: no key, no network, or W&B refused; the file holds the workspace all the same.
    """
    import wandb

    save(workspace, path)
    with tempfile.TemporaryDirectory() as scratch, at_home(Path(scratch)):
        try:
            # Silent, W&B does not ask for a key where there is none.
            wandb.setup(wandb.Settings(silent=True, x_graphql_retry_max=1))
            workspace.entity = workspace.entity or wandb.Api().default_entity
            workspace.save()
            url: str = workspace.url
        except Exception as error:
            raise InputError(
                "the dashboard",
                found=f"that W&B did not take it ({told(error)})",
                expected="a key and a network",
                remedy=f"See wandb login, then repeat the command. {path} holds the dashboard; without that "
                "file the next push makes a new one.",
            ) from error
        finally:
            end_process(wandb)
    _write(workspace, path, url)
    return url


def _write(workspace: Any, path: Path, url: str | None) -> None:
    view = workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    write_text(path, json.dumps({"url": url, **view}, indent=2) + "\n", overwrite=True)


def _packages() -> tuple[Any, Any]:
    try:
        from wandb_workspaces import workspaces
        from wandb_workspaces.reports import v2
    except ImportError as error:
        raise InputError(
            "wandb-workspaces",
            found="no such package",
            expected="the package that describes W&B's dashboards",
            remedy="Install it: pip install wandb-workspaces.",
        ) from error
    return workspaces, v2


def _sections(ws: Any, wr: Any, measures: Mapping[str, str]) -> list[Any]:
    over_seeds = {
        "groupby": wr.Config("variant"),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "stddev",
        "max_runs_to_show": MOST_RUNS,
    }
    tuned = {measure: wr.SummaryMetric(f"{TUNED}/{measure}") for measure in measures}
    iterations = wr.Config(SETTINGS["iterations"])
    axes = [wr.ParallelCoordinatesPlotColumn(wr.Config(key), name) for name, key in SETTINGS.items()]
    axes += [wr.ParallelCoordinatesPlotColumn(tuned[measure], label) for measure, label in measures.items()]
    panels = {
        "Settings: base CNN and fine-tuned, mean and SD over seeds": [
            wr.BarPlot(label, [f"{BASE}/{measure}", f"{TUNED}/{measure}"], **over_seeds)
            for measure, label in measures.items()
        ],
        "Settings: difference within patients, mean and SD over seeds": [
            wr.BarPlot(label, [f"{DIFFERENCE}/{measure}"], **over_seeds)
            for measure, label in measures.items()
        ],
        "Iterations": [
            wr.ScatterPlot(label, iterations, tuned[measure]) for measure, label in measures.items()
        ],
        "Base CNN against fine-tuned": [
            wr.ScatterPlot(label, wr.SummaryMetric(f"{BASE}/{measure}"), tuned[measure])
            for measure, label in measures.items()
        ],
        "All settings": [wr.ParallelCoordinatesPlot(axes), wr.RunComparer(diff_only="split")],
        "Loss": [
            wr.LinePlot("Mean over patients", y=["loss"], log_y=True, **over_seeds),
            wr.LinePlot("Every patient", metric_regex="^loss/", log_y=True),
        ],
        "Figures": [wr.MediaBrowser("Each line is one patient's follow-up", media_keys=["paired"])],
        "Results": [wr.WeavePanelSummaryTable(table_name="results")],
    }
    return [ws.Section(name, panels=drawn, is_open=True) for name, drawn in panels.items()]
