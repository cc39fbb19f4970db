"""Runs SpanExampleGen's real driver and executor on small folders, and reads back what they wrote."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

import tensorflow as tf
from tfx.types import artifact, standard_artifacts
from tfx.utils import proto_utils

from components.span_example_gen import SpanExampleGen
from components.span_example_gen.driver import SpanDriver
from components.span_example_gen.executor import Executor

DAY = "2013-05-03"
SPAN = 15_828
START = SPAN * 86_400
PATTERN = "{YYYY}-{MM}-{DD}/*"
COLUMNS = {"key": "user", "item": "film", "timestamp": "at"}
DATA: dict[str, Any] = {
    "columns": COLUMNS,
    "format": "csv",
    "timestamp_unit": "s",
    "max_reject_fraction": 0.05,
    "late": "reject",
    "decimal_ids": "whole",
}
HEADER = "user,film,at\n"
FILE = f"{DAY}/events.csv"


@dataclasses.dataclass
class Ingested:
    """An Examples artifact and what was asked for it."""

    examples: artifact.Artifact
    properties: dict[str, Any]

    @property
    def uri(self) -> Path:
        return Path(self.examples.uri)

    def count(self, name: str) -> int:
        return self.examples.get_int_custom_property(name)

    @property
    def reasons(self) -> dict[str, int]:
        return json.loads(self.examples.get_string_custom_property("reject_reasons"))

    def files(self, split: str) -> list[Path]:
        return sorted((self.uri / f"Split-{split}").iterdir())

    def serialized(self, split: str) -> list[bytes]:
        paths = [str(path) for path in self.files(split)]
        return list(tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator())

    def events(self, split: str) -> list[dict[str, Any]]:
        return [plain(tf.train.Example.FromString(record)) for record in self.serialized(split)]

    @property
    def all_events(self) -> list[dict[str, Any]]:
        return [*self.events("train"), *self.events("eval")]

    @property
    def rejects(self) -> list[tuple[str, ...]]:
        with (self.uri / "rejects.csv").open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        assert header == ["file", "line", "reason", "value"]
        return [tuple(row) for row in rows]


def plain(example: tf.train.Example) -> dict[str, Any]:
    """Feature name to its one value."""
    values = {}
    for name, feature in example.features.feature.items():
        (value,) = getattr(feature, feature.WhichOneof("kind")).value
        values[name] = value
    return values


def span_of(day: str) -> int:
    return (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days


def deliver(base: Path, text: str | bytes, name: str = "events.csv", folder: str = DAY) -> Path:
    """Writes a file of a span."""
    path = base / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def resolved(
    base: Path, span: int = SPAN, pattern: str = PATTERN, eval_fraction: float = 0.0, **data: Any
) -> dict[str, Any]:
    """The execution properties as TFX hands them to the executor."""
    component = SpanExampleGen(str(base), {**DATA, **data}, span, pattern, eval_fraction)
    properties = {
        name: value if isinstance(value, int | float | str) else proto_utils.proto_to_json(value)
        for name, value in component.exec_properties.items()
        if value is not None
    }
    return SpanDriver(None).resolve_exec_properties(properties, None, None)


def ingest(base: Path, out: Path, *, executor: Executor | None = None, **options: Any) -> Ingested:
    """Resolves and ingests one span of the spans in `base`; the artifact lies at `<out>/examples/1`."""
    properties = resolved(base, **options)
    examples = standard_artifacts.Examples()
    examples.uri = str(out / "examples" / "1")
    os.makedirs(examples.uri, exist_ok=True)
    (executor or Executor()).Do({}, {"examples": [examples]}, properties)
    return Ingested(examples, properties)


def keys(done: Ingested) -> list[str]:
    """The keys of all events, in order of time."""
    return [event["key"].decode() for event in sorted(done.all_events, key=lambda event: event["timestamp"])]
