"""The component: what it takes and gives, through TFX's own executor and launcher."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.common import importer, resolver
from tfx.dsl.input_resolution.strategies import latest_artifact_strategy
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, channel, standard_artifacts

from components import artifacts
from components.span_transform import Settings, SpanTransform, history
from components.span_transform.component import SpanTransformSpec
from components.span_transform.executor import Executor
from tests.components import span_transform_days as days
from tests.components.plain_settings import PLAIN, transform_settings
from tests.components.span_transform_reference import Event
from trainer.vocabulary import Vocabulary

OUTPUTS = {
    "sequences": standard_artifacts.Examples,
    "held_out": standard_artifacts.Examples,
    "vocabulary": artifacts.Vocabulary,
    "history": artifacts.KeyHistory,
}
EVENTS = [Event(b"key%d" % (n % 3), b"item%d" % (n % 4), n, 1.0) for n in range(12)]


def an_events_artifact(folder: Path, train: list[Event], held_out: list[Event]) -> types.Artifact:
    days.write_events(folder, "train", [train])
    days.write_events(folder, "eval", [held_out])
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
    examples.set_int_custom_property("events", len(train) + len(held_out))
    return examples


def execute(
    root: Path,
    events: types.Artifact,
    span: int = 1,
    chosen: Settings = PLAIN.transform,
    yesterday: dict[str, types.Artifact] | None = None,
) -> dict[str, types.Artifact]:
    made = {name: kind() for name, kind in OUTPUTS.items()}
    for name, artifact in made.items():
        artifact.uri = str(root / name / str(span))
        Path(artifact.uri).mkdir(parents=True, exist_ok=True)
    inputs = {"events": [events], "yesterday_vocabulary": [], "yesterday_history": []}
    for name, artifact in (yesterday or {}).items():
        inputs[f"yesterday_{name}"] = [artifact]
    properties = {"span": span, "settings": chosen.to_json()}
    Executor().Do(inputs, {name: [artifact] for name, artifact in made.items()}, properties)
    return made


def state_of(made: dict[str, types.Artifact]) -> dict[str, types.Artifact]:
    return {name: made[name] for name in ("vocabulary", "history")}


def test_its_channels() -> None:
    component = SpanTransform(
        channel.Channel(type=standard_artifacts.Examples), span=3, settings=transform_settings(length=9)
    )
    assert {name: output.type for name, output in component.outputs.items()} == OUTPUTS
    assert component.exec_properties["span"] == 3
    assert Settings.from_json(component.exec_properties["settings"]) == transform_settings(length=9)
    optional = {name: parameter.optional for name, parameter in SpanTransformSpec.INPUTS.items()}
    assert optional == {"events": False, "yesterday_vocabulary": True, "yesterday_history": True, "catalogue": True}


def test_what_the_artifacts_tell(tmp_path: Path) -> None:
    first = execute(tmp_path, an_events_artifact(tmp_path / "e1", EVENTS[:9], EVENTS[9:]), 15_000)
    assert first["sequences"].get_int_custom_property("new_events") == 9
    more = [Event(b"key9", b"item9", 100, 1.0), Event(b"key0", b"item0", 101, 1.0)]
    second = execute(
        tmp_path, an_events_artifact(tmp_path / "e2", more, []), 15_001, transform_settings(), yesterday=state_of(first)
    )
    expected = {
        "sequences": {"new_events": 5, "new_items": 1, "new_keys": 1, "sequences": 4, "item_rows": 7, "key_rows": 6},
        "held_out": {"events": 0, "verdict_events": 0},
        "vocabulary": {"item_rows": 7, "key_rows": 6},
        "history": {"keys": 4, "events": 14},
    }
    for name, properties in expected.items():
        for key, value in {"span": 15_001, **properties}.items():
            assert second[name].get_int_custom_property(key) == value, (name, key)
    for name, splits in (("sequences", ["train"]), ("held_out", ["select", "verdict"])):
        assert artifact_utils.decode_split_names(second[name].split_names) == splits
        assert examples_utils.get_payload_format(second[name]) == example_gen_pb2.FORMAT_TF_EXAMPLE
        assert examples_utils.get_file_format(second[name]) == "tfrecords_gzip"
    assert days.read_held_out(second["held_out"].uri) == []
    for part in ("select", "verdict"):
        assert len(list(Path(second["held_out"].uri, f"Split-{part}").iterdir())) == 1


def test_a_rerun_writes_the_same_bytes(tmp_path: Path) -> None:
    events = an_events_artifact(tmp_path / "events", EVENTS[:9], EVENTS[9:])
    chosen = transform_settings(rows_per_shard=5)
    runs = [execute(tmp_path / name, events, chosen=chosen) for name in ("first", "again")]
    first, again = ([artifact.uri for artifact in run.values()] for run in runs)
    assert days.bytes_of(*first) == days.bytes_of(*again)
    assert len(history.shards_in(first[3])) == 4


def test_what_a_cut_off_attempt_left_does_not_count(tmp_path: Path) -> None:
    events = an_events_artifact(tmp_path / "events", EVENTS[:9], EVENTS[9:])
    left = [
        artifact.uri
        for artifact in execute(tmp_path / "again", events, chosen=transform_settings(rows_per_shard=5)).values()
    ]
    Path(left[0], ".Split-train-data_tfrecord-00000-of-00001.gz.123").write_bytes(b"half")
    clean, again = (
        [artifact.uri for artifact in execute(tmp_path / name, events).values()] for name in ("clean", "again")
    )
    assert left == again
    assert days.bytes_of(*clean) == days.bytes_of(*again)


def test_a_span_without_events_only_releases_what_was_held_out(tmp_path: Path) -> None:
    first = execute(tmp_path, an_events_artifact(tmp_path / "e1", [], EVENTS), 1)
    assert first["sequences"].get_int_custom_property("new_events") == 0
    assert first["sequences"].get_int_custom_property("item_rows") == 2
    nothing = an_events_artifact(tmp_path / "e2", [], [])
    second = execute(tmp_path, nothing, 2, yesterday=state_of(first))
    assert second["sequences"].get_int_custom_property("new_events") == len(EVENTS)
    assert second["vocabulary"].get_int_custom_property("key_rows") == 5
    third = execute(tmp_path, nothing, 3, yesterday=state_of(second))
    assert third["sequences"].get_int_custom_property("new_events") == 0
    assert days.read_history(third["history"].uri) == days.read_history(second["history"].uri)
    assert Vocabulary.load(third["vocabulary"].uri, "keys").span == 3


def test_splits_without_a_file_are_empty(tmp_path: Path) -> None:
    events = an_events_artifact(tmp_path / "events", [], [])
    shutil.rmtree(tmp_path / "events")
    made = execute(tmp_path, events)
    assert days.read_sequences(made["sequences"].uri) == days.read_held_out(made["held_out"].uri) == []
    assert days.read_history(made["history"].uri) == {}


@pytest.mark.parametrize("span", [1, 0])
def test_a_span_that_the_state_already_holds_is_refused(tmp_path: Path, span: int) -> None:
    events = an_events_artifact(tmp_path / "events", EVENTS, [])
    first = execute(tmp_path, events, 1)
    with pytest.raises(ValueError, match=rf"must be after the span of the state it continues, 1\. Received: {span}"):
        execute(tmp_path / "again", events, span, yesterday=state_of(first))


def test_half_a_state_is_refused(tmp_path: Path) -> None:
    events = an_events_artifact(tmp_path / "events", EVENTS, [])
    first = execute(tmp_path, events, 1)
    for name, other in (("vocabulary", "history"), ("history", "vocabulary")):
        with pytest.raises(ValueError, match=f"must be given together. Received: no {other}"):
            execute(tmp_path, events, 2, yesterday={name: first[name]})


def test_a_state_of_two_spans_is_refused(tmp_path: Path) -> None:
    events = an_events_artifact(tmp_path / "events", EVENTS, [])
    first = execute(tmp_path, events, 1)
    second = execute(tmp_path, an_events_artifact(tmp_path / "e2", [], []), 2, yesterday=state_of(first))
    with pytest.raises(ValueError, match=r"must be of one span\. Received: 1 \(items\) and 2 \(history\)"):
        execute(tmp_path, events, 3, yesterday={"vocabulary": first["vocabulary"], "history": second["history"]})


def test_other_out_of_vocabulary_rows_are_refused(tmp_path: Path) -> None:
    events = an_events_artifact(tmp_path / "events", EVENTS, [])
    first = execute(tmp_path, events, 1)
    with pytest.raises(ValueError, match=r"`vocabulary.oov_rows` can't be changed .* it was 1.* Received: 2"):
        execute(tmp_path, events, 2, transform_settings(oov_rows=2), yesterday=state_of(first))


def test_in_a_pipeline_the_state_resolves_to_nothing_on_the_first_day(tmp_path: Path) -> None:
    """Two days by TFX's launcher, the state taken from MLMD."""
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))
    for day in (1, 2):
        folder = tmp_path / f"events-{day}"
        an_events_artifact(folder, [event._replace(timestamp=100 * day) for event in EVENTS[:10]], EVENTS[10:])
        events = importer.Importer(
            source_uri=str(folder),
            artifact_type=standard_artifacts.Examples,
            properties={"split_names": artifact_utils.encode_split_names(["train", "eval"])},
        ).with_id("Events")
        state = resolver.Resolver(
            strategy_class=latest_artifact_strategy.LatestArtifactStrategy,
            vocabulary=channel.Channel(type=artifacts.Vocabulary),
            history=channel.Channel(type=artifacts.KeyHistory),
        ).with_id("State")
        transform = SpanTransform(
            events=events.outputs["result"],
            span=day,
            settings=transform_settings(),
            vocabulary=state.outputs["vocabulary"],
            history=state.outputs["history"],
        )
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="days",
                pipeline_root=str(tmp_path / "root"),
                components=[events, state, transform],
                metadata_connection_config=connection,
            )
        )
    with metadata.Metadata(connection) as store:
        vocabularies = store.store.get_artifacts_by_type("WarmspanVocabulary")
        made = [artifact.custom_properties["span"].int_value for artifact in vocabularies]
        examples = [
            artifact.custom_properties["new_events"].int_value
            for artifact in store.store.get_artifacts_by_type("Examples")
            if "new_events" in artifact.custom_properties
        ]
    assert (made, examples) == ([1, 2], [10, 12])
