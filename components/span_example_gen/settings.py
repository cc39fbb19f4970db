"""The settings of the component as one plain, picklable value that travels as JSON in the execution properties."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping
from typing import Any

from components.span_example_gen.errors import SpanError
from components.span_example_gen.ids import WHOLE
from components.span_example_gen.span_window import SpanWindow
from trainer.features.declaration import Feature

FORMATS = ("csv", "parquet", "jsonl", "tfrecord")
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
AUTO = "auto"  # of `span_hours`: as the pattern says
EVENT_FEATURES = ("key", "item", "timestamp", "weight")


@dataclasses.dataclass(frozen=True)
class Rule:
    """Rejects the rows whose `column`, read as text, matches `matches` from its start (Python's `re.match`)."""

    column: str
    matches: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a row becomes an event and where the span is cut. `context` columns keep their own names.

    `query_features` are those of key and context, see `event_features`.
    """

    key: str
    item: str
    timestamp: str
    weight: str | None
    context: tuple[str, ...]
    format: str
    timestamp_unit: str
    timestamp_format: str | None
    span_hours: float | str | None
    late: str
    decimal_ids: str
    weight_above: float | None
    reject: tuple[Rule, ...]
    max_reject_fraction: float
    dated: bool
    eval_fraction: float
    forgotten: str | None = None  # the file of those who must not come back
    digests: str | None = None  # where digests of files are kept, which need not be read again
    query_features: tuple[Feature, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The user's columns that are read, each once, those of the event first."""
        return tuple(dict.fromkeys([*self.required_columns, *(feature.source for feature in self.query_features)]))

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Those without which a row is no event: not those of features that may be missing."""
        event = (self.key, self.item, self.timestamp, *((self.weight,) if self.weight else ()), *self.context)
        features = (feature.source for feature in self.query_features if feature.missing == "reject")
        return tuple(dict.fromkeys([*event, *(rule.column for rule in self.reject), *features]))

    def window(self, span: int) -> SpanWindow | None:
        """The span's own time, or None where events may have any."""
        hours = self.span_hours
        if hours == AUTO:
            hours = 24.0 if self.dated else None
        if hours is None:
            return SpanWindow.any_time(span) if self.dated else None
        return SpanWindow.of(span, float(hours), self.dated)

    def label(self, span: int) -> str:
        """What a person calls the span: its date, or its number."""
        if not self.dated:
            return str(span)
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=span)).isoformat()

    def to_json(self) -> str:
        values = dataclasses.asdict(self)
        if not self.query_features:  # as it was before there were any: what was run then need not be run again
            del values["query_features"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        rules = tuple(Rule(**rule) for rule in values.pop("reject"))
        features = tuple(Feature(**feature) for feature in values.pop("query_features", ()))
        return cls(**{**values, "context": tuple(values["context"])}, reject=rules, query_features=features)


def make_settings(data: Mapping[str, Any], pattern: str, eval_fraction: float) -> Settings:
    """Takes the settings of the `data` section (as a JSON-able dict) that say how a row becomes an event.

    Settings of other rooms in the same section (where the data lies, the catalogue of items) are left alone, so that a
    change of theirs does not make this component run again.

    Raises:
      SpanError: a column is not named, or the names of the event's features are taken by a context column.
    """
    columns = dict(data.get("columns") or {})
    for part in ("key", "item", "timestamp"):
        if not columns.get(part):
            raise SpanError(f"`data.columns.{part}` must name a column of your files. Received: {columns.get(part)!r}.")
    context = tuple(columns.get("context") or ())
    taken = [name for name in context if name in EVENT_FEATURES]
    if taken:
        raise SpanError(
            f"`data.columns.context` can't name {taken}: these names belong to the event itself "
            f"({', '.join(EVENT_FEATURES)}). Rename the column in your files."
        )
    if len(set(context)) != len(context):
        raise SpanError(f"`data.columns.context` must name each column once. Received: {list(context)}.")
    kind = data.get("format")
    if kind not in FORMATS:
        raise SpanError(f"`data.format` must be one of {', '.join(FORMATS)}. Received: {kind!r}.")
    unit = data.get("timestamp_unit")
    if unit not in UNITS_PER_SECOND:
        raise SpanError(f"`data.timestamp_unit` must be one of {', '.join(UNITS_PER_SECOND)}. Received: {unit!r}.")
    _require_time_format(data.get("timestamp_format"))
    most_rejects = data.get("max_reject_fraction")
    if not isinstance(most_rejects, int | float) or not 0 <= most_rejects <= 1:
        raise SpanError(f"`data.max_reject_fraction` must be from 0 to 1. Received: {most_rejects!r}.")
    if not 0 <= eval_fraction < 1:
        raise SpanError(f"`split.eval_fraction` must be at least 0 and below 1. Received: {eval_fraction!r}.")
    return Settings(
        key=columns["key"],
        item=columns["item"],
        timestamp=columns["timestamp"],
        weight=columns.get("weight"),
        context=context,
        format=kind,
        timestamp_unit=unit,
        timestamp_format=data.get("timestamp_format"),
        span_hours=data.get("span_hours"),
        late=data["late"],
        decimal_ids=data["decimal_ids"] or WHOLE,
        weight_above=data.get("weight_above"),
        reject=tuple(Rule(rule["column"], rule["matches"], rule["reason"]) for rule in data.get("reject") or ()),
        max_reject_fraction=most_rejects,
        dated="{YYYY}" in pattern,
        eval_fraction=eval_fraction,
        forgotten=data.get("forgotten"),
        digests=data.get("digests"),
        query_features=tuple(Feature(**feature) for feature in data.get("query_features") or ()),
    )


def settings_in(exec_properties: Mapping[str, Any]) -> Settings:
    """The settings among a component's execution properties."""
    # Here, so that who only reads a file (`warmspan init`) does not wait for TFX.
    from google.protobuf import wrappers_pb2
    from tfx.proto import example_gen_pb2
    from tfx.types import standard_component_specs
    from tfx.utils import proto_utils

    custom_config = proto_utils.json_to_proto(
        exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], example_gen_pb2.CustomConfig()
    )
    text = wrappers_pb2.StringValue()
    custom_config.custom_config.Unpack(text)
    return Settings.from_json(text.value)


def _require_time_format(format: str | None) -> None:
    try:
        datetime.datetime.strptime("", format or "")
    except ValueError as error:
        # An empty text does not match; anything else is said of the pattern itself.
        if "does not match" not in str(error):
            raise SpanError(
                f"`data.timestamp_format` must be a pattern of Python's strptime. Received: {format!r} ({error}). "
                "Write for example '%Y-%m-%d %H:%M:%S'."
            ) from None
