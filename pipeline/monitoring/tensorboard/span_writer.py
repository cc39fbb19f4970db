"""TensorBoard's view of the days: every number on one axis. `docs/tensorboard.md` defines each tag."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.ledger.balance import Balance
from pipeline.ledger.runs import Run, read_ledger
from pipeline.metrics import headline
from pipeline.monitoring.tensorboard.axis import CANDIDATE, CHAMPION, POPULARITY, SLICES, SPAN, axis, current_axis
from pipeline.monitoring.tensorboard.custom_scalars import make_layout
from pipeline.monitoring.tensorboard.decision_card import card
from pipeline.monitoring.tensorboard.event_files import (
    FILE,
    LAYOUT_FILE,
    event,
    histogram,
    layout,
    scalar,
    text,
    wall_time,
    write_events,
)
from pipeline.monitoring.tensorboard.projector import write_projector
from pipeline.monitoring.tensorboard.run_details import Details, read_details
from pipeline.spans import Naming


def write_span(config: Config, run: Run) -> Path:
    """Writes one span's numbers under the logs, its step the days since the root's first. A rerun replaces them.

    What shares a chart is a run of its own, so that TensorBoard gives it a colour of its own: candidate, champion, the
    most popular items, and each of the slices. Everything is read from the ledger and from what the nodes left
    behind: no model is asked.
    """
    return write_details(config, run, read_details(config, run))


def write_details(config: Config, run: Run, details: Details) -> Path:
    """The same of details that are read already; returns the folder of the runs."""
    folder, first = current_axis(config, run.span) or axis(config, run.span)
    step, wall = run.span - first, wall_time(run.span, config.data.dated)
    written = _runs(run, details)
    for name, scalars in written.items():
        summaries = [scalar(tag, value) for tag, value in scalars.items()]
        if name == SPAN:
            summaries.append(text("decision", card(run, details)))
            histograms = {} if details.health is None else details.health.histograms
            summaries += [histogram(f"histograms/{tag}", buckets) for tag, buckets in histograms.items() if buckets]
        path = folder / name / FILE.format(span=run.span)
        # A rerun that comes to less leaves nothing of the one before; a run that has no point at all is not there.
        if summaries or path.exists():
            write_events(path, [event(step, wall, summaries)])
    _write_layout(config, run, folder, first)
    if details.model is not None and details.vocabulary is not None:
        write_projector(config, run, folder / SPAN, details.model, details.vocabulary)
    return folder


def prepare(config: Config) -> None:
    """Puts what an earlier version wrote on today's axis, its first page too."""
    current = current_axis(config)
    if current is not None and not (current[0] / SPAN / LAYOUT_FILE).exists() and current[0].is_dir():
        for run in read_ledger(config)[::-1]:
            if _write_layout(config, run, *current):
                break


def _write_layout(config: Config, run: Run, folder: Path, first: int) -> bool:
    """The first page, if `run` has a metric to put on it."""
    metrics = [*run.next_span, *run.candidate]
    if metrics:
        page = make_layout(
            headline(metrics), config.gate.k, _dates(config, first, run.span), bool(run.surroundings.shelf)
        )
        # Of a day that no span can be of, so that its file comes first.
        write_events(folder / SPAN / LAYOUT_FILE, [event(0, wall_time(run.span, config.data.dated), [layout(page)])])
    return bool(metrics)


def _dates(config: Config, first: int, last: int) -> str:
    """What the first and the last step are."""
    if not config.data.dated:
        return "step = span"
    naming = Naming(dated=True)
    return f"step 0 = {naming.format(first)}" + (
        f", step {last - first} = {naming.format(last)}" if last > first else ""
    )


def _runs(run: Run, details: Details) -> dict[str, dict[str, float]]:
    """Tags and values of each of TensorBoard's runs, by its name."""
    counts = {
        **_balance(run.balance),
        "data/new_items": run.new_items,
        "data/new_keys": run.new_keys,
        "data/anomalies": details.anomalies,
        "tables/item_rows": run.item_rows,
        "tables/key_rows": run.key_rows,
        "tables/retired_items": run.retired_items or None,
        "tables/retired_keys": run.retired_keys or None,
        "tables/owed_spans": details.owed,
        "decision/pushed": int(run.pushed is not None) if run.state == "done" else None,
    }
    scalars = {tag: float(value) for tag, value in counts.items() if value is not None}
    scalars |= {f"drift/{name}": value for name, value in details.drift.items()}
    scalars |= {f"update/{name}": value for name, value in details.update.items()}
    scalars |= {} if details.health is None else details.health.numbers
    scalars |= _by_node("seconds", run.seconds)
    scalars |= _by_node("bytes", {node: float(size) for node, size in details.bytes.items()})
    scalars |= _differences(run, details)
    scalars |= {f"served_lists/{name}": value for name, value in run.surroundings.served_lists.items()}
    scalars |= {f"shelf/{name}": value for name, value in run.surroundings.shelf.items()}
    for before, metrics in _by_events(run.surroundings.slices):
        scalars |= {f"next_span_by_events/{name}/{before}": value for name, value in metrics.items()}
    popular = run.surroundings.popularity
    runs = {
        SPAN: scalars,
        CANDIDATE: {f"gate/{name}": value for name, value in run.candidate.items()},
        CHAMPION: {f"gate/{name}": value for name, value in run.champion.items()}
        | {f"next_span/{name}": value for name, value in run.next_span.items()},
        POPULARITY: {f"next_span/{name}": mean for name, (mean, _, _) in popular.items()},
        **{label: {} for label in SLICES},
    }
    for column, label, metrics in _sliced(run.surroundings.slices or details.next_span):
        runs[label] |= {f"next_span_slices/{metric}/{column}": value for metric, value in metrics.items()}
    for column, label, metrics in _sliced(details.verdict.get("metrics", {})):
        for metric, values in metrics.items():
            named = {CANDIDATE: values.get("candidate"), CHAMPION: values.get("baseline")}
            if None not in named.values():
                named["difference"] = named[CANDIDATE] - named[CHAMPION]
            runs[label] |= {f"gate_slices/{metric}/{column}/{of}": v for of, v in named.items() if v is not None}
    return runs


def _sliced(by_slice: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """`item_slice:new` becomes `item` and `new`; what is no such slice is left out."""
    for where, metrics in by_slice.items():
        column, _, label = where.partition("_slice:")
        if label in SLICES:
            yield column, label, metrics


def _by_events(by_slice: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`item_events:1-4` becomes `1-4`: how many events an item had before, where there is a catalogue."""
    for where, metrics in by_slice.items():
        column, _, label = where.partition(":")
        if column == "item_events":
            yield label, metrics


def _balance(balance: Balance | None) -> dict[str, int]:
    if balance is None:
        return {}
    counts = {name: value for name, value in dataclasses.asdict(balance).items() if isinstance(value, int)}
    reasons = {f"rejects/{reason}": count for reason, count in balance.rejects.items()}
    return {f"data/{name}": count for name, count in {**counts, "rejects": balance.rejected, **reasons}.items()}


def _by_node(prefix: str, of_nodes: Mapping[str, float]) -> dict[str, float]:
    if not of_nodes:
        return {}
    return {f"{prefix}/{node}": value for node, value in of_nodes.items()} | {f"{prefix}/total": sum(of_nodes.values())}


def _differences(run: Run, details: Details) -> dict[str, float]:
    """Candidate less champion, and the bounds of it where the gate computes them."""
    scalars: dict[str, float] = {}
    for metric, (lower, upper) in details.verdict.get("intervals", {}).get("overall", {}).items():
        if metric in run.candidate and metric in run.champion:
            values = {"value": run.candidate[metric] - run.champion[metric], "lower": lower, "upper": upper}
            scalars |= {f"gate_difference/{metric}/{name}": value for name, value in values.items()}
    return scalars
