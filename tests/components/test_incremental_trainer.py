"""The trainer's executor: from artifacts to a bundle that serves and a state that the next day starts from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from components import artifacts
from components.incremental_trainer.artifact_files import (
    HEALTH_FILE,
    LOSSES_FILE,
    REFERENCE_FILE,
    SERVING_FOLDER,
    STATE_FOLDER,
)
from components.incremental_trainer.item_columns import ItemsFileError
from components.incremental_trainer.settings import Settings
from components.resolvers import RevokedError
from components.update_decider.backoff import Backoff
from components.update_decider.decision import Decision
from serving.bundle import check_bundle
from serving.bundle.index_settings import IndexSettings
from serving.bundle.reference_answers import Reference
from serving.bundle.retrieval_index import IndexSettingsError
from serving.bundle.validation import validate
from tests.components.trained_days import FIRST, ITEMS, SETTINGS, Day, made, make_day, train
from trainer import catch_up
from trainer.backoff import Factors
from trainer.keras2 import tf
from trainer.settings import ModelSpec, Schedule
from trainer.train_state import ModelState, StateError
from trainer.training_log import Losses
from trainer.update import update
from trainer.vocabulary import Vocabulary


@pytest.fixture
def days(tmp_path: Path) -> list[Day]:
    """Three days; the second brings two new items, the third one more."""
    return [
        make_day(tmp_path / "days", 7, 3, [(2, [2, 3, 4], 0), (3, [4, 2], 0)]),
        make_day(tmp_path / "days", 8, 5, [(2, [2, 3, 4, 5, 6], 3), (4, [6, 5], 0)]),
        make_day(tmp_path / "days", 9, 6, [(3, [4, 2, 7, 5], 2)]),
    ]


def cold(day: Day) -> Decision:
    return Decision("cold_start", "No model is in service yet.", (day.span,))


def state_of(model) -> ModelState:
    return ModelState.load(Path(model.uri) / STATE_FOLDER)


def test_the_days_follow_one_another(tmp_path: Path, days: list[Day]) -> None:
    first = train(tmp_path / "first", days[0], cold(days[0]))
    decision = Decision("fine_tune", "The champion owes 1 earlier span.", (8, 9))
    third = train(tmp_path / "third", days[2], decision, past=days[:2], base=first)

    about = check_bundle(Path(third.uri) / SERVING_FOLDER).about
    vocabulary = {name: Vocabulary.load(days[2].vocabulary.uri, name).fingerprint for name in ("items", "keys")}
    assert (
        about.items()
        >= {
            "span": 9,
            "version": 901,
            "parent": 701,
            "model": "tests.trainer.small_model.Small",
            "learned": [7, 8, 9],
            "vocabulary": vocabulary,
        }.items()
    )
    assert about["index"] == dataclasses.asdict(IndexSettings())
    assert state_of(first).sizes.items == FIRST + 3
    assert state_of(third).sizes.items == FIRST + 6
    assert state_of(third).learned == (7, 8, 9)
    assert state_of(third).iterations > state_of(first).iterations > 0
    for name, value in {"span": 9, "version": 901, "parent": 701, "examples": 2 * (4 + 2), "epochs": 4}.items():
        assert third.get_int_custom_property(name) == value
    assert first.get_int_custom_property("parent") == 0
    assert json.loads(third.get_string_custom_property("learned")) == [7, 8, 9]
    assert third.get_string_custom_property("action") == "fine_tune"
    for name in ("train_loss", "watched", "training_seconds"):
        assert third.get_float_custom_property(name) > 0
    parts = {SERVING_FOLDER, STATE_FOLDER, REFERENCE_FILE, HEALTH_FILE, LOSSES_FILE}
    assert {path.name for path in Path(third.uri).iterdir()} == parts
    losses = Losses.load(Path(third.uri) / LOSSES_FILE)
    assert losses.epochs[-1][0] == losses.steps[-1] > 0


def test_a_revoked_model_is_no_base_although_it_was_found_before_it_was_revoked(
    tmp_path: Path, days: list[Day]
) -> None:
    first = train(tmp_path / "first", days[0], cold(days[0]))
    first.set_int_custom_property("revoked", 1)
    with pytest.raises(RevokedError, match=r"must not be the base of another\. Received: version 701"):
        train(tmp_path / "second", days[1], Decision("fine_tune", "It owes nothing.", (8,)), base=first)
    assert not (tmp_path / "second" / "model" / SERVING_FOLDER).exists()


def test_what_was_decided_on_the_way_is_written_down(tmp_path: Path, days: list[Day]) -> None:
    policy = dataclasses.replace(SETTINGS.policy, schedule=Schedule(rates=(0.02, 0.1), probe_steps=2))
    model = train(
        tmp_path / "first", days[0], cold(days[0]), settings=dataclasses.replace(SETTINGS, policy=policy)
    )  # fmt: skip
    assert model.get_string_custom_property("notes").startswith("Span 7: learning rate 0.")
    assert not train(tmp_path / "plain", days[0], cold(days[0])).has_custom_property("notes")


def test_a_day_that_is_owed_is_learned_amid_what_was_known_on_it(tmp_path: Path, days: list[Day]) -> None:
    first = train(tmp_path / "first", days[0], cold(days[0]))
    second = train(tmp_path / "second", days[1], Decision("fine_tune", "It owes nothing.", (8,)), base=first)
    third = train(tmp_path / "third", days[2], Decision("fine_tune", "It owes nothing.", (9,)), base=second)
    owing = Decision("fine_tune", "It owes a span.", (8, 9))
    late = train(tmp_path / "late", days[2], owing, past=days[:2], base=first)
    expected, received = state_of(third), state_of(late)
    assert received.learned == (7, 8, 9)
    np.testing.assert_equal((received.weights, received.slots), (expected.weights, expected.slots))
    # Where that is gone, as in a root whose old days were cleaned away, it is learned amid what is known today.
    forgetful = dataclasses.replace(days[1], vocabulary=made(artifacts.Vocabulary, tmp_path / "gone", span=1))
    blind = train(tmp_path / "blind", days[2], owing, past=[days[0], forgetful], base=first)
    assert state_of(blind).learned == (7, 8, 9)
    assert blind.get_string_custom_property("notes").startswith("Span 8 was learned amid what span 9 knows")
    assert not late.has_custom_property("notes")
    assert any((state_of(blind).weights[path] != weights).any() for path, weights in expected.weights.items())


def test_a_retrain_starts_from_fresh_weights(tmp_path: Path, days: list[Day]) -> None:
    first = train(tmp_path / "first", days[0], cold(days[0]))
    decision = Decision("retrain", "The champion owes too many spans.", (8, 9))
    again = train(tmp_path / "again", days[2], decision, past=days[:2], base=first)
    assert state_of(again).learned == (8, 9)
    assert again.get_int_custom_property("parent") == 0
    alone = train(tmp_path / "alone", days[2], decision, past=days[:2])
    for path, value in state_of(alone).weights.items():
        np.testing.assert_array_equal(value, state_of(again).weights[path])


def test_the_bundle_answers_for_the_days_items_with_their_titles(tmp_path: Path, days: list[Day]) -> None:
    titles = tmp_path / "items.csv"
    titles.write_text(
        'year,item_id,title\n1999,film 1,"One, ""the first"""\n2001,"né, 2","Two\nlines"\n2002,unseen,X\n'
    )
    settings = dataclasses.replace(SETTINGS, items_file=str(titles))
    model = train(tmp_path / "first", days[0], cold(days[0]), settings=settings)
    recommend = tf.saved_model.load(f"{model.uri}/{SERVING_FOLDER}").signatures["serving_default"]
    answer = recommend(user_id=tf.constant(["u1"]), history=tf.constant([[""]]))
    titles_by_item = dict(
        zip(answer["item_ids"].numpy()[0].tolist(), answer["titles"].numpy()[0].tolist(), strict=True)
    )
    titles_by_item.pop(b"", None)
    assert titles_by_item == {ITEMS[0]: b'One, "the first"', ITEMS[1]: b"Two\nlines", ITEMS[2]: b""}


@pytest.mark.parametrize("content", ["item,name\n1,one\n", "", None, "item_id,title\n1\n"])
def test_a_file_of_titles_that_is_none_says_so(tmp_path: Path, days: list[Day], content: str | None) -> None:
    titles = tmp_path / "items.csv"
    if content is not None:
        titles.write_text(content)
    settings = dataclasses.replace(SETTINGS, items_file=str(titles))
    with pytest.raises(ItemsFileError, match=r"columns item_id and title. Received: .*items\.csv"):
        train(tmp_path / "first", days[0], cold(days[0]), settings=settings)


def items_file(tmp_path: Path, text: str, **settings: object) -> Settings:
    (tmp_path / "items.csv").write_text(text)
    return dataclasses.replace(SETTINGS, items_file=str(tmp_path / "items.csv"), **settings)


def recommended(model, **columns: str) -> list[dict[str, bytes]]:
    recommend = tf.saved_model.load(f"{model.uri}/{SERVING_FOLDER}").signatures["serving_default"]
    answer = recommend(user_id=tf.constant(["u1"]), history=tf.constant([[""]]))
    rows = zip(*(answer[name].numpy()[0].tolist() for name in sorted(answer) if name != "scores"), strict=True)
    return [dict(zip(sorted(set(answer) - {"scores"}), row, strict=True)) for row in rows]


def test_other_columns_come_along_and_what_is_withdrawn_does_not_come(tmp_path: Path, days: list[Day]) -> None:
    settings = items_file(
        tmp_path,
        'item_id,title,genres,sold\nfilm 1,One,"a|b",yes\n"né, 2",Two,,no\n',
        columns=("title", "genres"),
        available_column="sold",
    )
    answers = recommended(train(tmp_path / "first", days[0], cold(days[0]), settings=settings))
    assert sorted((answer["item_ids"], answer["titles"], answer["genres"]) for answer in answers) == sorted(
        [(ITEMS[0], b"One", b"a|b"), (ITEMS[2], b"", b""), *[(b"", b"", b"")] * (len(answers) - 2)]
    )


@pytest.mark.parametrize(
    ("text", "changed", "words"),
    [
        ("item_id,title,sold\n1,One,soon\n", {"available_column": "sold"}, "`sold` of .*items.csv must hold true or"),
        ("item_id,title\n1,One\n", {"available_column": "sold"}, "columns item_id and title and sold"),
        ("item_id,title\n1,One\n", {"columns": ("genres",)}, "columns item_id and genres"),
        ("", {"columns": ("genres",), "items_file": None}, "Received: no `data.items`"),
    ],
)
def test_an_items_file_that_says_too_little_is_refused(
    tmp_path: Path, days: list[Day], text: str, changed: dict, words: str
) -> None:
    settings = dataclasses.replace(items_file(tmp_path, text), **changed)
    with pytest.raises(ItemsFileError, match=words):
        train(tmp_path / "first", days[0], cold(days[0]), settings=settings)


TWO_TOWER = ModelSpec("two_tower", {"dimension": 8, "negatives": 5}, 4)


@pytest.mark.parametrize(
    "index",
    [
        IndexSettings(table="int8", min_recall=0.0, pruning=0.5),
        IndexSettings(table="float16"),
        IndexSettings("approximate", min_recall=1.0),
        IndexSettings("approximate", "int8", lists=3, probes=3, min_recall=0.0),
    ],
)
def test_what_an_index_loses_is_written_down_and_the_export_answers(
    tmp_path: Path, days: list[Day], index: IndexSettings
) -> None:
    settings = dataclasses.replace(SETTINGS, model=TWO_TOWER, index=index)
    model = train(tmp_path / "first", days[0], cold(days[0]), settings=settings)
    about = check_bundle(Path(model.uri) / SERVING_FOLDER).about["index"]
    assert about["table"] == index.table
    assert index.min_recall <= about["recall"] <= 1
    assert (about["probes"] is not None) == (index.type == "approximate")
    less = " and 50% of the weights pruned" if index.pruning else ""
    assert f"a table of {index.table}{less} finds {about['recall']:.2%}" in model.get_string_custom_property("notes")
    validation = validate(Path(model.uri) / SERVING_FOLDER, Reference.load(Path(model.uri) / REFERENCE_FILE), 10_000.0)
    assert not validation.refusal
    assert validation.figures["recall"] == pytest.approx(about["recall"])


def test_a_model_without_item_vectors_says_that_it_can_t_have_another_table(tmp_path: Path, days: list[Day]) -> None:
    settings = dataclasses.replace(SETTINGS, index=IndexSettings(table="int8"))
    with pytest.raises(IndexSettingsError, match=r"table` can be int8 only where .* Received: model tests"):
        train(tmp_path / "first", days[0], cold(days[0]), settings=settings)


def test_a_model_of_one_s_own_is_pruned_where_it_is_served_and_not_where_it_goes_on(
    tmp_path: Path, days: list[Day]
) -> None:
    """Its item table and its kernels are; biases, what is told, and the users' rows, which `forget` looks for, not."""
    settings = dataclasses.replace(SETTINGS, index=IndexSettings(pruning=0.7, min_recall=0.0))
    model = train(tmp_path / "first", days[0], cold(days[0]), settings=settings)
    state = state_of(model).weights
    reader = tf.train.load_checkpoint(str(Path(model.uri) / SERVING_FOLDER / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("parameters/")]
    served = [reader.get_tensor(name) for name in names]
    item = state["item/embeddings"]
    assert item.all()
    kept = np.abs(item) == np.abs(item).max(axis=1, keepdims=True)
    assert any(np.array_equal(of, item * kept) for of in served)
    assert not any(np.array_equal(of, item) for of in served)
    for path in ("key/embeddings", "bias"):
        assert any(np.array_equal(of, state[path]) for of in served)


@pytest.mark.parametrize("spec", [SETTINGS.model, TWO_TOWER])
def test_an_export_answers_what_the_model_did(tmp_path: Path, days: list[Day], spec: ModelSpec) -> None:
    model = train(tmp_path / "first", days[0], cold(days[0]), settings=dataclasses.replace(SETTINGS, model=spec))
    reference = Reference.load(Path(model.uri) / REFERENCE_FILE)
    assert len(reference) == 2
    assert reference.users == [b"u1", b"u2"]
    validation = validate(Path(model.uri) / SERVING_FOLDER, reference, 10_000.0)
    assert not validation.refusal
    assert validation.figures["recall"] == 1.0
    assert validation.figures["load_seconds"] > 0


def test_a_changed_model_asks_for_a_retrain(tmp_path: Path, days: list[Day]) -> None:
    first = train(tmp_path / "first", days[0], cold(days[0]))
    wider = dataclasses.replace(SETTINGS.model, params={"dimension": 5})
    with pytest.raises(StateError, match="do a full retrain"):
        train(
            tmp_path / "second",
            days[1],
            Decision("fine_tune", "", (8,)),
            base=first,
            settings=dataclasses.replace(SETTINGS, model=wider),
        )


def test_a_day_without_a_trained_event_has_no_loss_to_record(tmp_path: Path) -> None:
    empty = make_day(tmp_path / "days", 7, 3, [])
    model = train(tmp_path / "first", empty, cold(empty))
    assert not model.has_custom_property("train_loss")
    assert not model.has_custom_property("watched")
    assert model.get_int_custom_property("examples") == 0


def test_settings_survive_the_way_through_ml_metadata() -> None:
    policy = dataclasses.replace(SETTINGS.policy, clip_norm=None, optimizer="adam")
    settings = dataclasses.replace(SETTINGS, policy=policy, items_file='a, "b" 🎬.csv', columns=("a", "b"))
    assert Settings.from_json(settings.to_json()) == settings


def test_a_fine_tuning_learns_under_the_factors_of_its_decision(tmp_path: Path, days: list[Day], monkeypatch) -> None:
    policies = []

    def spied(**given):
        policies.append(given["policy"])
        return update(**given)

    monkeypatch.setattr(catch_up, "update", spied)
    first = train(tmp_path / "first", days[0], cold(days[0]))
    backoff = Backoff(2, "2024-05-03 was refused, retention")
    careful = Decision("fine_tune", "Why.", (8,), backoff=backoff, factors=Factors(0.25, 1.0, 0.5))
    second = train(tmp_path / "second", days[1], careful, past=days[:1], base=first)
    assert policies[0] == SETTINGS.policy
    assert policies[1].learning_rate == SETTINGS.policy.learning_rate / 4
    assert policies[1].epochs == second.get_int_custom_property("epochs") == 1
    assert second.get_int_custom_property("backoff") == 2
    assert second.get_string_custom_property("backoff_reason") == backoff.reason
