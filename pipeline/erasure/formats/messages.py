"""Protocol buffers: statistics, anomalies, TensorBoard's events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from pipeline.erasure.formats.base import RewritableFormat, Unreadable
from pipeline.erasure.id_matcher import IdMatcher
from trainer.keras2 import tf

Redact = Callable[[bytes], tuple[bytes, int]]


class _OneMessage(RewritableFormat):
    """A file that is a message."""

    def write(self, beside: Path, parts: Iterator[Message], path: Path) -> None:
        beside.write_bytes(b"".join(part.SerializeToString(deterministic=True) for part in parts))


class Statistics(_OneMessage):
    """Values of all columns but the items'; one among the most frequent goes with its rank."""

    def matches(self, path: Path) -> bool:
        return path.name == "FeatureStats.pb"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[Message, int]]:
        from tensorflow_metadata.proto.v0 import statistics_pb2

        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        times = 0
        for feature in (feature for dataset in statistics.datasets for feature in dataset.features):
            if "item" not in (feature.name, *feature.path.step):
                strings = feature.string_stats
                times += _drop(strings.top_values, "value", matcher)
                times += _drop(strings.rank_histogram.buckets, "label", matcher)
                times += redact_message(feature, matcher.redact_value)
        yield statistics, times


class Anomalies(_OneMessage):
    """What was wrong with a day."""

    def matches(self, path: Path) -> bool:
        return path.name == "SchemaDiff.pb"

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[Message, int]]:
        from tensorflow_metadata.proto.v0 import anomalies_pb2

        anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        yield anomalies, redact_message(anomalies, matcher.redact_text)


class Events(RewritableFormat):
    """What TensorBoard shows; records of others keep their bytes."""

    def matches(self, path: Path) -> bool:
        return "tfevents" in path.name

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[bytes, int]]:
        from tensorflow.core.util import event_pb2

        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                times = 0
                if any(id_ in record for id_ in matcher.ids):  # most hold numbers alone
                    event = event_pb2.Event.FromString(record)
                    times = redact_message(event, matcher.redact_text)
                yield (event.SerializeToString(deterministic=True) if times else record), times
        except (tf.errors.OpError, DecodeError) as error:  # a file that was cut off
            raise Unreadable(path) from error

    def write(self, beside: Path, parts: Iterator[bytes], path: Path) -> None:
        with tf.io.TFRecordWriter(str(beside)) as writer:
            for record in parts:
                writer.write(record)


def redact_message(message: Message, redact: Redact) -> int:
    """Takes the ids out of every string and every bytes of a message, in place; returns how many there were.

    Args:
      message: what is changed.
      redact: gives a value without the ids, and how often it named them.
    """
    total = 0
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.message_type.GetOptions().map_entry:
                total += _redact_map(value, redact)
            else:
                total += sum(redact_message(inner, redact) for inner in _all_of(value))
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            texts = [_redact_text(text, redact) for text in _all_of(value)]
            if times := sum(times for _, times in texts):
                total += times
                if isinstance(value, (str, bytes)):
                    setattr(message, field.name, texts[0][0])
                else:
                    value[:] = [text for text, _ in texts]
    return total


def _redact_map(values: Any, redact: Redact) -> int:
    """The same for a map of messages; these formats have no others."""
    total = 0
    for key in list(values):
        total += redact_message(values[key], redact)
        new, times = _redact_text(key, redact) if isinstance(key, str) else (key, 0)
        if times:
            total += times
            values[new].MergeFrom(values[key])
            del values[key]
    return total


def _all_of(value: Any) -> Any:
    return [value] if isinstance(value, (Message, str, bytes)) else value


def _redact_text(text: str | bytes, redact: Redact) -> tuple[Any, int]:
    if isinstance(text, bytes):
        return redact(text)
    redacted, times = redact(text.encode("utf-8", "surrogateescape"))
    return redacted.decode("utf-8", "surrogateescape"), times


def _drop(values: Any, name: str, matcher: IdMatcher) -> int:
    """Takes out the messages whose field `name` is an id; returns how many."""
    kept = [value for value in values if getattr(value, name).encode() not in matcher.ids]
    gone = len(values) - len(kept)
    if gone:
        del values[:]
        values.extend(kept)
    return gone
