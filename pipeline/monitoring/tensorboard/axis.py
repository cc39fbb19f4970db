"""TensorBoard's axis: a step is a day since the root's first, whose date stands in the names of the runs.

TensorBoard draws steps as numbers, and 19,848 is no date. What earlier versions wrote, and what was written before an
earlier span came, is moved to the axis of today without asking any artifact: some are gone.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2
from tensorboard.util import tensor_util

from pipeline.config import Config
from pipeline.ledger.runs import first_span
from pipeline.monitoring.tensorboard.event_files import FILE, scalar, write_events
from pipeline.spans import Naming, SpanNameError

# TensorBoard deals its seven colours in the order of the names, the last a pale grey: that is the baseline's.
CANDIDATE, CHAMPION, SPAN, POPULARITY = "candidate", "champion", "span", "without a model"
SLICES = ("new", "cold", "warm")
FORMER = "spans"  # the folder of versions whose step was the span's number
_SINCE, _NUMBERS = "days since ", "span numbers"
_SLICED = re.compile(r"(next_span_slices|gate_slices)/(\w+)/(item|key)_(new|cold|warm)")


def axis(config: Config, first: int) -> tuple[Path, int]:
    """The folder of TensorBoard's runs, and the span whose step is 0: the first, or 0 where spans are no days."""
    if not config.data.dated:
        return config.logs_path / _NUMBERS, 0
    return config.logs_path / f"{_SINCE}{Naming(dated=True).format(first)}", first


def current_axis(config: Config, span: int | None = None) -> tuple[Path, int] | None:
    """The same of the first span that the ledger, the logs or `span` name; None without any.

    What is on another axis is moved to it.
    """
    others = dict(_dated(config.logs_path))
    spans = [number for number in (first_span(config), span, *others.values()) if number is not None]
    if not spans:
        return None
    folder, first = axis(config, min(spans))
    if (config.logs_path / FORMER).is_dir():
        others[config.logs_path / FORMER] = 0
    for former, origin in others.items():
        if former != folder:
            _move(former, origin, folder, first)
            shutil.rmtree(former)
    return folder, first


def _dated(logs: Path) -> Iterator[tuple[Path, int]]:
    """Folders of runs with the span whose step is 0."""
    for path in sorted(logs.glob(f"{_SINCE}*")):
        with contextlib.suppress(SpanNameError):
            yield path, Naming(dated=True).parse(path.name.removeprefix(_SINCE))


def _move(former: Path, origin: int, folder: Path, first: int) -> None:
    """Writes what is under `former` under `folder`, but what stands there already."""
    moved: set[Path] = set()
    pattern = re.compile(re.escape(FILE).replace(r"\{span:010d\}", r"\d{10}"))
    for path in sorted(former.rglob("*")):
        name, run = path.name, path.parent.name
        if not path.is_file() or (folder / run / name).exists():
            continue
        if pattern.fullmatch(name):
            by_run: dict[str, list[event_pb2.Event]] = {}
            for raw in RawEventFileLoader(str(path)).Load():
                for into, event in _runs(run, event_pb2.Event.FromString(raw), origin - first, former.name == FORMER):
                    by_run.setdefault(into, []).append(event)
            for into, events in by_run.items():
                moved.add(folder / into / name)
                at = folder / into / name
                if not at.exists() or into == run:
                    write_events(at, events)
                else:  # a slice's file has something of several runs
                    write_events(at, [*_read(at), *events])
        elif name.startswith(("items-", "projector_config")):
            (folder / run).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, folder / run / name)
    if former.name == FORMER:
        _add_differences({path for path in moved if path.parent.name in SLICES})


def _add_differences(files: set[Path]) -> None:
    """Candidate less champion by slice, which earlier versions left to the eye."""
    for path in sorted(files):
        events = _read(path)
        gate = {
            value.tag: (event, tensor_util.make_ndarray(value.tensor).item())
            for event in events
            for value in event.summary.value
            if value.tag.startswith("gate_slices/")
        }
        for tag, (event, value) in gate.items():
            prefix, _, of = tag.rpartition("/")
            champion = gate.get(f"{prefix}/{CHAMPION}")
            if of == CANDIDATE and champion is not None:
                event.summary.MergeFrom(scalar(f"{prefix}/difference", value - champion[1]))
        write_events(path, events)


def _read(path: Path) -> list[event_pb2.Event]:
    events = [event_pb2.Event.FromString(raw) for raw in RawEventFileLoader(str(path)).Load()]
    return [event for event in events if event.HasField("summary")]


def _runs(run: str, event: event_pb2.Event, shift: int, renamed: bool) -> Iterator[tuple[str, event_pb2.Event]]:
    """What an event becomes in each run: its step moved, and its tags as they are called today."""
    values: dict[str, list[object]] = {}
    for value in event.summary.value:
        into = run
        if renamed and run == SPAN and value.tag.startswith("next_span/"):
            into = CHAMPION
        elif renamed and (sliced := _SLICED.fullmatch(value.tag)):
            kind, metric, column, into = sliced.groups()
            value.tag = f"{kind}/{metric}/{column}" + (f"/{run}" if kind == "gate_slices" else "")
        values.setdefault(into, []).append(value)
    for into, of_run in values.items():
        moved = event_pb2.Event(step=event.step + shift, wall_time=event.wall_time)
        moved.summary.value.extend(of_run)
        yield into, moved
