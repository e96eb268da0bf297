"""Tables, figures and one page from any set of runs of one cohort.

python -m experiments.report runs/study/NAME
python -m experiments.report runs/finetune/NAME runs/finetune/OTHER --out FOLDER
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from experiments.launch import CONFIG, errors_as_sentences, log_to_terminal
from experiments.report_page import report_of
from experiments.results import RUNS, Collected, collect

logger = logging.getLogger(__name__)


def write(paths: list[Path], out: Path | None = None) -> Path:
    """Write ``report.html``, ``results.csv``, ``tables/`` and ``figures/`` into a folder.

    Args:
        paths: folders of runs, folders that hold such, or folders of studies.
        out: where to write, ``default_place`` without one; a report that is there already is replaced.

    Returns:
        The page.

    Raises:
        InputError: the folders hold no runs that may stand in one table; see ``collect``.
    """
    collected = collect(paths)
    for folder, state in collected.unfinished.items():
        logger.warning("not finished, and left out: %s (%s)", folder, state)
    return report_of(collected, out or default_place(paths, collected))


def main() -> None:
    """Read the command line, and say where the page lies."""
    log_to_terminal()
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description="The paper's tables and figures, and more, from finished runs of one cohort, task and "
        "base CNN: report.html with everything in it, tables as Markdown, CSV and LaTeX, figures as PNG.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="a run, a folder of runs (runs/finetune), or a study (runs/study/NAME)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write to; by default `report` inside a single run or study, else a folder under "
        "runs/report that is named after the cohort and the base CNN",
    )
    given = parser.parse_args()
    with errors_as_sentences():
        page = write(given.folders, given.out)
    logger.info("report: %s", page)


def default_place(folders: list[Path], collected: Collected) -> Path:
    """Inside the run or study that the report is of, where it is one; else a folder beside the stages."""
    if len(folders) == 1 and any((folders[0] / name).exists() for name in (RUNS, CONFIG)):
        return folders[0] / "report"
    run = collected.runs[0]
    return run.folder.parents[1] / "report" / f"{run.config.dataset.source}-{run.base_sha256[:8]}"


if __name__ == "__main__":
    main()
