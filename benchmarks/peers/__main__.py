"""warmspan and the systems that somebody could pick instead, on the same sessions, one after the other in one run.

    python -m benchmarks.peers DATA [--system NAME ...] [--cycles 1-4] [--seeds 3] [--out FOLDER] [--results FILE]

DATA is as `continual_sessions` takes it, and so is the protocol: cycle t has learned the spans before span t, and is
tested on every prefix of every session of span t, all items seen so far ranked, none sampled. Each system is a file of
this folder and runs in a process of its own, a peer in an environment of its own from `environments/<name>.txt`, made
on first use under `build/peers`. Counted are processor seconds and the most memory of that process.

Goes on where it was stopped: what FOLDER holds of a system, a seed and these cycles is not measured again. With
`--results` the figures go into that JSON file, beside those of other systems that it holds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.continual_sessions import chosen_cycles
from benchmarks.peers.peer import Sessions
from benchmarks.peers.systems import SYSTEMS, System
from benchmarks.session_spans import SessionSpans, read_spans

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--system", action="append", choices=list(SYSTEMS), help="may be given again; all by default")
    parser.add_argument("--cycles", default="1-4", help="for example 1-16, or 4,8,12,16")
    parser.add_argument("--seeds", type=int, default=3, help="of systems that have any")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--session", default="session_id", help="the column that names the session")
    parser.add_argument("--item", default="item_id", help="the column that names the item")
    parser.add_argument("--timestamp", default="timestamp", help="the column that orders the events")
    parser.add_argument("--out", type=Path, default=Path("run/peers"))
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    spans = read_spans(arguments.data / "events", arguments.session, arguments.item, arguments.timestamp)
    cycles = chosen_cycles(arguments.cycles, spans.count - 1)
    figures = {}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name in arguments.system or SYSTEMS:
            if seed > arguments.first_seed and not SYSTEMS[name].random:
                continue
            rows = run(spans, SYSTEMS[name], seed, cycles, arguments.out / name / f"seed-{seed}")
            figures.setdefault(name, []).append({"seed": seed, "cycles": rows})
    Console(width=140).print(table(figures))
    if arguments.results:
        _write(arguments.results, arguments.data.name, arguments.cycles, figures)


def run(spans: SessionSpans, system: System, seed: int, cycles: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Figures of each of `cycles`, by a process of the system's own."""
    kept = folder / f"cycles-{'-'.join(str(cycle) for cycle in cycles)}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as exchange:
        there, wanted = Path(exchange), {}
        for span in range(max(cycles)):
            sequences = spans.sequences(span)
            Sessions(sequences.items, sequences.splits).save(there / f"span-{span}.npz")
        for cycle in cycles:
            asked, wanted[cycle] = _asked(spans, cycle)
            (there / f"cycle-{cycle}").mkdir()
            asked.save(there / f"cycle-{cycle}" / "asked.npz")
        command = [str(_python(system)), "-W", "ignore", "-m", "benchmarks.peers.worker", system.module, exchange]
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            command += [str(seed), json.dumps(system.settings)]
            code = subprocess.run(command, cwd=ROOT, check=False, stdout=log, stderr=log).returncode
        if code:
            raise SystemExit(f"A system must end by itself. Received: exit code {code} of {folder}; see its log.txt.")
        rows = [{"cycle": cycle, **_figures(there / f"cycle-{cycle}", wanted[cycle])} for cycle in cycles]
    kept.write_text(json.dumps(rows, indent=1))
    print(folder.parent.name, seed, json.dumps(_mean(rows)), flush=True)
    return rows


def _asked(spans: SessionSpans, cycle: int) -> tuple[Sessions, np.ndarray]:
    positions = spans.test_positions(cycle)
    length = positions.end - positions.begin
    splits = np.concatenate([[0], np.cumsum(length)])
    at = np.arange(length.sum()) - np.repeat(splits[:-1], length) + np.repeat(positions.begin, length)
    return Sessions(positions.items[at], splits), positions.target


def _figures(folder: Path, wanted: np.ndarray) -> dict[str, Any]:
    top = np.load(folder / "top.npy")
    hit = top == wanted[:, None]
    place = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
    quality = {"recall@20": 100 * float(np.mean(place <= 20)), "mrr@20": 100 * float(np.mean(1 / place))}
    return {**quality, "positions": len(wanted), **json.loads((folder / "cost.json").read_text())}


def _python(system: System) -> Path:
    if system.environment is None:
        return Path(sys.executable)
    folder = ROOT / "build" / "peers" / system.environment
    listed = Path(__file__).parent / "environments" / f"{system.environment}.txt"
    made = folder / listed.name
    if not made.exists() or made.read_bytes() != listed.read_bytes():
        uv = [str(ROOT / ".ci" / "environment"), "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        python = str(folder / "bin" / "python")
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, "-r", str(listed)], check=True)
        made.write_bytes(listed.read_bytes())
    return folder / "bin" / "python"


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    named = ("recall@20", "mrr@20", "train_processor_seconds", "recommend_processor_seconds", "peak_bytes")
    return {name: round(statistics.fmean(row[name] for row in rows), 2) for name in named}


def table(figures: dict[str, list[dict[str, Any]]]) -> Table:
    """One line a system: means over cycles, and their standard deviation over seeds."""
    shown = Table(title="mean over cycles ± standard deviation over seeds", title_justify="left")
    for column in ("system", "seeds", "recall@20", "mrr@20", "processor s a cycle", "peak GiB", "lines", "retrains"):
        shown.add_column(column, justify="left" if column == "system" else "right")
    for name, runs in figures.items():
        means = [_mean(run["cycles"]) for run in runs]

        def spread(metric: str, means: list[dict[str, float]] = means) -> str:
            values = [mean[metric] for mean in means]
            deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            return f"{statistics.fmean(values):.2f}{deviation}"

        peak = max(row["peak_bytes"] for run in runs for row in run["cycles"]) / 2**30
        system = SYSTEMS[name]
        shown.add_row(
            name, str(len(runs)), spread("recall@20"), spread("mrr@20"), spread("train_processor_seconds"),
            f"{peak:.1f}", str(system.lines), "yes" if system.retrains else "no",
        )  # fmt: skip
    return shown


def _write(path: Path, data: str, cycles: str, figures: dict[str, list[dict[str, Any]]]) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    of_data = {
        name: {**dataclasses.asdict(SYSTEMS[name]), "lines": SYSTEMS[name].lines, "asked": cycles, "runs": runs}
        for name, runs in figures.items()
    }
    known[data] = {**known.get(data, {}), **of_data}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
