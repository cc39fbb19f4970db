"""Does a day cost what its events cost, whatever there is besides? Seconds and peak memory of each step by table size.

    python -m benchmarks.growth [--rows 10000 100000 1000000] [--before FOLDER] [--minutes 60] [--save STEM]

A shop of as many items and as many keys, two events of history a key, gets a day of 22,000 events: its transform, the
fine-tuning of a two_tower by one epoch, the reading and writing of its state, the diagnostics, the export, the champion
on the next span, the paired comparison and TFMA's evaluation. Each step is a process of its own, so that its peak is
its own; what an empty process of that kind holds, about 0.9 GiB, is in it. With `--before`, a folder that holds another
commit, the same steps of that one are taken in turn with this one's. Sizes are taken from the smallest on; the time
that is left decides how far it comes, and what was measured is saved as it comes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.operations.disk_usage import tree_bytes
from trainer.atomic_write import atomic_write

_CHILD = Path(__file__).with_name("growth_steps.py")
_HERE = Path(__file__).resolve().parents[1]
MEASURED = ("transform", "next-span", "train", "gate")
PARTS = ("transform", "next-span", "fine-tune", "diagnostics", "export", "state", "comparison", "gate")
_GIB = 2**30

Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--before", type=Path, help="the folder of another commit, to be held against")
    parser.add_argument("--most-before", type=int, default=1_000_000, help="rows up to which that one is measured")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--save", type=Path, help="write STEM.json and STEM.png")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    figures: list[Figures] = []
    trees = {"now": _HERE, **({"before": arguments.before.resolve()} if arguments.before else {})}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sorted(arguments.rows):
            here = {name: of for name, of in trees.items() if name == "now" or rows <= arguments.most_before}
            for name, tree in here.items():
                if time.monotonic() > until:
                    break
                root = Path(folder) / name
                _run("before", root, rows, tree)
                state = tree_bytes(root / "model" / "2" / "state") / _GIB
                figures.append({"rows": rows, "code": name, "state": state, "steps": {}})
                for step in MEASURED:
                    figures[-1]["steps"] |= _run(step, root, rows, tree)
                    if arguments.save:
                        _save(figures, arguments.save)
                shutil.rmtree(root)
    _show(figures)
    if arguments.save:
        _plot(figures, arguments.save.with_suffix(".png"))


def _run(step: str, root: Path, rows: int, tree: Path) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-W", "ignore", "-", step, str(root), str(rows)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, cwd=tree, env=environment, input=_CHILD.read_text(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"The step {step} of {rows:,} rows ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _show(figures: list[Figures]) -> None:
    table = Table("rows", "code", "state, GiB", *PARTS, title="seconds / peak GiB")
    for of in figures:
        cells = [
            f"{part['seconds']:.1f} / {part['peak'] / _GIB:.1f}" if (part := of["steps"].get(name)) else "-"
            for name in PARTS
        ]
        table.add_row(f"{of['rows']:,}", of["code"], f"{of['state']:.2f}", *cells)
    Console(width=160).print(table)


def _save(figures: list[Figures], stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    rows = " ".join(map(str, dict.fromkeys(of["rows"] for of in figures)))
    before = " --before FOLDER" if any(of["code"] == "before" for of in figures) else ""
    about = {"command": f"python -m benchmarks.growth --rows {rows}{before}", "figures": figures}
    with atomic_write(stem.with_suffix(".json")) as beside:
        beside.write_text(json.dumps(about, indent=1) + "\n")


def _plot(figures: list[Figures], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, len(PARTS), figsize=(2.4 * len(PARTS), 5), sharex=True, layout="constrained")
    for column, part in enumerate(PARTS):
        for code, style in (("before", {"color": "0.6", "marker": "o"}), ("now", {"color": "C0", "marker": "o"})):
            points = [(of["rows"], of["steps"][part]) for of in figures if of["code"] == code and part in of["steps"]]
            if not points:
                continue
            rows = [at for at, _ in points]
            panels[0][column].plot(rows, [of["seconds"] for _, of in points], label=code, **style)
            panels[1][column].plot(rows, [of["peak"] / _GIB for _, of in points], label=code, **style)
        panels[0][column].set_title(part, fontsize=10)
        for panel in panels[:, column]:
            panel.set_xscale("log")
            panel.set_ylim(bottom=0)
            panel.spines[["top", "right"]].set_visible(False)
            panel.tick_params(labelsize=8)
    panels[0][0].set_ylabel("seconds")
    panels[1][0].set_ylabel("peak GiB")
    panels[1][0].set_xlabel("items, and keys")
    if len({of["code"] for of in figures}) > 1:
        panels[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
