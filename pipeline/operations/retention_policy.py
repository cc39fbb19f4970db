"""Which artifacts a recommender still needs, and for what.

Everything since the oldest version that can be gone back to is kept whole, so that any day since can be run again. Of
the days before it stay what the next days look back at, and, of the last `gc.keep_spans`, the papers: decisions,
verdicts, statistics. Of models stay those that are served, labelled, or would be the champion after a rollback.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from components.span_pusher.version_folder import versions
from components.span_pusher.version_labels import read_labels
from pipeline.config import Config
from pipeline.ledger.artifacts import MEMORY, MODEL, STATES, TEACHER, ArtifactRecord, PipelineArtifacts
from pipeline.ledger.models import REVOKED, Model, ModelLineage
from pipeline.ledger.runs import HELD, Run
from pipeline.parameters.look_back import PAST_SPANS, most_spans, windows
from serving.tfs_config.model_config import ModelConfigError

PROFILES = "SpanGuard/profile"
PAPERS = (
    "StatisticsGen/statistics",
    "ExampleValidator/anomalies",
    PROFILES,
    "NextSpanEvaluator/evaluation",
    "UpdateDecider/decision",
    "PairedComparison/comparison",
    "Evaluator/blessing",
    "Evaluator/evaluation",
    "SpanPusher/pushed",
)
_WINDOWS = {
    "evaluations": "NextSpanEvaluator/evaluation",
    "past_statistics": "StatisticsGen/statistics",
    "older_held_out": "SpanTransform/held_out",
    "verdicts": "SpanPusher/pushed",
    "decisions": "UpdateDecider/decision",
}

Reasons = dict[int, str]


class NeedError(ValueError):
    """What is needed can't be told; the message says why."""


def needed_models(config: Config, lineage: ModelLineage) -> dict[int, str]:
    """Model id to why it is needed.

    Raises:
      NeedError: the labels can't be read.
    """
    try:
        labels = read_labels(config.models_config_path, config.name)
    except ModelConfigError as error:
        raise NeedError(str(error)) from None
    reasons: dict[int, str] = {}

    def keep(model: Model | None, why: str) -> None:
        if model is not None:
            reasons.setdefault(model.id, why)

    present = versions(config.serving_path)
    for name, version in sorted(labels.items()):
        for model in lineage.of_version(version)[-1:]:
            keep(model, name)
    for version in reversed(present):
        for model in lineage.of_version(version)[-1:]:
            keep(model, "served" if version == present[-1] else "in the served folder")
    keep(lineage.champion(), "champion")
    if config.gate.budget is not None and (champion := lineage.champion()) is not None:
        for model in lineage.of_version(champion.anchor)[-1:]:
            keep(model, "anchor")
    keep(lineage.served(), "served after a restore")
    # Whichever of these turns out to be bad: what is then served, and what the next day then starts from.
    for version in present:
        gone = {model.id for model in lineage.with_descendants(lineage.of_version(version))}
        keep(lineage.served(gone), f"served after `rollback --bad {version}`")
        keep(lineage.champion(gone), f"champion after `rollback --bad {version}`")
    return reasons


def needed(
    config: Config, records: PipelineArtifacts, lineage: ModelLineage, runs: Sequence[Run], models: Mapping[int, str]
) -> Reasons:
    """Artifact id to why it is needed; what is not named may go.

    Args:
      config: settings.
      pieces: all artifacts.
      family: all models.
      runs: every run of every span.
      models: what `needed_models` has returned.
    """
    reasons: Reasons = {}

    def keep(artifacts: Iterable[ArtifactRecord], why: str) -> None:
        for record in artifacts:
            reasons.setdefault(record.id, why)

    latest = {run.span: run for run in sorted(runs, key=lambda run: run.revision)}
    for run in latest.values():
        if run.state != "done":
            ids = records.runs.get((run.span, run.revision), frozenset())
            keep((record for record in records.all if record.id in ids), "its run is not done")
    for record in records.of(MODEL):
        if record.id in models:
            reasons.setdefault(record.id, models[record.id])
    kept = [model for model in lineage.models if model.id in models]
    horizon = _horizon(records, kept)
    since = "since the oldest version one can go back to"
    for kind in {record.kind for record in records.all} - {MODEL, MEMORY, *PAPERS}:
        keep((record for record in newest(records.of(kind)) if record.span >= horizon), since)
    # What the days after the horizon look back at.
    keep(_last(records.of("SpanTransform/sequences"), horizon, most_spans(config)), "owed or retrained on")
    for name, (count, passed_over) in windows(config.policy).items():
        keep(_last(records.of(_WINDOWS[name]), horizon, count + passed_over), f"policy: {name.replace('_', ' ')}")
    let_in = [record for record in records.of(PROFILES) if not record.properties.get(HELD)]
    keep(_last(let_in, horizon, config.guard.spans), "usual days of the guard")
    standing = [record for record in records.of("SpanPusher/pushed") if not record.properties.get(REVOKED)]
    keep(_last(standing, horizon, 1), "says how the next update learns")
    keep(_last(records.of("SpanTransform/held_out"), horizon, PAST_SPANS + 1), "tested again for retention")
    for kind in ("PairedComparison/comparison", "SpanPusher/pushed"):
        keep(_last(records.of(kind), horizon, PAST_SPANS), "pooled against the anchor")
    for kind in PAPERS:
        shown = newest(records.of(kind))[-config.gc.keep_spans :]
        keep(
            (record for record in records.of(kind) if shown and record.span >= shown[0].span),
            "papers of the last spans",
        )
    keep(newest(records.of("ImportSchemaGen/schema"))[-1:], "schema")
    # A day that is skipped or held encodes nothing; the day after it goes on from an older one.
    for kind in {record.kind for record in records.all if record.node.startswith("ItemEncoder.")}:
        keep(_last(records.of(kind), horizon, 1), "texts that need not be encoded again")
    refreshed = [record for record in records.of(TEACHER) if record.properties.get("refreshed")]
    keep(_last(refreshed, horizon, 1), "teacher of the next updates")
    _shadow(records, reasons)
    _belonging(records, {record.id for record in records.of(MODEL) if record.id in reasons}, keep)
    return reasons


def newest(records: Iterable[ArtifactRecord]) -> list[ArtifactRecord]:
    """The newest of every span, oldest span first; the rule of `components.resolvers.newest_by_span`."""
    by_span: dict[int, ArtifactRecord] = {}
    for record in sorted(records, key=lambda record: record.id):
        by_span[record.span] = record
    return [by_span[span] for span in sorted(by_span)]


def _horizon(records: PipelineArtifacts, kept: Collection[Model]) -> int:
    """The oldest span whose state must be there: any day after it may have to be run again.

    Also the last but one: a new delivery of the last day replaces it.
    """
    states = [record.span for record in newest(records.of(STATES[0]))]
    return min([*states[-2:], *(record.span for record in kept)], default=0)


def _last(records: Iterable[ArtifactRecord], horizon: int, count: int) -> list[ArtifactRecord]:
    """Those after the horizon, and the last `count` up to it."""
    every = newest(records)
    before = [record for record in every if record.span <= horizon]
    return [*before[max(0, len(before) - count) :], *(record for record in every if record.span > horizon)]


def _shadow(records: PipelineArtifacts, reasons: Reasons) -> None:
    """Of one span the newest artifact counts: where an older one is kept, what hides it must not vanish."""
    for kind in {record.kind for record in records.all}:
        oldest: dict[int, int] = {}
        for record in records.of(kind):
            if record.id in reasons:
                oldest.setdefault(record.span, record.id)
            elif record.span in oldest:
                reasons[record.id] = "newer than one of its span that is kept"


def _belonging(
    records: PipelineArtifacts, models: Collection[int], keep: Callable[[Iterable[ArtifactRecord], str], None]
) -> None:
    """What belongs to a model that is kept: its memory, its verdicts, and the vocabulary that its rows mean."""
    of_model = {record.id: record for record in records.of(MODEL) if record.id in models}
    kept = {record.version for record in of_model.values()}
    keep((record for record in records.of(MEMORY) if record.version in kept), "memory of a model that is kept")
    for kind in {record.kind for record in records.all if record.node.startswith("EncoderTuner.")}:
        keep((record for record in records.of(kind) if record.version in kept), "tuned with a model that is kept")
    verdict = "verdict on a model that is kept"
    keep((record for record in records.of("Evaluator/blessing") if _judged(record) in of_model), verdict)
    for of in ("SpanPusher/pushed", "PairedComparison/comparison"):
        keep((record for record in records.of(of) if record.version in kept), verdict)
    taken = {artifact_id for model in of_model for artifact_id in records.taken.get(model, ())}
    keep((record for record in records.of(STATES[0]) if record.id in taken), "vocabulary of a model that is kept")


def _judged(blessing: ArtifactRecord) -> int:
    return int(blessing.properties.get("current_model_id", 0))
