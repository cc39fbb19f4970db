"""How long from an event's file to an answer that has learned it: `warmspan stream` beside `warmspan serve`.

    python -m benchmarks.stream [--rate 100] [--minutes 3] [--users 3000] [--items 1000] [--every 15] [--save FILE]

A simulated shop has one night; then its second day lands, a file a second with `--rate` events each, renamed into
place. The stream and the embedded server are processes of their own. A version answers from the moment on at which
the server says over REST that it does and a request for it alone is answered; a file's latency is from its rename to
the first answer of a version that was learned from it, or from what came after. Printed are the median, the 95th
percentile and the longest over all events whose file was learned, and the seconds of each step of a mini-batch.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from components.span_pusher.streamed_versions import is_streamed
from pipeline.config import Config, load_config
from pipeline.demo.simulator import SHOP_SETTINGS, simulate
from pipeline.ledger.runs import read_ledger
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from pipeline.stream.folder import newest
from pipeline.stream.journal import Journal
from trainer.atomic_write import atomic_write

PORT, FIRST_DAY, SEED = 18571, datetime.date(2024, 5, 1), 7
SETTINGS = (
    SHOP_SETTINGS
    + """\
  span_hours: 24
history: {length: 20}
gate: {thresholds: {recall: {floor: 0.0, max_drop: 0.02}}}
"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--every", type=float, default=15.0, help="stream.every_seconds")
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments)
    print(json.dumps(figures, indent=1))
    if arguments.save:
        with atomic_write(arguments.save) as beside:
            beside.write_text(json.dumps(figures, indent=1) + "\n")


def measure(base: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    count = round(arguments.rate * arguments.minutes * 60)
    shop = {"events_per_day": round(1.3 * count), "users": arguments.users, "items": arguments.items}
    simulate(base / "shop", FIRST_DAY, 2, SEED, new_users_per_day=arguments.users // 20, new_items_per_day=20, **shop)
    aside = base / "aside"
    second = base / "shop" / "events" / (FIRST_DAY + datetime.timedelta(days=1)).isoformat()
    second.rename(aside)
    (base / "warmspan.yaml").write_text(f"{SETTINGS}stream: {{every_seconds: {arguments.every}}}\n")
    config = load_config(base / "warmspan.yaml")
    run_steps(config, make_plan(read_ledger(config), read_deliveries(config), Naming(True)), Console(quiet=True))
    with (aside / "events.csv").open() as file:
        head, *rows = list(csv.reader(file))
    rows = sorted(rows, key=lambda row: row[head.index("timestamp")])[:count]
    settings = str(base / "warmspan.yaml")
    log = (base / "stream.log").open("w")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    processes = [
        subprocess.Popen([Path(sys.executable).with_name("warmspan"), *command, "-c", settings], stdout=log, stderr=log,
                         env=environment)
        for command in (["serve", "--port", str(PORT)], ["stream"])
    ]  # fmt: skip
    try:
        wait_for(lambda: available(config.name), 300)
        wait_for(lambda: newest(config.stream_path) is not None, 300)
        return watch(config, second, head, rows, arguments)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        log.close()


def watch(
    config: Config, folder: Path, head: list[str], rows: list[list[str]], arguments: argparse.Namespace
) -> dict[str, Any]:
    landed: dict[str, tuple[float, int]] = {}
    writer = threading.Thread(target=deliver, args=(folder, head, rows, arguments.rate, landed), daemon=True)
    writer.start()
    served: dict[int, float] = {}
    answers, probe, deadline = [], rows[0][head.index("user_id")], time.monotonic() + arguments.minutes * 60 + 180
    while time.monotonic() < deadline:
        for version in available(config.name):
            if version not in served and answer(config.name, probe, version) is not None:
                served[version] = time.monotonic()
        now = answer(config.name, probe)
        if now is not None and now not in answers[-1:]:
            answers.append(now)
        journal = read_journal(config)
        last = journal.version if journal else 0
        if not writer.is_alive() and journal and len(journal.read()) == len(landed) and last in served:
            break
        time.sleep(0.2)
    assert journal is not None
    return figures_of(journal, landed, served, len(answers), arguments)


def figures_of(
    journal: Journal,
    landed: dict[str, tuple[float, int]],
    served: dict[int, float],
    answers: int,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    seconds, events, lost = [], [], 0
    for number, entry in enumerate(journal.entries):
        later = [served[of.version] for of in journal.entries[number:] if of.version in served]
        for part in entry.parts:
            began, count = landed[part.name.rpartition("/")[2]]
            if not later:
                lost += count
                continue
            seconds.append(min(later) - began)
            events.append(count)
    every = np.repeat(seconds, events)
    steps = {name for entry in journal.entries for name in entry.seconds}
    of_step = {name: [entry.seconds[name] for entry in journal.entries if name in entry.seconds] for name in steps}
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[1]:.1f} on the way",
        "rate": arguments.rate,
        "events": int(sum(count for _, count in landed.values())),
        "events_without_a_later_version": lost,
        "batches": len(journal.entries),
        "outcomes": {name: sum(of.outcome == name for of in journal.entries) for name in
                     sorted({of.outcome for of in journal.entries})},
        "streamed_versions_answering": sum(map(is_streamed, served)),
        "times_the_answer_changed": answers - 1,
        "seconds_to_answer": {
            "p50": round(float(np.quantile(every, 0.5)), 1),
            "p95": round(float(np.quantile(every, 0.95)), 1),
            "max": round(float(every.max()), 1),
        },
        "seconds_of_a_batch": {
            name: {"median": round(float(np.median(of)), 2), "max": round(max(of), 2)}
            for name, of in sorted(of_step.items())
        },
    }  # fmt: skip


def deliver(
    folder: Path, head: list[str], rows: list[list[str]], rate: int, landed: dict[str, tuple[float, int]]
) -> None:
    """A file a second, whatever the stream does."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    for number, start in enumerate(range(0, len(rows), rate)):
        time.sleep(max(0.0, began + number - time.monotonic()))
        name = f"{number:05d}.csv"
        with (folder / f".{name}").open("w") as file:
            csv.writer(file).writerows([head, *rows[start : start + rate]])
        landed[name] = time.monotonic(), len(rows[start : start + rate])
        (folder / f".{name}").rename(folder / name)


def available(name: str) -> list[int]:
    """The versions that the server says it answers for."""
    status = asked(f"/v1/models/{name}")
    entries = [] if status is None else status.get("model_version_status", [])
    return [int(entry["version"]) for entry in entries if entry["state"] == "AVAILABLE"]


def answer(name: str, user: str, version: int | None = None) -> str | None:
    """What is recommended to a user, by a version or by whatever is served."""
    path = f"/v1/models/{name}{'' if version is None else f'/versions/{version}'}:predict"
    body = asked(path, {"instances": [{"user_id": user, "history": []}]})
    return None if body is None else json.dumps(body)


def asked(path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}", None if body is None else json.dumps(body).encode()
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return dict(json.load(response))
    except (urllib.error.URLError, OSError):
        return None


def read_journal(config: Config) -> Journal | None:
    """The journal of now; None while one state takes the place of another."""
    last = newest(config.stream_path)
    try:
        return None if last is None else Journal.load(last)
    except FileNotFoundError:
        return None


def wait_for(holds: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("The server or the stream did not start.")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
