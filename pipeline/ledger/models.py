"""Every model that was trained, and which came from which: read from ML Metadata, where a model is also revoked.

A model descends from another when its training took the other's weights (`base_model`) or was mixed with exemplars from
the other's replay memory (`base_memory`). A full retrain takes no weights: it descends from nothing unless there is a
replay memory. The property `revoked` of a model artifact is what the pipeline's resolver `Champion` goes by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config
from pipeline.metadata_store.connection import open_store

# The property of a model whose weights learned from somebody who was forgotten since.
LEARNED = "learned_forgotten"

REVOKED, REASON, TIME = "revoked", "revoked_reason", "revoked_at"
_TRAINER = "IncrementalTrainer"
_GONE = (metadata_store_pb2.Artifact.MARKED_FOR_DELETION, metadata_store_pb2.Artifact.DELETED)


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


@dataclasses.dataclass(frozen=True)
class ModelLineage:
    """The models of one pipeline, oldest first, and the spans whose training sequences are at hand."""

    models: tuple[Model, ...]
    spans: tuple[int, ...]

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
            more = {model.id for model in self.models if model.bases & related} - related
            related |= more
            grown = bool(more)
        return [model for model in self.models if model.id in related]

    @property
    def revoked_versions(self) -> frozenset[int]:
        return frozenset(model.version for model in self.models if model.revoked)


def model_lineage_in(store: metadata_store.MetadataStore, pipeline: str) -> ModelLineage:
    """The models of `pipeline`; others may share the store."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    if context is None:
        return ModelLineage((), ())
    kinds = {artifact_type.id: artifact_type.name for artifact_type in store.get_artifact_types()}
    by_kind: dict[str, list[metadata_store_pb2.Artifact]] = {}
    for artifact in sorted(store.get_artifacts_by_context(context.id), key=lambda artifact: artifact.id):
        by_kind.setdefault(kinds[artifact.type_id], []).append(artifact)
    blessed = {
        _number(blessing, "current_model_id"): _number(blessing, "blessed") == 1
        for blessing in by_kind.get("ModelBlessing", [])
    }
    pushed = {
        _text(push, "pushed_version"): _about(push)
        for push in by_kind.get("PushedModel", [])
        if _number(push, "pushed")
    }
    # What the gate has blessed may still have been refused when it was asked before the push.
    fit = {_number(push, "version"): _number(push, "pushed") == 1 for push in by_kind.get("PushedModel", [])}
    # An attempt at training that was cut off has left an artifact that nothing is known of.
    trained = [model for model in by_kind.get("Model", []) if "version" in model.custom_properties]
    bases = _bases(store, context.id, trained, by_kind.get("WarmspanReplayMemory", []))
    models = [
        Model(
            id=model.id,
            version=_number(model, "version"),
            span=_number(model, "span"),
            uri=model.uri,
            blessed=blessed.get(model.id, False) and fit.get(_number(model, "version"), True),
            pushed=pushed.get(str(_number(model, "version"))),
            revoked=_number(model, REVOKED) == 1,
            reason=_text(model, REASON),
            bases=bases.get(model.id, frozenset()),
            kept=model.state not in _GONE,
        )
        for model in trained
    ]
    made = [examples for examples in by_kind.get("Examples", []) if examples.state not in _GONE]
    spans = {_number(examples, "span") for examples in made if "new_events" in examples.custom_properties}
    return ModelLineage(tuple(models), tuple(sorted(spans)))


def revoke(store: metadata_store.MetadataStore, reasons: Mapping[int, str], when: str) -> None:
    """Marks models as revoked, all of them or, if this is cut off, none.

    Args:
      store: ML Metadata.
      reasons: model id to the reason.
      when: the time, in ISO 8601.
    """
    artifacts = store.get_artifacts_by_id(list(reasons))
    for artifact in artifacts:
        artifact.custom_properties[REVOKED].int_value = 1
        artifact.custom_properties[REASON].string_value = reasons[artifact.id]
        artifact.custom_properties[TIME].string_value = when
    # One call is one transaction.
    store.put_artifacts(artifacts)


def _bases(
    store: metadata_store.MetadataStore,
    context: int,
    trained: Collection[metadata_store_pb2.Artifact],
    memories: Collection[metadata_store_pb2.Artifact],
) -> dict[int, frozenset[int]]:
    """Model id to the ids of the models that it was trained from."""
    types = {
        execution_type.id
        for execution_type in store.get_execution_types()
        if execution_type.name.rsplit(".", 1)[-1] == _TRAINER
    }
    trainings = [execution.id for execution in store.get_executions_by_context(context) if execution.type_id in types]
    taken: dict[int, list[tuple[str, int]]] = {}
    made: dict[int, list[int]] = {}
    for event in store.get_events_by_execution_ids(trainings) if trainings else []:
        if event.type == metadata_store_pb2.Event.INPUT:
            taken.setdefault(event.execution_id, []).extend((step.key, event.artifact_id) for step in event.path.steps)
        elif event.type == metadata_store_pb2.Event.OUTPUT:
            made.setdefault(event.execution_id, []).append(event.artifact_id)
    models = {model.id: model for model in trained}
    exemplars = {memory.id: _number(memory, "sequences") for memory in memories}
    made_with = {
        memory: model
        for outputs in made.values()
        for memory in outputs
        for model in outputs
        if memory in exemplars and model in models
    }
    bases: dict[int, frozenset[int]] = {}
    for execution, outputs in made.items():
        inputs = taken.get(execution, [])
        for model in set(outputs) & set(models):
            parent = _number(models[model], "parent")
            parents = {
                model
                for key, model in inputs
                # A full retrain is handed the champion too, and takes nothing from it.
                if key == "base_model" and model in models and _number(models[model], "version") == parent
            }
            remembered = [memory for key, memory in inputs if key == "base_memory" and exemplars.get(memory)]
            parents |= {made_with[memory] for memory in remembered if memory in made_with}
            bases[model] = frozenset(parents)
    return bases


def _about(pushed: metadata_store_pb2.Artifact) -> dict[str, Any]:
    metrics = {
        name.removeprefix("candidate_"): value.double_value
        for name, value in pushed.custom_properties.items()
        if name.startswith("candidate_")
    }
    return {"verdict": _text(pushed, "verdict"), "metrics": metrics}


def _number(artifact: metadata_store_pb2.Artifact, name: str) -> int:
    return artifact.custom_properties[name].int_value if name in artifact.custom_properties else 0


def _text(artifact: metadata_store_pb2.Artifact, name: str) -> str:
    return artifact.custom_properties[name].string_value if name in artifact.custom_properties else ""


def read_model_lineage(config: Config) -> ModelLineage:
    """The models of this pipeline; none before the first run."""
    store = open_store(config)
    return ModelLineage((), ()) if store is None else model_lineage_in(store, config.name)
