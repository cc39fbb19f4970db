"""Which span was ingested, trained on, blessed, pushed: read from ML Metadata, no second store."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from components.surroundings import SURROUNDINGS, Surroundings
from pipeline.config import Config
from pipeline.ledger.balance import Balance
from pipeline.ledger.catalogue_balance import CatalogueBalance
from pipeline.ledger.encoding_balance import EncodingBalance
from pipeline.ledger.models import REASON, REVOKED
from pipeline.ledger.reader import Artifact, LedgerReader, newest_of
from pipeline.ledger.teacher import TEACHER_TYPE, TeacherOfRun
from pipeline.ledger.tuning import TUNED_ENCODER, TuningOfRun
from pipeline.metadata_store.connection import open_store
from pipeline.spans import Naming

# Of a profile (`components/artifacts.py`, which waits for TFX): what it is called, and its properties.
SPAN_PROFILE, HELD, RELEASED = "WarmspanSpanProfile", "held", "released"

State = Literal["done", "held", "failed", "unfinished"]

_LAST_NODE, _GUARD = "SpanPusher", "SpanGuard"


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of one span.

    Attributes:
      span, name, revision: which.
      state: `done` when a verdict was reached or the span was skipped; `held` when it does not look like those before
        it, and nothing was trained on it.
      delivery: version of the input that counted, None where the data has none.
      fingerprint: TFX's fingerprint of the input files; empty before they were read.
      events, rejects, duplicates, new_items, new_keys: counts of the span; None before they are known.
      balance: what became of each row that was read; None before it is known.
      action, reason: the decision; empty before it was taken.
      next_span: the champion's metrics before training; empty without a champion.
      surroundings: what those are to be seen beside; of a span from before it was measured all is empty.
      candidate, champion: the gate's metrics; empty where it did not run.
      verdict: the gate's sentence.
      pushed: version in TF Serving's folder, None if not pushed.
      item_rows, key_rows: sizes of the tables.
      retired_items, retired_keys: ids that lost their rows on the span.
      seconds: by node.
      overruled: the action that the policy had decided on where the user wanted another; else empty.
      drift: what drifted beyond a limit of the policy, in a sentence; else empty.
      trained_on: spans that the decision was to train on, oldest first.
      base_version: version of the model that the training started from; None from fresh weights, or without training.
      revoked, revoked_reason: whether its model was taken back, and why.
      doubts: why the guard holds it, or would have held it, had it not been let in; else empty.
      learning: how the training differs from the settings since a refusal: "learns at half the rate: …"; else empty.
      released: whether a person has let it in since it was held: it is to be run.
      base_revoked: whether the champion that it began with was taken back since.
      catalogue: what became of the catalogue; None without one.
      encodings: what became of each of its texts that has an encoder.
      tunings: what came of the tuning of each of them whose encoder is tuned.
      teacher: who taught the candidate, and what it scores; None where nobody did.
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
    retired_items: int = 0
    retired_keys: int = 0
    overruled: str = ""
    drift: str = ""
    trained_on: tuple[int, ...] = ()
    base_version: int | None = None
    revoked: bool = False
    revoked_reason: str = ""
    base_revoked: bool = False
    balance: Balance | None = None
    surroundings: Surroundings = Surroundings()  # noqa: RUF009
    doubts: str = ""
    released: bool = False
    learning: str = ""
    catalogue: CatalogueBalance | None = None
    encodings: tuple[EncodingBalance, ...] = ()
    teacher: TeacherOfRun | None = None
    tunings: tuple[TuningOfRun, ...] = ()

    @property
    def void(self) -> bool:
        """Whether it was cut off and must not be taken up: it would go on with a model that was taken back."""
        return self.state in ("failed", "unfinished") and (self.revoked or self.base_revoked)


def held_sentence(run: Run) -> str:
    """Why a run is held, and what lets it in."""
    if run.released:
        return f"It was held ({run.doubts}), and is released: the next run takes it up."
    return f"It is held: {run.doubts}. To let it in: `warmspan release {run.name}`."


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
    reader = LedgerReader(store, config.name)
    return [_read(reader, *context) for context in run_contexts(config, reader)]


def run_contexts(config: Config, reader: LedgerReader) -> Iterator[tuple[int, int, str, int]]:
    """Of every run the id of its context in ML Metadata, the span's number and name, and the revision."""
    naming = Naming(config.data.dated)
    expression = re.compile(re.escape(config.name) + r"\.(.+)\.r(\d\d)")
    for name, context in reader.runs().items():
        if match := expression.fullmatch(name):
            yield context, naming.parse(match[1]), match[1], int(match[2])


def first_span(config: Config) -> int | None:
    """The first span that was ever run; None if none was. Reads names alone."""
    store = open_store(config)
    if store is None:
        return None
    return min((span for _, span, _, _ in run_contexts(config, LedgerReader(store, config.name))), default=None)


def read_run(config: Config, span: int, revision: int | None = None) -> Run | None:
    """One run of a span, by default the latest, without reading those of other spans; None if there is none."""
    store = open_store(config)
    if store is None:
        return None
    reader, name = LedgerReader(store, config.name), Naming(config.data.dated).format(span)
    newest = None
    # Revisions have no holes: a span is only run again when its latest revision is done or void.
    for number in itertools.count(1) if revision is None else (revision,):
        context = reader.run(run_id(config.name, name, number))
        if context is None:
            break
        newest = context, span, name, number
    return None if newest is None else _read(reader, *newest)


def read_order(config: Config) -> dict[int, tuple[int, int]]:
    """For each span the ids of the first and the last execution of its latest run: what ran before what."""
    store = open_store(config)
    if store is None:
        return {}
    reader = LedgerReader(store, config.name)
    latest: dict[int, tuple[int, int]] = {}
    for context, span, _, revision in run_contexts(config, reader):
        latest[span] = max(latest.get(span, (0, 0)), (revision, context))
    executions = {span: reader.executions(context) for span, (_, context) in sorted(latest.items())}
    return {span: (ran[0].id, ran[-1].id) for span, ran in executions.items() if ran}


def _read(reader: LedgerReader, context: int, span: int, name: str, revision: int) -> Run:
    # Of a node that was tried again the last attempt counts.
    executions = {execution.node: execution for execution in reader.executions(context)}
    artifacts = reader.artifacts(context)
    # Inputs from earlier spans belong to the run's context too.
    base = [artifact.properties for artifact in artifacts if artifact.type == "Model" and artifact.span != span]

    def made(kind: str, having: str) -> Mapping[str, Any]:
        artifact = newest_of(artifacts, kind, span, having)
        return {} if artifact is None else artifact.properties

    events = made("Examples", "rejects")
    sequences = made("Examples", "new_events")
    decision = made("WarmspanDecision", "action")
    next_span = made("WarmspanNextSpanEvaluation", "events")
    pushed = made("PushedModel", "verdict")
    model = made("Model", "version")
    profile = made(SPAN_PROFILE, HELD)
    last, guard = executions.get(_LAST_NODE), executions.get(_GUARD)
    # A released profile is looked at by the next run, whose guard has yet to write its own.
    held = guard is not None and guard.done and profile.get(HELD) == 1
    done = decision.get("action") == "skip" or (last is not None and last.done)
    failed = any(execution.failed for execution in executions.values())

    def metrics(prefix: str) -> dict[str, float]:
        return {key.removeprefix(prefix): value for key, value in pushed.items() if key.startswith(prefix)}

    return Run(
        span=span,
        name=name,
        revision=revision,
        state="done" if done else "held" if held else "failed" if failed else "unfinished",
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
        retired_items=sequences.get("retired_items", 0),
        retired_keys=sequences.get("retired_keys", 0),
        seconds={node: execution.seconds for node, execution in executions.items()},
        overruled=decision.get("overruled", ""),
        drift=decision.get("drift", ""),
        trained_on=tuple(json.loads(decision.get("train_on", "[]"))),
        base_version=model.get("parent") or None,
        revoked=bool(model.get(REVOKED)),
        revoked_reason=model.get(REASON, ""),
        base_revoked=bool(base and base[-1].get(REVOKED)),
        balance=Balance.of(events, sequences),
        surroundings=Surroundings.from_json(next_span.get(SURROUNDINGS, "")),
        doubts=profile.get("reason", ""),
        learning=decision.get("learning", ""),
        released=held and profile.get(RELEASED) == 1,
        catalogue=CatalogueBalance.of(made("WarmspanCatalogue", "items")),
        encodings=EncodingBalance.of_all(_made_today(artifacts, "WarmspanItemEncodings", span)),
        tunings=TuningOfRun.of_all(_made_today(artifacts, TUNED_ENCODER, span)),
        teacher=TeacherOfRun.of(made(TEACHER_TYPE, "ancestry")),
    )


def _made_today(artifacts: Iterable[Artifact], kind: str, span: int) -> Iterator[Mapping[str, Any]]:
    """The properties of a span's artifacts of a type, oldest first."""
    for of in sorted(artifacts, key=lambda artifact: artifact.id):
        if of.type == kind and of.span == span:
            yield of.properties
