"""TensorBoard's view of the days: every number on one axis, the span. `docs/tensorboard.md` defines each tag."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.config import Config
from pipeline.ledger.balance import Balance
from pipeline.ledger.runs import Run
from pipeline.metrics import headline
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

CANDIDATE, CHAMPION, SPAN = "candidate", "champion", "span"


def write_span(config: Config, run: Run) -> Path:
    """Writes one span's numbers under `<logs>/spans`; the step is the span's number. A rerun replaces them.

    Candidate and champion are runs of their own, so that TensorBoard draws them in one chart. Everything is read from
    the ledger and from what the nodes left behind: no model is asked.
    """
    return write_details(config, run, read_details(config, run))


def write_details(config: Config, run: Run, details: Details) -> Path:
    """The same of details that are read already."""
    folder = config.logs_path / "spans"
    wall = wall_time(run.span, config.data.dated)
    for name, scalars in _runs(run, details):
        summaries = [scalar(tag, value) for tag, value in scalars.items()]
        if name == SPAN:
            summaries.append(text("decision", card(run, details)))
            histograms = {} if details.health is None else details.health.histograms
            summaries += [histogram(f"histograms/{tag}", buckets) for tag, buckets in histograms.items() if buckets]
        write_events(folder / name / FILE.format(span=run.span), [event(run.span, wall, summaries)])
    if metrics := [*run.next_span, *run.candidate]:
        page = make_layout(headline(metrics))
        # Of a day that no span can be of, so that its file comes first.
        write_events(folder / SPAN / LAYOUT_FILE, [event(0, wall, [layout(page)])])
    if details.model is not None and details.vocabulary is not None:
        write_projector(config, run, folder / SPAN, details.model, details.vocabulary)
    return folder


def _runs(run: Run, details: Details) -> Iterator[tuple[str, dict[str, float]]]:
    """Tags and values of each of TensorBoard's runs."""
    counts = {
        **_balance(run.balance),
        "data/new_items": run.new_items,
        "data/new_keys": run.new_keys,
        "data/anomalies": details.anomalies,
        "tables/item_rows": run.item_rows,
        "tables/key_rows": run.key_rows,
        "tables/owed_spans": details.owed,
        "decision/pushed": int(run.pushed is not None) if run.state == "done" else None,
    }
    scalars = {tag: float(value) for tag, value in counts.items() if value is not None}
    scalars |= {f"next_span/{name}": value for name, value in run.next_span.items()}
    scalars |= _by_slice("next_span_slices", details.next_span)
    scalars |= {f"drift/{name}": value for name, value in details.drift.items()}
    scalars |= {f"update/{name}": value for name, value in details.update.items()}
    scalars |= {} if details.health is None else details.health.numbers
    scalars |= _by_node("seconds", run.seconds)
    scalars |= _by_node("bytes", {node: float(size) for node, size in details.bytes.items()})
    scalars |= _differences(run, details)
    yield SPAN, scalars
    for name, overall, of in ((CANDIDATE, run.candidate, "candidate"), (CHAMPION, run.champion, "baseline")):
        sliced = {
            where: {metric: values[of] for metric, values in metrics.items() if of in values}
            for where, metrics in details.verdict.get("metrics", {}).items()
            if where != "overall"
        }
        yield name, {f"gate/{name}": value for name, value in overall.items()} | _by_slice("gate_slices", sliced)


def _by_slice(prefix: str, by_slice: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`item_slice:new` becomes `item_new`: a colon ends the name of a run in TensorBoard's links."""
    return {
        f"{prefix}/{metric}/{where.replace('_slice:', '_')}": value
        for where, metrics in by_slice.items()
        for metric, value in metrics.items()
    }


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
