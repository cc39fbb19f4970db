"""Which span was ingested, trained on, blessed, pushed: read from ML Metadata, no second store."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config
from pipeline.ledger.models import REASON, REVOKED
from pipeline.metadata_store.connection import open_store
from pipeline.spans import Naming

State = Literal["done", "failed", "unfinished"]

_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
_LAST_NODE = "SpanPusher"


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of one span.

    Attributes:
      span, name, revision: which.
      state: `done` when a verdict was reached or the span was skipped.
      delivery: version of the input that counted, None where the data has none.
      fingerprint: TFX's fingerprint of the input files; empty before they were read.
      events, rejects, duplicates, new_items, new_keys: counts of the span; None before they are known.
      action, reason: the decision; empty before it was taken.
      next_span: the champion's metrics before training; empty without a champion.
      candidate, champion: the gate's metrics; empty where it did not run.
      verdict: the gate's sentence.
      pushed: version in TF Serving's folder, None if not pushed.
      item_rows, key_rows: sizes of the tables.
      seconds: by node.
      overruled: the action that the policy had decided on where the user wanted another; else empty.
      drift: what drifted beyond a limit of the policy, in a sentence; else empty.
      trained_on: spans that the decision was to train on, oldest first.
      base_version: version of the model that the training started from; None from fresh weights, or without training.
      revoked, revoked_reason: whether its model was taken back, and why.
      base_revoked: whether the champion that it began with was taken back since.
    """

    span: int
    name: str
    revision: int
    state: State
    delivery: int | None
    fingerprint: str
    events: int | None
    rejects: int | None
    duplicates: int | None
    new_items: int | None
    new_keys: int | None
    action: str
    reason: str
    next_span: Mapping[str, float]
    candidate: Mapping[str, float]
    champion: Mapping[str, float]
    verdict: str
    pushed: int | None
    item_rows: int | None
    key_rows: int | None
    seconds: Mapping[str, float]
    overruled: str = ""
    drift: str = ""
    trained_on: tuple[int, ...] = ()
    base_version: int | None = None
    revoked: bool = False
    revoked_reason: str = ""
    base_revoked: bool = False

    @property
    def void(self) -> bool:
        """Whether it was cut off and must not be taken up: it would go on with a model that was taken back."""
        return self.state != "done" and (self.revoked or self.base_revoked)


def run_id(pipeline: str, name: str, revision: int) -> str:
    """The id of a span's run, the same in every process. Names the pipeline, because several may share a store."""
    return f"{pipeline}.{name}.r{revision:02d}"


def read_ledger(config: Config) -> list[Run]:
    """The latest run of every span, in order of the spans; empty if nothing has run."""
    latest: dict[int, Run] = {}
    for run in read_runs(config):
        if run.span not in latest or run.revision > latest[run.span].revision:
            latest[run.span] = run
    return [latest[span] for span in sorted(latest)]


def read_runs(config: Config) -> list[Run]:
    """Every run of every span."""
    store = open_store(config)
    if store is None:
        return []
    kinds = _Kinds.read(store)
    return [_read(store, kinds, *run_context) for run_context in run_contexts(config, store)]


def run_contexts(config: Config, store: metadata_store.MetadataStore) -> Iterator[tuple[int, int, str, int]]:
    """Of every run the id of its context in ML Metadata, the span's number and name, and the revision."""
    naming = Naming(config.data.dated)
    expression = re.compile(re.escape(config.name) + r"\.(.+)\.r(\d\d)")
    for context in store.get_contexts_by_type("pipeline_run"):
        if match := expression.fullmatch(context.name):
            yield context.id, naming.parse(match[1]), match[1], int(match[2])


def read_run(config: Config, span: int, revision: int | None = None) -> Run | None:
    """One run of a span, by default the latest, without reading those of other spans; None if there is none."""
    store = open_store(config)
    if store is None:
        return None
    name = Naming(config.data.dated).format(span)
    newest = None
    # Revisions have no holes: a span is only run again when its latest revision is done or void.
    for number in itertools.count(1) if revision is None else (revision,):
        context = store.get_context_by_type_and_name("pipeline_run", run_id(config.name, name, number))
        if context is None:
            break
        newest = context.id, number
    return None if newest is None else _read(store, _Kinds.read(store), newest[0], span, name, newest[1])


def read_order(config: Config) -> dict[int, tuple[int, int]]:
    """For each span the ids of the first and the last execution of its latest run: what ran before what."""
    store = open_store(config)
    if store is None:
        return {}
    order = {}
    for run in read_ledger(config):
        context = store.get_context_by_type_and_name("pipeline_run", run_id(config.name, run.name, run.revision))
        ids = [execution.id for execution in store.get_executions_by_context(context.id)]
        if ids:
            order[run.span] = min(ids), max(ids)
    return order


@dataclasses.dataclass(frozen=True)
class _Kinds:
    """Names of the store's types by their ids."""

    executions: Mapping[int, str]
    artifacts: Mapping[int, str]

    @classmethod
    def read(cls, store: metadata_store.MetadataStore) -> _Kinds:
        return cls(
            {
                execution_type.id: execution_type.name.rsplit(".", 1)[-1]
                for execution_type in store.get_execution_types()
            },
            {artifact_type.id: artifact_type.name for artifact_type in store.get_artifact_types()},
        )


def _read(store: metadata_store.MetadataStore, kinds: _Kinds, context: int, span: int, name: str, revision: int) -> Run:
    executions = {
        kinds.executions[execution.type_id]: execution for execution in store.get_executions_by_context(context)
    }
    artifacts = _Artifacts(store.get_artifacts_by_context(context), kinds.artifacts, span)
    return _run(span, name, revision, executions, artifacts)


class _Artifacts:
    """What a run made, by type and a property that tells artifacts of one type apart."""

    def __init__(self, artifacts: list[metadata_store_pb2.Artifact], kinds: Mapping[int, str], span: int) -> None:
        self._found: list[tuple[str, dict[str, Any]]] = []
        self.base: dict[str, Any] = {}
        for artifact in sorted(artifacts, key=lambda artifact: artifact.id):
            properties = {name: _plain(value) for name, value in artifact.custom_properties.items()}
            # Inputs from earlier spans belong to the run's context too.
            if properties.get("span") == span:
                self._found.append((kinds[artifact.type_id], properties))
            elif kinds[artifact.type_id] == "Model":
                self.base = properties

    def properties(self, kind: str, having: str) -> dict[str, Any]:
        return next(
            (properties for name, properties in reversed(self._found) if name == kind and having in properties), {}
        )


def _plain(value: metadata_store_pb2.Value) -> Any:
    return getattr(value, value.WhichOneof("value"))


def _run(
    span: int, name: str, revision: int, executions: Mapping[str, metadata_store_pb2.Execution], made: _Artifacts
) -> Run:
    events = made.properties("Examples", "rejects")
    sequences = made.properties("Examples", "new_events")
    decision = made.properties("WarmspanDecision", "action")
    next_span = made.properties("WarmspanNextSpanEvaluation", "events")
    pushed = made.properties("PushedModel", "verdict")
    model = made.properties("Model", "version")
    last = executions.get(_LAST_NODE)
    done = decision.get("action") == "skip" or (last is not None and last.last_known_state in _DONE)
    failed = any(execution.last_known_state == metadata_store_pb2.Execution.FAILED for execution in executions.values())

    def metrics(prefix: str) -> dict[str, float]:
        return {key.removeprefix(prefix): value for key, value in pushed.items() if key.startswith(prefix)}

    return Run(
        span=span,
        name=name,
        revision=revision,
        state="done" if done else "failed" if failed else "unfinished",
        delivery=events.get("version"),
        fingerprint=events.get("input_fingerprint", ""),
        events=events.get("events"),
        rejects=events.get("rejects"),
        duplicates=events.get("duplicates"),
        new_items=sequences.get("new_items"),
        new_keys=sequences.get("new_keys"),
        action=decision.get("action", ""),
        reason=decision.get("reason", ""),
        next_span={key: value for key, value in next_span.items() if isinstance(value, float) and key != "events"},
        candidate=metrics("candidate_"),
        champion=metrics("baseline_"),
        verdict=pushed.get("verdict", ""),
        pushed=int(pushed["pushed_version"]) if pushed.get("pushed_version") else None,
        item_rows=sequences.get("item_rows"),
        key_rows=sequences.get("key_rows"),
        seconds={
            node: (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000
            for node, execution in executions.items()
        },
        overruled=decision.get("overruled", ""),
        drift=decision.get("drift", ""),
        trained_on=tuple(json.loads(decision.get("train_on", "[]"))),
        base_version=model.get("parent") or None,
        revoked=bool(model.get(REVOKED)),
        revoked_reason=model.get(REASON, ""),
        base_revoked=bool(made.base.get(REVOKED)),
    )
