"""What is read of ML Metadata: plain values, in order, with few questions to the store."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.config.root_address import RootAddress
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.models import read_model_lineage
from pipeline.ledger.reader import Event, LedgerReader, newest_of
from pipeline.ledger.runs import read_ledger, read_order, read_run, run_id
from pipeline.metadata_store.connection import open_store
from pipeline.monitoring.report.report_data import read_report_data
from pipeline.monitoring.tensorboard.run_details import read_details
from tests.pipeline.made_store import DAYS, MadeStore
from tests.pipeline.recorded_root import unpack

FIRST, SECOND = DAYS.parse("2024-05-01"), DAYS.parse("2024-05-02")
Counter = Callable[[Callable[[], object]], int]


@pytest.fixture
def two(tmp_path: Path) -> MadeStore:
    made = MadeStore(tmp_path)
    made.chain(2)
    return made


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How often a function asks the store; a list that comes in pages counts a page."""
    calls: list[str] = []
    asked = metadata_store.MetadataStore._call_method

    def counted(store: Any, name: str, *arguments: Any) -> None:
        calls.append(name)
        asked(store, name, *arguments)

    monkeypatch.setattr(metadata_store.MetadataStore, "_call_method", counted)

    def count(function: Callable[[], object]) -> int:
        calls.clear()
        function()
        return len(calls)

    return count


def attempt(made: MadeStore, node: str, state: int) -> None:
    """One more execution of a node in the run of the second day."""
    (kind,) = [known.id for known in made.store.get_execution_types() if known.name.endswith(f".{node}")]
    run = made.store.get_context_by_type_and_name("pipeline_run", run_id("shop", "2024-05-02", 1))
    made.store.put_execution(mlmd.Execution(type_id=kind, last_known_state=state), [], [run])


def test_an_artifact_is_plain_and_lacks_what_was_never_written(two):
    stored = two.model(2024050101)
    stored.custom_properties["by_split"].struct_value["train"] = 1.0
    stored.state = mlmd.Artifact.MARKED_FOR_DELETION
    two.store.put_artifacts([stored])
    reader = LedgerReader(two.store, "shop")
    artifacts = reader.artifacts(reader.whole())
    model = next(artifact for artifact in artifacts if artifact.id == stored.id)
    assert (model.type, model.uri, model.span) == ("Model", stored.uri, FIRST)
    assert (model.live, model.gone) == (False, True)
    assert model.properties == {"span": FIRST, "version": 2024050101, "parent": 0, "by_split": {"train": 1.0}}
    assert pickle.loads(pickle.dumps(artifacts)) == artifacts
    assert {artifact.span for artifact in artifacts if artifact.type == "ModelBlessing"} == {None}


def test_a_context_holds_its_own_in_order(two, tmp_path):
    other = MadeStore(tmp_path, name="other")
    other.day("2024-05-07")
    reader = LedgerReader(two.store, "shop")
    whole, second = reader.artifacts(reader.whole()), reader.artifacts(reader.run(run_id("shop", "2024-05-02", 1)))
    assert {artifact.span for artifact in whole} == {None, FIRST, SECOND}
    everybody = reader.artifacts_of_everybody()
    assert {artifact.span for artifact in everybody} == {None, FIRST, SECOND, DAYS.parse("2024-05-07")}
    # The champion that the second day began with belongs to its run too.
    assert [artifact.span for artifact in second if artifact.type == "Model"] == [FIRST, SECOND]
    executions = reader.executions(reader.whole())
    for records in (whole, second, everybody, executions):
        assert [record.id for record in records] == sorted(record.id for record in records)
    assert run_id("shop", "2024-05-02", 1) in reader.runs()


def test_what_is_not_there_holds_nothing(two):
    reader = LedgerReader(two.store, "nobody")
    assert (reader.whole(), reader.run(run_id("nobody", "2024-05-01", 1))) == (None, None)
    assert reader.artifacts(None) == reader.executions(None) == []
    assert reader.events_of_artifacts([]) == reader.events_of_executions([]) == []


def test_events_say_what_was_taken_and_made_as_what(two):
    reader = LedgerReader(two.store, "shop")
    executions = reader.executions(reader.run(run_id("shop", "2024-05-02", 1)))
    assert [execution.node for execution in executions if execution.done][:4] == [
        "Resolver",
        "SpanTransform",
        "UpdateDecider",
        "IncrementalTrainer",
    ]
    training = executions[3].id
    base, model = two.model(2024050101).id, two.model(2024050201).id
    events = reader.events_of_executions([training])
    assert [(event.key, event.made) for event in events] == [
        ("base_model", False),
        ("base_memory", False),
        ("model", True),
        ("memory", True),
    ]
    assert Event(training, base, "base_model", made=False) in events
    # What resolved it has neither taken nor made it.
    assert executions[0].id not in {event.execution for event in reader.events_of_artifacts([base])}
    assert Event(training, model, "model", made=True) in reader.events_of_artifacts([model])


def test_the_newest_of_a_type_is_told_by_a_property_and_its_span(two):
    reader = LedgerReader(two.store, "shop")
    artifacts = reader.artifacts(reader.whole())
    assert newest_of(artifacts, "Model", FIRST, "version").id == two.model(2024050101).id
    assert newest_of(artifacts, "Model", FIRST).id == two.model(2024050201).id
    assert newest_of(artifacts, "Examples", FIRST, "rejects") is None
    assert newest_of(artifacts, "Model", DAYS.parse("2024-05-03"), "version") is None


def test_the_attempts_at_a_node_are_known_by_its_id_in_the_graph(tmp_path):
    config = unpack(tmp_path / "shop")
    reader, run = LedgerReader(open_store(config), "shop"), run_id("shop", "2024-05-02", 1)
    (champion,), (yesterday,), (decider,) = (
        reader.attempts(run, node) for node in ("Champion", "Yesterday", "UpdateDecider")
    )
    assert champion.node == yesterday.node == "Resolver"
    assert champion.id < yesterday.id < decider.id
    assert decider.done
    assert decider.seconds == pytest.approx(0.033)
    assert (decider.properties["span"], decider.properties["max_owed"]) == (SECOND, 14)
    assert reader.attempts(run, "Nobody") == reader.attempts("shop.2024-05-09.r01", "Champion") == []


def test_of_a_node_that_was_tried_again_the_last_attempt_counts(tmp_path):
    made = MadeStore(tmp_path)
    made.day("2024-05-01")
    made.day("2024-05-02", pushed=False)
    for state, seen in ((mlmd.Execution.FAILED, "failed"), (mlmd.Execution.COMPLETE, "done")):
        attempt(made, "SpanPusher", state)
        assert read_run(made.config, SECOND).state == seen


@pytest.mark.parametrize(
    ("read", "most"),
    [
        # The runs, and of each its executions and its artifacts.
        (read_ledger, 1 + 2 * 5),
        (read_order, 1 + 5),
        # Revision 2 is asked for too, and is not there.
        (lambda config: read_run(config, FIRST), 2 + 2),
        # The whole, its artifacts, what made the models, and what that took.
        (read_model_lineage, 2 + 2),
        # The whole, its artifacts and their events; the runs as above; the folders of everybody.
        (lambda config: read_artifacts(config, open_store(config)), 3 + 1 + 2 * 5 + 1),
    ],
)
def test_reading_asks_the_store_seldom(tmp_path, round_trips, read, most):
    made = MadeStore(tmp_path)
    made.chain(5)
    # A root of an earlier version, without an address, is asked for where it was made each time.
    RootAddress.new(made.config.root).write(made.config.root)
    assert round_trips(lambda: read(made.config)) <= most


def test_pages_ask_the_store_seldom(tmp_path, round_trips):
    config: Config = unpack(tmp_path / "shop")
    runs = read_ledger(config)
    assert round_trips(lambda: read_details(config, runs[-1])) <= 4
    # Of each run its context and its artifacts, the whole, and twice the lineage of the models.
    assert round_trips(lambda: read_report_data(config, runs)) <= 2 * len(runs) + 2 + 2 * 4
