"""The guard as TFX runs it: what it reads of Examples and anomalies, and which past and which release count."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact, artifact_utils, standard_artifacts

from components import artifacts
from components.resolvers import PastProfiles
from components.span_example_gen.encoding import encode_examples
from components.span_guard.events import read_day
from components.span_guard.executor import Executor
from components.span_guard.figures import Day
from components.span_guard.limits import Rules
from components.span_guard.profile import PROFILE_FILE
from tests.components.guard_days import FIRST, make_day
from tests.components.test_resolvers import ids, made, shuffled
from tests.components.test_span_guard import RULES

KINDS = {"key": "bytes", "item": "bytes", "timestamp": "int", "price": "float", "note": "bytes"}


def _examples(folder: Path, day: Day, files: str = "a", note: str | None = "x") -> artifact.Artifact:
    """Nine tenths in the one split, the rest in the other; the first event has no `note`."""
    notes = pa.array([None, *[note] * len(day.timestamps)][: len(day.timestamps)], pa.string())
    columns = {"key": day.keys, "item": day.items, "timestamp": pa.array(day.timestamps), **day.columns, "note": notes}
    batch = pa.RecordBatch.from_pydict(columns)
    cut = int(0.9 * batch.num_rows)
    for split, part in (("train", batch[:cut]), ("eval", batch[cut:])):
        path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
            for example in encode_examples(part, KINDS) if part.num_rows else ():
                writer.write(example)
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(folder), artifact_utils.encode_split_names(["train", "eval"])
    for name, count in (("rows", day.rows), ("rejects", day.rejects), ("duplicates", day.duplicates)):
        examples.set_int_custom_property(name, count)
    examples.set_string_custom_property("input_fingerprint", files)
    return examples


def _anomalies(folder: Path, kind: int | None = None) -> artifact.Artifact:
    anomalies = anomalies_pb2.Anomalies()
    if kind is not None:
        anomalies.anomaly_info["price"].description = "Expected data of type: FLOAT but got BYTES."
        anomalies.anomaly_info["price"].reason.add(type=kind)
    for split in ("train", "eval"):
        (folder / f"Split-{split}").mkdir(parents=True)
        (folder / f"Split-{split}" / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
    created = standard_artifacts.ExampleAnomalies()
    created.uri = str(folder)
    return created


class Guarded:
    """Days through the executor, one after the other."""

    def __init__(self, base: Path, rules: Rules) -> None:
        self._base, self._rules, self.profiles = base, rules, []

    def run(
        self,
        day: Day,
        span: int,
        files: str = "a",
        anomaly: int | None = None,
        released: list[artifact.Artifact] | None = None,
    ) -> artifact.Artifact:
        folder = self._base / str(len(self.profiles))
        output = artifacts.SpanProfile()
        output.uri, output.id = str(folder / "profile"), len(self.profiles) + 1
        inputs = {
            "examples": [_examples(folder / "examples", day, files)],
            "anomalies": [_anomalies(folder / "anomalies", anomaly)],
            "past": [profile for profile in self.profiles if not profile.get_int_custom_property("held")],
            "released": released or [],
        }
        settings = {"span": span, "dated": 1, "rules": self._rules.to_json()}
        Executor().Do(inputs, {"profile": [output]}, settings)
        self.profiles.append(output)
        return output


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    guard = Guarded(tmp_path, dataclasses.replace(RULES, at_least=4))
    for span in range(FIRST, FIRST + 5):
        assert not guard.run(make_day(span), span).get_int_custom_property("held")
    return guard


def _prefixed(day: Day) -> Day:
    values = {field: getattr(day, field) for field in Day.__dataclass_fields__}
    return Day(**{**values, "items": pa.array([b"x-" + text for text in day.items.to_pylist()], pa.binary())})


def test_examples_are_read_with_their_context_columns(tmp_path):
    day = make_day(FIRST)
    read = read_day(_examples(tmp_path, day), day.start)
    assert (read.keys.to_pylist(), read.items.to_pylist()) == (day.keys.to_pylist(), day.items.to_pylist())
    assert read.timestamps.tolist() == day.timestamps.tolist()
    assert read.columns["price"].to_pylist() == day.columns["price"].to_pylist()
    assert read.columns["note"].to_pylist() == [None, *[b"x"] * (len(day.timestamps) - 1)]
    assert (read.rows, read.rejects, read.start) == (day.rows, 0, day.start)


def test_a_day_without_an_event_is_read_and_a_column_without_a_value(tmp_path):
    nothing = _without_events(make_day(FIRST))
    assert len(read_day(_examples(tmp_path / "none", nothing), None).timestamps) == 0
    read = read_day(_examples(tmp_path / "some", make_day(FIRST), note=None), None)
    assert "note" not in read.columns


def _without_events(day: Day) -> Day:
    nothing = pa.array([], pa.binary())
    return Day(nothing, nothing, day.timestamps[:0], {"price": pa.array([], pa.float32())}, 0, 0, 0)


def test_a_sick_day_is_held_with_its_reason_and_the_next_day_goes_on(guarded):
    held = guarded.run(_prefixed(make_day(FIRST + 5)), FIRST + 5)
    assert held.get_int_custom_property("held") == 1
    reason = held.get_string_custom_property("reason")
    assert "item ids of a usual shape 0.0%: usual 100.0% (4 days), held below 98.0%" in reason
    assert held.get_int_custom_property("span") == FIRST + 5
    said = json.loads((Path(held.uri) / PROFILE_FILE).read_text())
    assert reason == "; ".join([*said["reasons"][:3], f"and {len(said['reasons']) - 3} more"])
    assert said["judged"][0]["excess"] > 1
    assert not guarded.run(make_day(FIRST + 6), FIRST + 6).get_int_custom_property("held")


def test_a_release_lets_these_files_in_and_no_others(guarded):
    sick = _prefixed(make_day(FIRST + 5))
    held = guarded.run(sick, FIRST + 5, files="first")
    again = guarded.run(sick, FIRST + 5, files="first", released=[held])
    assert again.get_int_custom_property("held") == 0
    assert "item ids" in again.get_string_custom_property("reason")
    assert guarded.run(sick, FIRST + 5, files="second", released=[held]).get_int_custom_property("held") == 1


def test_with_hold_off_the_reason_is_said_and_the_day_let_in(tmp_path):
    guard = Guarded(tmp_path, dataclasses.replace(RULES, at_least=3, hold=False))
    for span in range(FIRST, FIRST + 4):
        guard.run(make_day(span), span)
    profile = guard.run(_prefixed(make_day(FIRST + 4)), FIRST + 4)
    assert profile.get_int_custom_property("held") == 0
    assert "item ids" in profile.get_string_custom_property("reason")


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (anomalies_pb2.AnomalyInfo.UNEXPECTED_DATA_TYPE, 1),
        (anomalies_pb2.AnomalyInfo.SCHEMA_NEW_COLUMN, 0),
        (anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES, 0),
    ],
)
def test_a_wrong_type_holds_and_a_new_column_informs(kind, held, tmp_path):
    profile = Guarded(tmp_path, RULES).run(make_day(FIRST), FIRST, anomaly=kind)
    assert profile.get_int_custom_property("held") == held
    assert ("column price is not what the schema says" in profile.get_string_custom_property("reason")) == bool(held)


def test_past_days_are_those_let_in_and_a_release_is_of_the_span_itself():
    days = [made(artifacts.SpanProfile, span=span, held=int(span == 3)) for span in (1, 2, 3, 4)]
    own = made(artifacts.SpanProfile, span=5, held=1, released=1)
    later = made(artifacts.SpanProfile, span=6, held=0)
    channel = [*days, own, later, made(artifacts.SpanProfile, span=5, held=1)]
    inputs = {"past": shuffled(channel), "released": shuffled(channel)}
    resolved = PastProfiles(span=5, most=2).resolve_artifacts(None, inputs)
    assert ids(resolved["past"]) == ids([days[1], days[3]])
    assert ids(resolved["released"]) == ids([own])
    # Of a span that was run again the last profile counts: it was let in since.
    let_in = made(artifacts.SpanProfile, span=3, held=0)
    inputs = {"past": [*channel, let_in], "released": []}
    assert ids(PastProfiles(span=5, most=2).resolve_artifacts(None, inputs)["past"]) == ids([let_in, days[3]])
    assert PastProfiles(span=5, most=2).resolve_artifacts(None, inputs)["released"] == []
