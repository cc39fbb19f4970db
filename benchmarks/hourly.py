"""Do 104 hourly spans of sessions cost the hundredth hour what the tenth did? Bytes of state and of prepared data.

    python -m benchmarks.hourly [--data DIGINETICA] [--hours 104] [--sessions 1000] [--minutes 15] [--save STEM]

The shop's sessions, in their order, are given `--sessions` to an hour: a session begins anywhere within its hour, its
events are a minute apart, so that some go on in the next. Each hour is transformed as `SpanTransform` does it (a tenth
is held out, and learned in the next hour), in one process and one shard, three times: with a row for every session's
key, as the defaults have it; with none, but every session kept, as `warmspan init` set it up before there was
`history.keys_end_after`; and with sessions that end. State is the vocabulary and the history that an hour hands to the
next; prepared data are the sequences and the held-out positions of the hour. Learning is not measured: its cost follows
the events of the hour, and the rows of the tables.

It ends after `--minutes`, and says how far it came; figures are saved after each hour.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.span_transform import shard
from components.span_transform.events import SCHEMA
from components.span_transform.settings import Settings
from pipeline.backtest.ingest import Events
from pipeline.backtest.prepared_spans import transform
from pipeline.operations.disk_usage import tree_bytes
from trainer.atomic_write import atomic_write
from trainer.vocabulary import read_header

HOUR, MINUTE, FIRST = 3_600_000, 60_000, 400_000  # milliseconds; the number of the first hour, since 1970
_PLAIN = Settings(20, 1, 1, 1, 168.0, 5, 0.5)
SETTINGS = {
    "a row for each key": _PLAIN,
    "no row, all kept": Settings(20, 1, 1, 1_000_000, 168.0, 5, 0.5),
    "keys end after 6 h": Settings(20, 1, 1, 1, 168.0, 5, 0.5, keys_end_after=6.0),
}
FOLDERS = ("sequences", "held_out", "vocabulary", "history")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with events/YYYY-MM-DD/events.parquet")
    parser.add_argument("--hours", type=int, default=104)
    parser.add_argument("--sessions", type=int, default=1000, help="that begin in an hour")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--save", type=Path, help="write STEM.json and STEM.png")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    events = hourly(arguments.data, arguments.hours, arguments.sessions)
    figures: dict[str, Any] = {"hours": arguments.hours, "sessions_an_hour": arguments.sessions, "runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETTINGS:
            figures["runs"][name] = []
        # In turn, so that all get as far where time runs out, and a busy hour of the machine is all of theirs.
        for number in range(arguments.hours):
            if time.monotonic() > until:
                break
            for name, settings in SETTINGS.items():
                row = one_hour(Path(folder) / name.replace(" ", "-"), events, number, settings)
                figures["runs"][name].append(row)
            if arguments.save:
                save(figures, arguments.save)
    for name, rows in figures["runs"].items():
        print(f"{name} ({len(rows)} hours)")
        for number in sorted({9, len(rows) // 2, len(rows) - 1}):
            if number < len(rows):
                print(f"  hour {number + 1}: " + ", ".join(f"{key} {value:,}" for key, value in rows[number].items()))
    if arguments.save:
        plot(figures, arguments.save.with_suffix(".png"))


def hourly(data: Path, hours: int, sessions: int) -> dict[int, pa.Table]:
    """Events (`span_transform.events.SCHEMA`) by hour."""
    tables, have = [], 0
    for path in sorted((data / "events").glob("*/events.parquet")):
        table = pq.read_table(path, columns=["session_id", "item_id", "timestamp"])
        have += len(table["session_id"].unique())
        tables.append(table)
        if have > (hours + 1) * sessions:
            break
    table = pa.concat_tables(tables)
    encoded = pa.concat_arrays(table["session_id"].cast(pa.string()).chunks).dictionary_encode()
    session = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.lexsort([table["timestamp"].to_numpy(), session])
    session = session[order]
    place = np.arange(len(session)) - np.searchsorted(session, session)
    begin = np.random.default_rng(1).integers(0, HOUR, session.max() + 1)
    times = (FIRST + session // sessions) * HOUR + begin[session] + place * MINUTE
    columns = [
        pc_binary(table["session_id"]).take(pa.array(order)),
        pc_binary(table["item_id"]).take(pa.array(order)),
        pa.array(times),
        pa.array(np.ones(len(times), np.float32)),
    ]
    every = pa.Table.from_arrays(columns, schema=SCHEMA)
    hour = times // HOUR
    return {number: every.filter(pa.array(hour == FIRST + number)).sort_by("timestamp") for number in range(hours)}


def pc_binary(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.cast(pa.string()).cast(pa.binary()).chunks)


def one_hour(folder: Path, events: dict[int, pa.Table], number: int, settings: Settings) -> dict[str, Any]:
    """Transforms an hour and removes the one before it, which nothing needs any more."""
    today, before = folder / str(number), folder / str(number - 1)
    made = [today / name for name in FOLDERS]
    for path in made:
        path.mkdir(parents=True)
    cut = len(events[number]) - len(events[number]) // 10
    parts = Events(events[number].slice(0, cut), events[number].slice(cut))
    state = [str(before / name) if number else None for name in ("vocabulary", "history")]
    began, processor = time.perf_counter(), time.process_time()
    transform(parts, FIRST + number, shard.Folders(*map(str, made), *state), settings)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    shutil.rmtree(before, ignore_errors=True)
    sizes = {name: tree_bytes(today / name) for name in FOLDERS}
    return {
        "events": len(events[number]),
        "state_bytes": sizes["vocabulary"] + sizes["history"],
        "history_bytes": sizes["history"],
        "item_rows": read_header(today / "vocabulary", "items").size,
        "prepared_bytes": sizes["sequences"] + sizes["held_out"],
        "seconds": round(seconds, 3),
        "processor_seconds": round(processor, 3),
    }


def save(figures: dict[str, Any], stem: Path) -> None:
    with atomic_write(stem.with_suffix(".json")) as beside:
        beside.write_text(json.dumps({**figures, "cores": os.cpu_count()}, indent=1) + "\n")


def plot(figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(1, 4, figsize=(17, 3.8), constrained_layout=True)
    of = {
        "state_bytes": ("state that an hour hands on, MB", 1e6),
        "history_bytes": ("of it the history of keys, MB", 1e6),
        "prepared_bytes": ("prepared data of an hour, MB", 1e6),
        "processor_seconds": ("processor seconds to transform an hour", 1.0),
    }
    for axis, (name, (title, unit)) in zip(axes, of.items(), strict=True):
        for label, rows in figures["runs"].items():
            axis.plot(np.arange(1, len(rows) + 1), [row.get(name, np.nan) / unit for row in rows], label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("hourly span")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    with atomic_write(path) as beside:
        drawn.savefig(beside, dpi=110, format="png")


if __name__ == "__main__":
    main()
