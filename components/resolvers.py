"""Resolver strategies that read the lineage: yesterday's state, the champion, and the spans that it owes.

Each looks only at spans before the one that is run, so that running an old span again sees what it saw the first
time. Of several artifacts for one span the newest counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver
from tfx.types import artifact

from components.artifacts import HELD, RELEASED, KeyHistory

# The property of what `warmspan forget --span` has removed: the days before it are to be continued without it.
FORGOTTEN = "forgotten"
_GONE = (metadata_store_pb2.Artifact.MARKED_FOR_DELETION, metadata_store_pb2.Artifact.DELETED)
# The property of a model that says at which span it, or the model that it descends from, was trained from nothing.
RETRAINED = "retrained"
# Properties of a teacher: whether its artifact holds one (1), and the versions of the runs that it learned in, as JSON.
REFRESHED, ANCESTRY = "refreshed", "ancestry"

Artifacts = dict[str, list[artifact.Artifact]]


class StateRemovedError(RuntimeError):
    """The state that a span continues was removed; the message says what to do."""


class PreviousState(resolver.ResolverStrategy):
    """For every input channel the newest artifact of the last span before `span`; empty on the first day.

    Raises:
      StateRemovedError: that one's files were removed. Without this the span would begin from nothing, or from an older
        day.
    """

    def __init__(self, span: int, pipeline: str = "") -> None:
        self._span, self._pipeline = span, pipeline

    def resolve_artifacts(self, store: Any, input_dict: Artifacts) -> Artifacts:
        newest = {name: newest_by_span(candidates, below=self._span)[-1:] for name, candidates in input_dict.items()}
        if self._pipeline:
            refuse_removed_state(store, self._pipeline, self._span)
        return newest


def refuse_removed_state(store: Any, pipeline: str, span: int) -> None:
    """Stops before `span` goes on from an older state than that of the span before it, or from none.

    Raises:
      StateRemovedError: the state was removed; that of a span that was itself forgotten is passed over.
    """
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    kinds = {
        artifact_type.id for artifact_type in store.get_artifact_types() if artifact_type.name == KeyHistory.TYPE_NAME
    }
    states = [] if context is None else store.get_artifacts_by_context(context.id)
    states = [state for state in states if state.type_id in kinds and FORGOTTEN not in state.custom_properties]
    spans = [(state.custom_properties["span"].int_value, state.state) for state in states]
    there = max((of for of, state in spans if of < span and state not in _GONE), default=-1)
    removed = max((of for of, state in spans if there < of < span and state in _GONE), default=None)
    if removed is not None:
        raise StateRemovedError(
            f"A span must continue the state of the span before it. Received: span {span}, and the state of {removed} "
            "was removed. By `warmspan gc`: only days since the oldest version that can be gone back to can be run "
            "again; start with a later one. By `warmspan forget --span`: run the days after that one again first, as "
            "`warmspan status` says."
        )


OWED = ("past_held_out", "past_vocabularies", "past_catalogues")


class Champion(resolver.ResolverStrategy):
    """The model in service, and the training sequences that a candidate may need.

    `model` and `model_blessing`: of the model of the latest span before `span`, if any, that was blessed, not refused
      by the pusher after that, and not revoked; of a span that was run several times the last run's model counts.
    `verdicts`: what the pusher made of it.
    `memory`: the replay memory made together with that model, which holds what it has learned and nothing else.
    `sequences`: those of the last `most` spans before `span`, oldest first.
    `past_held_out`, `past_vocabularies`, `past_catalogues`: of the spans since that which the model learned last, which
      a candidate learns amid what was known on their days.
    `past_verdicts`: the last before `span` on a candidate that was not taken back since, by which learning is changed.
    `teacher`: the last one before `span`, where there are teachers, that learned in no run whose model was revoked.
    `tuned_…`: the tuned encoder of a text that was made together with that model, as its memory was.
    `encodings_…`: the vectors of that text of the span of that model.
    Each input that `window` names, instead: how many spans, and how many of the last ones before `span` are passed
    over first.
    """

    def __init__(self, span: int, most: int, window: Mapping[str, Sequence[int]] | None = None) -> None:
        self._span, self._most, self._window = span, most, dict(window or {})

    def resolve_artifacts(self, store: Any, input_dict: Artifacts) -> Artifacts:
        pushed = input_dict.get("verdicts", [])
        blessed = _blessed(input_dict["model_blessing"])
        champion = _in_service(input_dict, self._span)[-1:]
        return {
            "model": champion,
            "model_blessing": [blessed[model.id] for model in champion],
            "verdicts": [verdict for model in champion for verdict in _of_version(model, pushed)[-1:]],
            "memory": [memory for model in champion for memory in _of_version(model, input_dict["memory"])[-1:]],
            "sequences": newest_by_span(input_dict["sequences"], below=self._span)[-self._most :],
            **{name: self._since(champion, input_dict[name]) for name in OWED if name in input_dict},
            "past_verdicts": newest_by_span(
                (past for past in input_dict.get("past_verdicts", []) if not past.get_int_custom_property("revoked")),
                below=self._span,
            )[-1:],
            **({"teacher": _clean_teachers(input_dict, self._span)[-1:]} if "teacher" in input_dict else {}),
            **{
                name: [tuned for model in champion for tuned in _of_version(model, artifacts)[-1:]]
                for name, artifacts in input_dict.items()
                if name.startswith("tuned_")
            },
            **{
                name: [of for of in newest_by_span(artifacts, self._span) if span_of(of) in map(span_of, champion)]
                for name, artifacts in input_dict.items()
                if name.startswith("encodings_")
            },
            **{name: self._in_window(input_dict[name], *window) for name, window in self._window.items()},
        }

    def _since(
        self, champion: Sequence[artifact.Artifact], artifacts: Iterable[artifact.Artifact]
    ) -> list[artifact.Artifact]:
        learned = span_of(champion[0]) if champion else self._span
        return [of for of in newest_by_span(artifacts, below=self._span) if span_of(of) > learned][-self._most :]

    def _in_window(
        self, artifacts: Iterable[artifact.Artifact], count: int, passed_over: int
    ) -> list[artifact.Artifact]:
        before = newest_by_span(artifacts, below=self._span)
        return before[: len(before) - passed_over][-count:] if len(before) > passed_over else []


class PastProfiles(resolver.ResolverStrategy):
    """What a span is judged by.

    `past`: the profiles of the last `most` spans before `span` that were let in, oldest first.
    `released`: the newest profile of `span` itself that was held and that a person has released since, if any.
    Both are given the same channel.
    """

    def __init__(self, span: int, most: int) -> None:
        self._span, self._most = span, most

    def resolve_artifacts(self, store: Any, input_dict: Artifacts) -> Artifacts:
        before = newest_by_span(input_dict["past"], below=self._span)
        own = [profile for profile in input_dict["released"] if span_of(profile) == self._span]
        released = [profile for profile in own if profile.get_int_custom_property(RELEASED)]
        return {
            "past": [profile for profile in before if not profile.get_int_custom_property(HELD)][-self._most :],
            "released": sorted(released, key=lambda profile: profile.id)[-1:],
        }


class Anchor(resolver.ResolverStrategy):
    """What a candidate is compared with besides the champion on its own span (see `PairedComparison`).

    `model`: the anchor that the champion's comparison named; nothing where there is none, or its files are gone.
    `comparisons`: of the models of the last `most` spans before `span` that went into service, and the champion's.
    `older_held_out`: of the last `most` spans before that which the champion learned last. Those it has learned in
      full, as the candidate has; what it held out itself the candidate alone has learned, and would shine on.
    """

    def __init__(self, span: int, most: int) -> None:
        self._span, self._most = span, most

    def resolve_artifacts(self, store: Any, input_dict: Artifacts) -> Artifacts:
        models = _in_service(input_dict, self._span)
        # By the verdicts, not by the models: those of the spans before may be gone, and what was measured then stays.
        versions = {
            verdict.get_int_custom_property("version")
            for verdict in newest_by_span(input_dict["verdicts"], below=self._span)
            if verdict.get_int_custom_property("pushed") and not verdict.get_int_custom_property("revoked")
        }
        comparisons = [
            comparison
            for comparison in newest_by_span(input_dict["comparisons"], below=self._span)
            if comparison.get_int_custom_property("version") in versions
        ]
        champions = [own for model in models[-1:] for own in _of_version(model, comparisons)][-1:]
        recent = [comparison for comparison in comparisons if span_of(comparison) >= self._span - self._most]
        named = {comparison.get_int_custom_property("next_anchor") for comparison in champions}
        learned = span_of(models[-1]) if models else 0
        return {
            **{name: [] for name in input_dict},
            "model": [model for model in models if model.get_int_custom_property("version") in named][-1:],
            "comparisons": recent if champions[-1:] == recent[-1:] else [*champions, *recent],
            "older_held_out": newest_by_span(input_dict["older_held_out"], below=learned)[-self._most :],
        }


def _blessed(blessings: Iterable[artifact.Artifact]) -> dict[int, artifact.Artifact]:
    """Model id to its blessing; of several the newest counts."""
    judged = {
        blessing.get_int_custom_property("current_model_id"): blessing
        for blessing in sorted(blessings, key=lambda blessing: blessing.id)
    }
    return {model: blessing for model, blessing in judged.items() if blessing.get_int_custom_property("blessed") == 1}


def _in_service(input_dict: Artifacts, span: int) -> list[artifact.Artifact]:
    """The models before `span` that were blessed and not refused after that or taken back, oldest first."""
    blessed, pushed = _blessed(input_dict["model_blessing"]), input_dict.get("verdicts", [])
    clean = [model for model in input_dict["model"] if not model.get_int_custom_property("revoked")]
    # A span that was run again and refused has no model left: the earlier one learned what has been replaced.
    return [
        model
        for model in newest_by_span(clean, below=span)
        if model.id in blessed and not _refused(_of_version(model, pushed))
    ]


def _clean_teachers(input_dict: Artifacts, span: int) -> list[artifact.Artifact]:
    """Those before `span` that are refreshed and learned nothing in a run that was taken back, oldest first."""
    # By the verdicts too: the files of a model may be gone, and with them the model from what is looked at.
    made = [*input_dict["model"], *input_dict.get("verdicts", [])]
    revoked = {of.get_int_custom_property("version") for of in made if of.get_int_custom_property("revoked")}
    newest = newest_by_span(input_dict["teacher"], below=span)
    refreshed = [teacher for teacher in newest if teacher.get_int_custom_property(REFRESHED)]
    return [teacher for teacher in refreshed if not revoked & set(ancestry(teacher))]


def ancestry(teacher: artifact.Artifact) -> list[int]:
    """The versions of the runs in which a teacher, or one that it descends from, has learned; oldest first."""
    return json.loads(teacher.get_string_custom_property(ANCESTRY) or "[]")


class RevokedError(RuntimeError):
    """A model that was taken back is about to be used; the message says what to do."""


def refuse_revoked(model: artifact.Artifact, use: str) -> None:
    """Stops before a model that was taken back after this run began is used.

    Raises:
      RevokedError: it was.
    """
    if model.get_int_custom_property("revoked"):
        raise RevokedError(
            f"A model that was revoked must not be {use}. Received: version {model.get_int_custom_property('version')} "
            f"({model.get_string_custom_property('revoked_reason')}). Run the span again: it begins a new revision."
        )


def _refused(pushed: Sequence[artifact.Artifact]) -> bool:
    """Whether the last push of a model came to nothing."""
    return bool(pushed) and not pushed[-1].get_int_custom_property("pushed")


def _of_version(model: artifact.Artifact, artifacts: Iterable[artifact.Artifact]) -> list[artifact.Artifact]:
    """What was made of, or together with, the model, oldest first."""
    version = model.get_int_custom_property("version")
    same = [candidate for candidate in artifacts if candidate.has_custom_property("version")]
    same = [candidate for candidate in same if candidate.get_int_custom_property("version") == version]
    return sorted(same, key=lambda candidate: candidate.id)


def newest_by_span(artifacts: Iterable[artifact.Artifact], below: int) -> list[artifact.Artifact]:
    """The newest artifact of every span before `below`, oldest span first."""
    newest: dict[int, artifact.Artifact] = {}
    for candidate in sorted(artifacts, key=lambda candidate: candidate.id):
        span = span_of(candidate)
        if span < below:
            newest[span] = candidate
    return [newest[span] for span in sorted(newest)]


def span_of(source: artifact.Artifact) -> int:
    """The span of an artifact: a custom property of ours, a property of those that TFX's own parts make."""
    if source.has_custom_property("span"):
        return source.get_int_custom_property("span")
    return source.span if "span" in (type(source).PROPERTIES or {}) else 0


def retrained(model: artifact.Artifact) -> int:
    """The span at which `model`, or the one that it descends from, was trained from nothing."""
    if model.has_custom_property(RETRAINED):
        return model.get_int_custom_property(RETRAINED)
    # A model from before this was written down: the first span that it learned is not later.
    return min(json.loads(model.get_string_custom_property("learned") or "[]"), default=0)
