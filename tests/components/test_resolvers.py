"""Which artifacts a span starts from: the newest of each span before it, and the champion that was not taken back."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from tfx.types import artifact, standard_artifacts

from components import artifacts
from components.resolvers import Anchor, Champion, PreviousState, newest_by_span

_ids = itertools.count(1)


def made(kind: type = standard_artifacts.Examples, **properties: int) -> artifact.Artifact:
    """An artifact newer than those made before."""
    created = kind()
    created.id = next(_ids)
    for name, value in properties.items():
        created.set_int_custom_property(name, value)
    return created


def blessing(model: artifact.Artifact, blessed: int) -> artifact.Artifact:
    return made(standard_artifacts.ModelBlessing, current_model_id=model.id, blessed=blessed)


def shuffled(artifacts_given: list[artifact.Artifact]) -> list[artifact.Artifact]:
    """MLMD promises no order."""
    return random.sample(artifacts_given, len(artifacts_given))


def ids(artifacts_given: list[artifact.Artifact]) -> list[int]:
    return [artifact.id for artifact in artifacts_given]


def test_the_newest_artifact_of_a_span_counts_and_spans_are_in_order() -> None:
    late, first, again, future = made(span=9), made(span=3), made(span=3), made(span=10)
    negative = made(span=-2)
    assert ids(newest_by_span(shuffled([late, first, again, future, negative]), below=10)) == ids(
        [negative, again, late]
    )
    assert newest_by_span([], below=10) == []


def test_yesterday_is_the_last_span_before_this_one() -> None:
    inputs = {
        "vocabulary": [made(artifacts.Vocabulary, span=span) for span in (3, 7, 5, 8)],
        "history": [made(artifacts.KeyHistory, span=span) for span in (8, 7, 7)],
    }
    resolved = PreviousState(span=8).resolve_artifacts(None, {name: shuffled(all_) for name, all_ in inputs.items()})
    assert ids(resolved["vocabulary"]) == ids([inputs["vocabulary"][1]])
    assert ids(resolved["history"]) == ids([inputs["history"][2]])


def test_the_first_day_has_no_yesterday() -> None:
    assert PreviousState(span=3).resolve_artifacts(None, {"vocabulary": [made(span=3)], "history": []}) == {
        "vocabulary": [],
        "history": [],
    }


def champion(
    models: list[artifact.Artifact],
    blessings: list[artifact.Artifact],
    span: int = 10,
    sequences: list[artifact.Artifact] | None = None,
    memory: list[artifact.Artifact] | None = None,
    most: int = 3,
    pushed: list[artifact.Artifact] | None = None,
) -> dict[str, list[artifact.Artifact]]:
    inputs = {
        "model": shuffled(models),
        "model_blessing": shuffled(blessings),
        "sequences": shuffled(sequences or []),
        "memory": shuffled(memory or []),
        "verdicts": shuffled(pushed or []),
    }
    return Champion(span=span, most=most).resolve_artifacts(None, inputs)


def test_the_champion_is_the_latest_blessed_model_before_the_span() -> None:
    models = [made(standard_artifacts.Model, span=span) for span in (6, 8, 7, 9, 10)]
    blessings = [blessing(model, int(model.get_int_custom_property("span") != 9)) for model in models]
    resolved = champion(models, blessings)
    assert ids(resolved["model"]) == ids([models[1]])
    assert ids(resolved["model_blessing"]) == ids([blessings[1]])


def test_a_model_without_a_verdict_is_no_champion() -> None:
    judged, unjudged = (made(standard_artifacts.Model, span=span) for span in (6, 7))
    assert ids(champion([judged, unjudged], [blessing(judged, 1)])["model"]) == [judged.id]


@pytest.mark.parametrize("blessed", [0, 1])
def test_a_later_verdict_on_the_same_model_counts(blessed: int) -> None:
    model = made(standard_artifacts.Model, span=6)
    resolved = champion([model], [blessing(model, 1 - blessed), blessing(model, blessed)])
    assert ids(resolved["model"]) == [model.id] * blessed


def test_of_the_days_that_the_champion_owes_what_was_known_then_comes_along() -> None:
    model = made(standard_artifacts.Model, span=6)
    known = [made(artifacts.Vocabulary, span=span) for span in (5, 6, 7, 8, 8, 10)]
    inputs = {name: [] for name in ("sequences", "memory", "verdicts")}
    resolve = Champion(span=10, most=3).resolve_artifacts
    in_service = {"model": [model], "model_blessing": [blessing(model, 1)], "past_vocabularies": shuffled(known)}
    assert ids(resolve(None, {**inputs, **in_service})["past_vocabularies"]) == ids([known[2], known[4]])
    # A candidate that starts from nothing owes nobody.
    nobody = {**in_service, "model": [], "model_blessing": []}
    assert resolve(None, {**inputs, **nobody})["past_vocabularies"] == []
    assert "past_catalogues" not in resolve(None, {**inputs, **in_service})


def test_the_tuned_encoder_is_that_of_the_champions_run_and_its_vectors_come_along() -> None:
    models = [made(standard_artifacts.Model, span=span, version=100 * span) for span in (6, 8)]
    tuned = [made(artifacts.TunedEncoder, span=span, version=100 * span + run) for span in (6, 8) for run in (0, 1)]
    encodings = [made(artifacts.ItemEncodings, span=span) for span in (5, 6, 7, 8)]
    inputs = {name: [] for name in ("sequences", "memory", "verdicts")}
    given = {"tuned_title": shuffled(tuned), "encodings_title": shuffled(encodings)}

    def resolved(*blessed: int) -> tuple[list[int], list[int]]:
        blessings = [blessing(model, of) for model, of in zip(models, blessed, strict=True)]
        chosen = Champion(span=10, most=3).resolve_artifacts(
            None, {**inputs, **given, "model": models, "model_blessing": blessings}
        )
        return ids(chosen["tuned_title"]), ids(chosen["encodings_title"])

    assert resolved(1, 1) == (ids([tuned[2]]), ids([encodings[3]]))
    assert resolved(1, 0) == (ids([tuned[0]]), ids([encodings[1]]))  # refused, or taken back: that of before
    assert resolved(0, 0) == ([], [])


def test_the_teacher_is_the_last_refreshed_one_that_learned_in_no_revoked_run() -> None:
    def teacher(span: int, refreshed: int, *runs: int) -> artifact.Artifact:
        created = made(artifacts.Teacher, span=span, refreshed=refreshed)
        created.set_string_custom_property("ancestry", json.dumps(runs))
        return created

    first, second = teacher(3, 1, 301), teacher(6, 1, 301, 601)
    teachers = [first, teacher(5, 0, 301), second, teacher(7, 0, 301, 601), teacher(10, 1, 1001)]
    inputs = {name: [] for name in ("model", "model_blessing", "sequences", "memory", "verdicts")}
    resolve = Champion(span=10, most=3).resolve_artifacts
    assert ids(resolve(None, {**inputs, "teacher": shuffled(teachers)})["teacher"]) == ids([second])
    assert "teacher" not in resolve(None, inputs)
    for kind, name in ((standard_artifacts.Model, "model"), (standard_artifacts.PushedModel, "verdicts")):
        revoked = {**inputs, "teacher": shuffled(teachers), name: [made(kind, span=6, version=601, revoked=1)]}
        assert ids(resolve(None, revoked)["teacher"]) == ids([first])
    # Of a span that was run again the newest counts, also where it was not due any more.
    again = [*teachers, teacher(6, 0, 301)]
    assert ids(resolve(None, {**inputs, "teacher": shuffled(again)})["teacher"]) == ids([first])


def test_revoked_models_are_passed_over() -> None:
    good, bad, worse = (made(standard_artifacts.Model, span=span) for span in (6, 7, 8))
    for model in (bad, worse):
        model.set_int_custom_property("revoked", 1)
    good.set_int_custom_property("revoked", 0)
    blessings = [blessing(model, 1) for model in (good, bad, worse)]
    resolved = champion([good, bad, worse], blessings)
    assert ids(resolved["model"]) == [good.id]
    assert ids(resolved["model_blessing"]) == [blessings[0].id]
    good.set_int_custom_property("revoked", 1)
    assert champion([good, bad, worse], blessings)["model"] == []


def test_of_a_span_that_was_run_again_the_newest_revision_counts() -> None:
    before, first, second = (made(standard_artifacts.Model, span=span) for span in (5, 6, 6))
    verdicts = [blessing(before, 1), blessing(first, 1)]
    assert ids(champion([before, first], verdicts)["model"]) == [first.id]
    verdicts += [blessing(second, 1)]
    assert ids(champion([before, first, second], verdicts)["model"]) == [second.id]


def test_a_span_that_was_run_again_and_refused_has_no_champion() -> None:
    before, first, refused = (made(standard_artifacts.Model, span=span) for span in (5, 6, 6))
    verdicts = [blessing(before, 1), blessing(first, 1), blessing(refused, 0)]
    # What the first run of it learned has been replaced, and the next span learns what came in its place.
    assert ids(champion([before, first, refused], verdicts)["model"]) == [before.id]
    refused.set_int_custom_property("revoked", 1)
    assert ids(champion([before, first, refused], verdicts)["model"]) == [first.id]


def test_the_memory_is_the_one_made_with_the_champion() -> None:
    models = [made(standard_artifacts.Model, span=span, version=span * 100 + 1) for span in (6, 7)]
    memory = [made(artifacts.ReplayMemory, span=span, version=span * 100 + 1) for span in (6, 7)]
    again = made(artifacts.ReplayMemory, span=6, version=601)
    verdicts = [blessing(models[0], 1), blessing(models[1], 0)]
    assert ids(champion(models, verdicts, memory=[*memory, again])["memory"]) == [again.id]
    assert champion(models, [], memory=memory)["memory"] == []


def test_the_last_spans_sequences_are_at_hand_with_and_without_a_champion() -> None:
    sequences = [made(span=span) for span in (5, 6, 7, 8, 9, 10, 11)]
    again = made(span=8)
    resolved = champion([], [], sequences=[*sequences, again])
    assert resolved["model"] == resolved["model_blessing"] == []
    assert ids(resolved["sequences"]) == ids([sequences[2], again, sequences[4]])


def push(model: artifact.Artifact, pushed: int) -> artifact.Artifact:
    version = model.get_int_custom_property("version")
    return made(standard_artifacts.PushedModel, version=version, pushed=pushed)


def test_a_blessed_model_that_the_pusher_refused_is_no_champion() -> None:
    first, second = (made(standard_artifacts.Model, span=span, version=100 * span + 1) for span in (7, 8))
    blessings = [blessing(first, 1), blessing(second, 1)]
    assert ids(champion([first, second], blessings)["model"]) == [second.id]
    refused = [push(first, 1), push(second, 0)]
    assert ids(champion([first, second], blessings, pushed=refused)["model"]) == [first.id]
    # What counts is the last push of it: a run that is repeated may find the machine less busy.
    assert ids(champion([first, second], blessings, pushed=[*refused, push(second, 1)])["model"]) == [second.id]
    # A push from before there was such a property says nothing.
    assert ids(champion([first], [blessing(first, 1)], pushed=[made(standard_artifacts.PushedModel)])["model"])


def anchor(
    models: list[artifact.Artifact], comparisons: list[artifact.Artifact], held_out: list[artifact.Artifact], span: int
) -> dict[str, list[artifact.Artifact]]:
    inputs = {
        "model": shuffled(models),
        "model_blessing": [blessing(model, model.get_int_custom_property("good")) for model in models],
        "verdicts": [
            made(
                standard_artifacts.PushedModel,
                pushed=model.get_int_custom_property("good"),
                **{name: model.get_int_custom_property(name) for name in ("span", "version", "revoked")},
            )
            for model in models
        ],
        "comparisons": shuffled(comparisons),
        "older_held_out": shuffled(held_out),
    }
    inputs["model"] = [model for model in inputs["model"] if not model.get_int_custom_property("gone")]
    return Anchor(span=span, most=3).resolve_artifacts(None, inputs)


def test_what_was_measured_on_a_night_outlives_its_model_unless_that_was_taken_back() -> None:
    def model(span: int, **properties: int) -> artifact.Artifact:
        return made(standard_artifacts.Model, span=span, version=10 * span, good=1, **properties)

    models = [model(6, gone=1), model(7, gone=1, revoked=1), model(8)]
    comparisons = [made(artifacts.PairedDifferences, span=span, version=10 * span) for span in (6, 7, 8)]
    assert ids(anchor(models, comparisons, [], 9)["comparisons"]) == ids([comparisons[0], comparisons[2]])


def test_the_anchor_is_what_the_champions_comparison_named() -> None:
    models = [made(standard_artifacts.Model, span=span, version=10 * span, good=int(span != 8)) for span in range(2, 9)]
    comparisons = [
        made(artifacts.PairedDifferences, span=span, version=10 * span, next_anchor=anchor_of)
        for span, anchor_of in ((5, 50), (6, 40), (7, 40), (8, 80))
    ]
    held_out = [made(span=span) for span in range(1, 9)]
    resolved = anchor(models, comparisons, held_out, 9)
    assert ids(resolved["model"]) == ids(models[2:3])
    # The model of span 8 was refused; that of span 7 is the champion, and has not learned what span 7 held out.
    assert ids(resolved["comparisons"]) == ids(comparisons[1:3])
    assert ids(resolved["older_held_out"]) == ids(held_out[3:6])
    assert resolved["model_blessing"] == resolved["verdicts"] == []


def test_a_champion_from_long_ago_brings_its_comparison_and_one_from_before_has_none() -> None:
    models = [made(standard_artifacts.Model, span=2, version=20, good=1)]
    comparisons = [made(artifacts.PairedDifferences, span=2, version=20, next_anchor=20)]
    resolved = anchor(models, comparisons, [], 9)
    assert ids(resolved["comparisons"]) == ids(comparisons)
    assert ids(resolved["model"]) == ids(models)
    before = [made(span=1)]
    resolved = anchor(models, [], before, 9)
    assert resolved["model"] == resolved["comparisons"] == []
    assert ids(resolved["older_held_out"]) == ids(before)
    assert anchor([], [], [made(span=1)], 9)["older_held_out"] == []


def test_the_last_verdict_before_the_span_that_was_not_taken_back_changes_the_learning() -> None:
    def verdict(span: int, **properties: int) -> artifact.Artifact:
        return made(standard_artifacts.PushedModel, span=span, **properties)

    first, refused, again = verdict(6), verdict(7), verdict(7)
    later, revoked = verdict(10), verdict(8, revoked=1)
    inputs = {"model": [], "model_blessing": [], "memory": [], "sequences": []}
    inputs["past_verdicts"] = shuffled([first, refused, again, later, revoked])

    def resolved(span: int) -> list[int]:
        return ids(Champion(span=span, most=3).resolve_artifacts(None, inputs)["past_verdicts"])

    assert resolved(10) == [again.id], "spans without a verdict, skipped or held, say nothing"
    assert resolved(7) == [first.id], "a span that is run again sees what it saw the first time"
    assert resolved(6) == []
