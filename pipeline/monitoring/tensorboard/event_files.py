"""TensorBoard's event files, written whole: each is there with all its events, or is not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from trainer.atomic_write import atomic_write
from trainer.diagnostics import Histogram

DAY = 86_400.0
# TensorBoard reads the files of a run in the order of their names, and never goes back to an earlier one.
FILE, LAYOUT_FILE = "events.out.tfevents.{span:010d}", "events.out.tfevents.-layout"


def wall_time(span: int, dated: bool) -> float:
    """What the axis `wall` shows: of a dated span noon of its day, which is that day almost anywhere; else now."""
    return (span + 0.5) * DAY if dated else time.time()


def write_events(path: Path, events: Iterable[event_pb2.Event]) -> None:
    """Writes `events` as the file `path` in place of what was there."""
    # TensorBoard, which may be looking, passes over files without `tfevents` in their names.
    with atomic_write(path, beside=path.with_name(f".beside-{os.getpid()}")) as beside, beside.open("wb") as file:
        writer = RecordWriter(file)
        for event in (event_pb2.Event(file_version="brain.Event:2"), *events):
            writer.write(event.SerializeToString())


def event(step: int, wall: float, summaries: Iterable[Any]) -> event_pb2.Event:
    """All that is said of one step."""
    message = summary_pb2.Summary()
    for summary in summaries:
        # Some of TensorBoard's plugins make TensorFlow's message of the same name and form.
        message.MergeFromString(summary.SerializeToString())
    return event_pb2.Event(step=step, wall_time=wall, summary=message)


def scalar(tag: str, value: float) -> summary_pb2.Summary:
    """A number."""
    return scalar_pb(tag, value)


def text(tag: str, markdown: str) -> summary_pb2.Summary:
    """A card."""
    return text_pb(tag, markdown)


def histogram(tag: str, buckets: Histogram) -> summary_pb2.Summary:
    """A histogram whose buckets are counted already."""
    tensor = tensor_util.make_tensor_proto(buckets, dtype="float64", shape=[len(buckets), 3])
    return _of_tensor(tag, tensor, histogram_metadata.create_summary_metadata(tag, ""))


def layout(definition: Any) -> summary_pb2.Summary:
    """The page `Custom Scalars`, a `layout_pb2.Layout`."""
    tensor = tensor_util.make_tensor_proto(definition.SerializeToString(), dtype="string")
    return _of_tensor(layout_metadata.CONFIG_SUMMARY_TAG, tensor, layout_metadata.create_summary_metadata())


def _of_tensor(tag: str, tensor: Any, about: Any) -> summary_pb2.Summary:
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=about)])
