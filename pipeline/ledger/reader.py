"""ML Metadata read once for all: artifacts, executions and events of one pipeline, as plain values.

A property that was never written is absent from `properties`, whatever its type: who reads it says what that means.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

LIVE = metadata_store_pb2.Artifact.LIVE
MARKED = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
DELETED = metadata_store_pb2.Artifact.DELETED
_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One artifact.

    Attributes:
      id, type, uri: of the artifact; the name of its type.
      state: MLMD's, as a number.
      properties: its custom properties.
    """

    id: int
    type: str
    uri: str
    state: int
    properties: Mapping[str, Any]

    @property
    def span(self) -> int | None:
        """The span that it was made for; None for what TFX's own nodes make."""
        return self.properties.get("span")

    @property
    def live(self) -> bool:
        return self.state == LIVE

    @property
    def gone(self) -> bool:
        """Whether its files were removed, or are about to be."""
        return self.state in (MARKED, DELETED)


@dataclasses.dataclass(frozen=True)
class Execution:
    """One attempt at one node.

    Attributes:
      id: of the execution; the last part of the folders of what it made.
      node: its component's name, the last part of its type's. All resolvers are called `Resolver`.
      state: MLMD's, as a number.
      seconds: from its registration to the last that was written of it.
      properties: the parameters that it was given.
    """

    id: int
    node: str
    state: int
    seconds: float
    properties: Mapping[str, Any]

    @property
    def done(self) -> bool:
        """Whether it came to its end, or its result was taken from the cache."""
        return self.state in _DONE

    @property
    def failed(self) -> bool:
        return self.state == metadata_store_pb2.Execution.FAILED


@dataclasses.dataclass(frozen=True)
class Event:
    """That an execution, by id, took an artifact as its input `key`, or made it as its output `key`."""

    execution: int
    artifact: int
    key: str
    made: bool


class LedgerReader:
    """Reads what one pipeline has in a store that it may share with others. Every list is in the order of ids.

    What is read lies in a context, the whole pipeline's or one run's, which is known by its id. None is one that is not
    there, and holds nothing.
    """

    def __init__(self, store: metadata_store.MetadataStore, pipeline: str) -> None:
        self._store, self._pipeline = store, pipeline

    def whole(self) -> int | None:
        """The context of all runs together."""
        return self._context("pipeline", self._pipeline)

    def run(self, run_id: str) -> int | None:
        """The context of one run."""
        return self._context("pipeline_run", run_id)

    def runs(self) -> dict[str, int]:
        """The context of every run by its id, also of other pipelines."""
        return {context.name: context.id for context in self._store.get_contexts_by_type("pipeline_run")}

    def artifacts(self, context: int | None) -> list[Artifact]:
        """What the executions in a context took and made: of a run also what earlier ones made and it looked at."""
        return [] if context is None else _artifacts(self._store.get_artifacts_by_context(context))

    def artifacts_of_everybody(self) -> list[Artifact]:
        """Every artifact in the store, also those of other pipelines."""
        return _artifacts(self._store.get_artifacts())

    def executions(self, context: int | None) -> list[Execution]:
        """What ran in a context."""
        return [] if context is None else _executions(self._store.get_executions_by_context(context))

    def executions_of_everybody(self) -> list[Execution]:
        """Every execution in the store, also those of other pipelines."""
        return _executions(self._store.get_executions())

    def attempts(self, run_id: str, node_id: str) -> list[Execution]:
        """The executions of one node in one run, by its id in the graph. Asks once more for each of the run's."""
        return [
            execution
            for execution in self.executions(self.run(run_id))
            for context in self._store.get_contexts_by_execution(execution.id)
            if context.name == f"{self._pipeline}.{node_id}"
        ]

    def events_of_artifacts(self, artifacts: Collection[int]) -> list[Event]:
        """Who took and who made artifacts, by their ids."""
        return _events(self._store.get_events_by_artifact_ids(artifacts)) if artifacts else []

    def events_of_executions(self, executions: Collection[int]) -> list[Event]:
        """What executions took and made, by their ids."""
        return _events(self._store.get_events_by_execution_ids(executions)) if executions else []

    def _context(self, kind: str, name: str) -> int | None:
        context = self._store.get_context_by_type_and_name(kind, name)
        return None if context is None else context.id


def newest_of(artifacts: Sequence[Artifact], kind: str, span: int, having: str | None = None) -> Artifact | None:
    """The last of a type that was made for a span, told from others of that type by a property that only it has.

    What TFX's own nodes make says no span, and there is nothing to tell it from: without `having` any of the type is.
    """
    of_kind = [artifact for artifact in reversed(artifacts) if artifact.type == kind]
    own = [artifact for artifact in of_kind if artifact.span == span and having in artifact.properties]
    return next(iter(of_kind if having is None else own), None)


def _artifacts(stored: Iterable[metadata_store_pb2.Artifact]) -> list[Artifact]:
    return [
        Artifact(artifact.id, artifact.type, artifact.uri, artifact.state, _plain(artifact.custom_properties))
        for artifact in sorted(stored, key=lambda artifact: artifact.id)
    ]


def _executions(stored: Iterable[metadata_store_pb2.Execution]) -> list[Execution]:
    return [
        Execution(
            execution.id,
            execution.type.rpartition(".")[2],
            execution.last_known_state,
            (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000,
            _plain(execution.custom_properties),
        )
        for execution in sorted(stored, key=lambda execution: execution.id)
    ]


def _events(stored: Iterable[metadata_store_pb2.Event]) -> list[Event]:
    """Those of inputs and outputs; what a resolver has looked at is neither."""
    return [
        Event(raw.execution_id, raw.artifact_id, "".join(step.key for step in raw.path.steps), raw.type == raw.OUTPUT)
        for raw in sorted(stored, key=lambda raw: (raw.execution_id, raw.artifact_id))
        if raw.type in (raw.INPUT, raw.OUTPUT)
    ]


def _plain(properties: Mapping[str, metadata_store_pb2.Value]) -> dict[str, Any]:
    values = {name: getattr(value, value.WhichOneof("value")) for name, value in properties.items()}
    structs = {name: MessageToDict(value) for name, value in values.items() if isinstance(value, Message)}
    return values | structs
