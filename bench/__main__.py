"""``python -m bench``: measure, print the table, keep it; ``--render`` writes the page."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench import limits, material, page, table
from bench.machine import machine
from bench.measure import measure
from bench.results import RESULTS, judge, load, save
from bench.rows import rows
from bench.sizes import SIZES
from psft_jax.errors import InputError

WIDTH = 140


def main() -> None:
    """Run the command."""
    options = _options()
    if options.render:
        _render(options.out)
        return
    size = "quick" if options.quick else "full"
    out = options.out or (None if options.quick else RESULTS)
    chosen = [row for row in rows(quick=options.quick) if options.rows is None or row.name in options.rows]
    console, results = Console(), []
    console.width = max(console.width, WIDTH)  # eight columns
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "material.npz"
        made = material.Material(material.make_scan(SIZES[size]), material.make_leaves(SIZES[size]))
        material.save(path, made)
        for number, row in enumerate(chosen, start=1):
            console.print(f"[{number}/{len(chosen)}] {row.work}", markup=False)
            results.append(judge(row, measure(row, size, path, options.repeats)))
            console.print(table.progress(results[-1]), markup=False)
            if out is not None:
                save(out, machine(), results)
    console.print(table.terminal(results))
    for words in filter(None, map(table.shares, results)):
        console.print(f"scaled: {words}", markup=False)


def _render(out: Path | None) -> None:
    """Show the results of a file, or write the usual ones into the page."""
    try:
        if out is not None:
            Console().print(rendered(out), markup=False)
            return
        page.write("results", rendered(RESULTS))
        page.write("limits", limits.rendered(limits.KEPT))
    except InputError as error:
        sys.exit(f"python -m bench: error: {error}")


def rendered(results: Path) -> str:
    """The results as the page shows them, in the order of the rows."""
    where, found = load(results)
    return table.markdown(where, [found[row.name] for row in rows(quick=False) if row.name in found])


def _options() -> argparse.Namespace:
    names = [row.name for row in rows(quick=False)]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=names, metavar="ROW", help=f"some of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a small network, to try the bench itself")
    parser.add_argument("--repeats", type=int, help="instead of each row's own number")
    parser.add_argument("--out", type=Path, help=f"the results' file, usually {RESULTS.name} beside this one")
    parser.add_argument("--render", action="store_true", help="write the results into docs/performance.md")
    options = parser.parse_args()
    if options.repeats is not None and options.repeats < 1:
        parser.error(f"--repeats: found {options.repeats}, expected at least 1")
    if options.render and (options.quick or options.rows or options.repeats):
        parser.error("--render measures nothing: leave out --quick, --rows and --repeats")
    if not options.render and importlib.util.find_spec("torch") is None:
        parser.error("found no PyTorch, the other side of the comparison: pip install -e '.[bench]'")
    return options


if __name__ == "__main__":
    main()
