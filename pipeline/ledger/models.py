"""Every model that was trained, and which came from which: read from ML Metadata, where a model is also revoked.

A model descends from another when its training took the other's weights (`base_model`), was mixed with exemplars from
the other's replay memory (`base_memory`), or was taught by a model of another shape that learned in the other's run. A
full retrain takes no weights: it descends from nothing unless there is a replay memory. The property `revoked` of a
model artifact is what the pipeline's resolver `Champion` goes by.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ml_metadata.metadata_store import metadata_store

from components.incremental_trainer.artifact_files import TAUGHT_BY
from components.update_decider.backoff import PastVerdict
from pipeline.config import Config
from pipeline.ledger.reader import Artifact, LedgerReader
from pipeline.metadata_store.connection import open_store

# The property of a model whose weights learned from somebody who was forgotten since.
LEARNED = "learned_forgotten"

REVOKED, REASON, TIME = "revoked", "revoked_reason", "revoked_at"


@dataclasses.dataclass(frozen=True)
class Model:
    """One trained model.

    Attributes:
      id: of its artifact.
      version, span: what it is pushed as, and the last span that it learned.
      uri: its artifact's folder.
      blessed: whether the last verdict on it, the gate's and that before the push, was to push it.
      pushed: what a push of it has added to its manifest; None if it was never pushed.
      revoked, reason: whether it was taken back, and why.
      bases: ids of the models that its training took something from.
      kept: whether its files are there: `warmspan gc` removes those that nothing needs.
      anchor: version of the anchor of the candidate after it; 0 for one from before there were anchors.
      taught_by: versions of the runs in which its teacher learned, oldest first; empty without one.
    """

    id: int
    version: int
    span: int
    uri: str
    blessed: bool
    pushed: Mapping[str, Any] | None
    revoked: bool
    reason: str
    bases: frozenset[int]
    kept: bool = True
    anchor: int = 0
    taught_by: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class ModelLineage:
    """The models of one pipeline, oldest first, and the spans whose training sequences are at hand.

    `last_verdict`: that by which the learning of the next span is changed; None before there is any.
    """

    models: tuple[Model, ...]
    spans: tuple[int, ...]
    last_verdict: PastVerdict | None = None

    def champion(self, without: Collection[int] = ()) -> Model | None:
        """The model that the next span starts from; by the rule of `components.resolvers.Champion`.

        Args:
          without: ids of models that are taken for revoked too.
        """
        clean = [model for model in self.models if not model.revoked and model.kept and model.id not in without]
        newest = {model.span: model for model in sorted(clean, key=lambda model: model.id)}
        return max((model for model in newest.values() if model.blessed), key=lambda model: model.span, default=None)

    def served(self, without: Collection[int] = ()) -> Model | None:
        """The newest clean model that was pushed: what the folder's highest version must be."""
        clean = [model for model in self.models if model.pushed is not None and not model.revoked and model.kept]
        clean = [model for model in clean if model.id not in without]
        return max(clean, key=lambda model: (model.version, model.id), default=None)

    def owed(self, champion: Model) -> tuple[int, ...]:
        """Spans that were run and that `champion` has not learned, oldest first."""
        return tuple(span for span in self.spans if span > champion.span)

    def of_version(self, version: int) -> list[Model]:
        return [model for model in self.models if model.version == version]

    def with_descendants(self, roots: Iterable[Model]) -> list[Model]:
        """`roots` and every model that descends from one of them, oldest first."""
        related = {root.id for root in roots}
        grown = True
        while grown:
            # A teacher has learned what the model of its run has, whatever that model was worth.
            runs = {model.version for model in self.models if model.id in related}
            more = {model.id for model in self.models if model.bases & related or runs & set(model.taught_by)} - related
            related |= more
            grown = bool(more)
        return [model for model in self.models if model.id in related]

    @property
    def revoked_versions(self) -> frozenset[int]:
        return frozenset(model.version for model in self.models if model.revoked)


def model_lineage_in(store: metadata_store.MetadataStore, pipeline: str) -> ModelLineage:
    """The models of `pipeline`; others may share the store."""
    reader = LedgerReader(store, pipeline)
    by_type: dict[str, list[Artifact]] = collections.defaultdict(list)
    for artifact in reader.artifacts(reader.whole()):
        by_type[artifact.type].append(artifact)
    blessed = {
        blessing.properties.get("current_model_id"): blessing.properties.get("blessed") == 1
        for blessing in by_type["ModelBlessing"]
    }
    verdicts = [push.properties for push in by_type["PushedModel"]]
    pushed = {verdict.get("pushed_version"): _about(verdict) for verdict in verdicts if verdict.get("pushed")}
    # What the gate has blessed may still have been refused when it was asked before the push.
    fit = {verdict.get("version"): verdict.get("pushed") == 1 for verdict in verdicts}
    # An attempt at training that was cut off has left an artifact that nothing is known of.
    trained = {model.id: model for model in by_type["Model"] if "version" in model.properties}
    compared = [comparison.properties for comparison in by_type["WarmspanPairedDifferences"]]
    anchors = {comparison["version"]: comparison["next_anchor"] for comparison in compared if "version" in comparison}
    bases = _bases(reader, trained, by_type["WarmspanReplayMemory"])
    models = [
        Model(
            id=model.id,
            version=model.properties["version"],
            span=model.properties["span"],
            uri=model.uri,
            blessed=blessed.get(model.id, False) and fit.get(model.properties["version"], True),
            pushed=pushed.get(str(model.properties["version"])),
            revoked=model.properties.get(REVOKED) == 1,
            reason=model.properties.get(REASON, ""),
            bases=bases.get(model.id, frozenset()),
            kept=not model.gone,
            anchor=anchors.get(model.properties["version"], 0),
            taught_by=tuple(json.loads(model.properties.get(TAUGHT_BY, "[]"))),
        )
        for model in trained.values()
    ]
    made = [examples.properties for examples in by_type["Examples"] if not examples.gone]
    spans = {examples["span"] for examples in made if "new_events" in examples}
    return ModelLineage(tuple(models), tuple(sorted(spans)), _last_verdict(by_type["PushedModel"]))


def _last_verdict(pushes: Iterable[Artifact]) -> PastVerdict | None:
    """By the rule of `components.resolvers.Champion`, whose `past_verdicts` the decision is given."""
    standing = [push.properties for push in pushes if push.live and not push.properties.get(REVOKED)]
    clean = [verdict for verdict in standing if "span" in verdict]
    # Of a span the newest counts, which comes last.
    return PastVerdict.of(max(reversed(clean), key=lambda verdict: verdict["span"])) if clean else None


def revoke(store: metadata_store.MetadataStore, reasons: Mapping[int, str], when: str) -> None:
    """Marks models as revoked, and the verdicts on them, all or, if this is cut off, none.

    Args:
      store: ML Metadata.
      reasons: model id to the reason.
      when: the time, in ISO 8601.
    """
    artifacts = store.get_artifacts_by_id(list(reasons))
    for artifact in artifacts:
        artifact.custom_properties[REASON].string_value = reasons[artifact.id]
        artifact.custom_properties[TIME].string_value = when
    # A verdict is asked also when `warmspan gc` has removed its model.
    verdicts = store.get_artifacts_by_id(_verdicts(LedgerReader(store, ""), reasons))
    artifacts += [artifact for artifact in verdicts if artifact.type == "PushedModel"]
    for artifact in artifacts:
        artifact.custom_properties[REVOKED].int_value = 1
    # One call is one transaction.
    store.put_artifacts(artifacts)


def _verdicts(reader: LedgerReader, models: Collection[int]) -> list[int]:
    """Ids of what was made out of `models`, by their ids: verdicts among it."""
    took = {event.execution for event in reader.events_of_artifacts(list(models)) if not event.made}
    return [event.artifact for event in reader.events_of_executions(sorted(took)) if event.made]


def _bases(reader: LedgerReader, models: Mapping[int, Artifact], memories: list[Artifact]) -> dict[int, frozenset[int]]:
    """Model id to the ids of the models that it was trained from."""
    trainings = {event.execution for event in reader.events_of_artifacts(models) if event.made}
    events = reader.events_of_executions(sorted(trainings))
    made = {event.execution: event.artifact for event in events if event.made and event.artifact in models}
    made_with = {event.artifact: made[event.execution] for event in events if event.made}
    # A memory without exemplars hands nothing on.
    full = {memory.id for memory in memories if memory.properties.get("sequences")} & made_with.keys()
    bases: dict[int, set[int]] = {model: set() for model in made.values()}
    for event in events:
        if event.key == "base_model" and event.artifact in models:
            # A full retrain is handed the champion too, and takes nothing from it.
            if models[event.artifact].properties["version"] == models[made[event.execution]].properties.get("parent"):
                bases[made[event.execution]].add(event.artifact)
        elif event.key == "base_memory" and event.artifact in full:
            bases[made[event.execution]].add(made_with[event.artifact])
    return {model: frozenset(parents) for model, parents in bases.items()}


def _about(verdict: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "candidate_"
    metrics = {name.removeprefix(prefix): value for name, value in verdict.items() if name.startswith(prefix)}
    return {"verdict": verdict.get("verdict", ""), "metrics": metrics}


def read_model_lineage(config: Config) -> ModelLineage:
    """The models of this pipeline; none before the first run."""
    store = open_store(config)
    return ModelLineage((), ()) if store is None else model_lineage_in(store, config.name)
