"""A night's tuning: what it goes on from, what it publishes, and that vectors of two revisions never meet."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.tiny_bert import write_tiny_bert
from components import artifacts
from components.encoder_tuner import Settings
from components.encoder_tuner.executor import Executor
from components.encoder_tuner.item_texts import item_texts
from components.encoder_tuner.night import TUNING, Before, Night, run_night
from components.encoder_tuner.tuner import Tuner
from components.item_encoder import Encodings
from components.item_encoder.published import PUBLISHED, published_folder
from components.update_decider.decision import Decision
from pipeline.ledger.tuning import TuningOfRun
from tests.components.item_encoder.catalogue_days import run_day, settings_of
from tests.components.trained_days import ITEMS as SIX
from tests.components.trained_days import made, make_day
from tests.trainer.encoders.made_sessions import LENGTH, made_span, made_texts
from trainer.encoders.folder import encoder_digest
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.text_positions import NONE
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.tuning import TuningState
from trainer.encoders.tuning_settings import Tuning
from trainer.vocabulary import Vocabulary

ITEMS = made_texts(20)
LEARNING = Tuning(batch=16, learning_rate=0.05, every=3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("encoder"), num_hidden_layers=1)


def tuner_of(encoder: Path, tuning: Tuning = LEARNING, prefix: str = "") -> Tuner:
    return Tuner(Settings(str(encoder), "title", LENGTH, prefix, tuning, seed=1))


@pytest.fixture(scope="module")
def tuner(encoder: Path) -> Tuner:
    return tuner_of(encoder)


def night(
    folder: Path,
    tuner: Tuner,
    span: int,
    before: Before | None = None,
    *,
    learned: tuple[int, ...] = (),
    sessions: int = 40,
    tried: int = -1,
    from_nothing: bool = False,
) -> Night:
    spans = {number: made_span(number, sessions, range(20)) for number in learned or (span,)}
    held_out = made_span(99, 20, range(20)).positions()
    return run_night(span, folder, tuner, ITEMS, spans, held_out, before, tried, from_nothing)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in files}


def test_nights_go_on_and_publish_every_few_spans(tmp_path, tuner):
    first = night(tmp_path / "1", tuner, 1, from_nothing=True)
    assert (first.publication.now, first.since, first.tried) == (True, 1, 1)
    assert first.revision == TunedWeights.load(published_folder(tmp_path / "1")).digest
    assert first.tuned.after < first.tuned.before
    assert 0 < first.tuned.moved < 2

    before, nights = Before(tmp_path / "1", 1), {}
    for span in (2, 3, 4):
        nights[span] = night(tmp_path / str(span), tuner, span, before, tried=first.tried)
        before = Before(tmp_path / str(span), nights[span].since)
    assert [of.publication.now for of in nights.values()] == [False, False, True]
    assert [of.revision == first.revision for of in nights.values()] == [True, True, False]
    assert nights[4].since == 4
    assert TuningState.load(tmp_path / "4" / TUNING).learned == (1, 2, 3, 4)
    shared = [path.stat().st_nlink for path in (tmp_path / "3" / PUBLISHED).iterdir()]
    assert shared == [3, 3]

    # A night that is repeated, over what an attempt that was cut off has left, gives the same files.
    written = content(tmp_path / "3")
    (tmp_path / "3" / "left").write_text("half")
    night(tmp_path / "3", tuner, 3, Before(tmp_path / "2", 1), tried=1)
    assert content(tmp_path / "3") == written

    # Spans that are owed are learned as on their own days.
    late = night(tmp_path / "late", tuner, 4, Before(tmp_path / "1", 1), learned=(2, 3, 4), tried=1)
    assert late.revision == nights[4].revision

    # After a candidate that was refused the next one waits, with the revision that the champion has.
    refused = night(tmp_path / "5", tuner, 5, Before(tmp_path / "3", 1), learned=(4, 5), tried=4)
    assert (refused.publication.now, refused.revision, refused.since, refused.tried) == (False, first.revision, 1, 4)

    # Other settings begin anew beside the revision, another encoder without it.
    ranked = night(
        tmp_path / "ranked", tuner_of(encoder_of(tuner), Tuning(rank=2)), 2, Before(tmp_path / "1", 1), sessions=0
    )
    assert (ranked.revision, ranked.tuned.state.learned) == (first.revision, (2,))
    other = night(
        tmp_path / "other", tuner_of(encoder_of(tuner), prefix="red "), 2, Before(tmp_path / "1", 1), sessions=0
    )
    assert (other.revision, other.since, other.tuned.state.learned) == ("", 2, (2,))
    assert other.encoder == encoder_digest(encoder_of(tuner), LENGTH, "red ") != first.encoder


def encoder_of(tuner: Tuner) -> Path:
    return Path(tuner.settings.folder)


def test_a_night_beside_a_model_that_goes_on_begins_with_the_encoder_as_it_came(tmp_path, tuner):
    begun = night(tmp_path / "1", tuner, 7)
    assert (begun.publication.now, begun.revision, begun.since) == (False, "", 7)
    assert published_folder(tmp_path / "1") is None


def test_what_has_learned_nothing_is_not_published(tmp_path, tuner):
    first = night(tmp_path / "1", tuner, 1, from_nothing=True, sessions=0)
    assert (first.publication.now, first.revision, first.tuned.positions) == (False, "", 0)
    assert (first.tuned.after, first.tuned.moved) == (first.tuned.before, pytest.approx(0, abs=1e-6))


def tuned_artifact(folder: Path) -> artifacts.TunedEncoder:
    tuned = artifacts.TunedEncoder()
    tuned.uri = str(folder)
    return tuned


def test_no_encodings_have_vectors_of_two_revisions(tmp_path, encoder, tuner):
    texts = {f"i{number}": text for number, text in enumerate(ITEMS.texts[:9])}
    first, second = (tmp_path / name for name in ("first", "second"))
    night(first, tuner, 1, from_nothing=True)
    night(second, tuner, 4, Before(first, 1), tried=1)
    settings, reference = settings_of(encoder), TextEncoder(encoder, 12, "")
    # Of the reference encoder's length: what was tuned is of the encoder and its length.
    assert settings.max_tokens == LENGTH

    def encode(span: int, of: dict[str, str], tuned: Path, *before: artifacts.ItemEncodings) -> artifacts.ItemEncodings:
        output = run_day(tmp_path, span, of, settings, before, tuned=[tuned_artifact(tuned)])
        weights = TunedWeights.load(published_folder(tuned))
        reference.become(weights)
        vectors, _ = Encodings.open(output.uri).vectors(list(of))
        np.testing.assert_allclose(vectors, reference.encode(list(of.values()), 64), atol=1e-5)
        assert output.get_string_custom_property("encoder") == weights.digest
        assert output.get_string_custom_property("revision") == weights.digest[:12]
        return output

    def counted(output: artifacts.ItemEncodings) -> tuple[int, int]:
        return tuple(output.get_int_custom_property(name) for name in ("encoded", "reused"))

    day_1 = encode(1, texts, first)
    day_2 = encode(2, {**texts, "new": "wool z coat"}, second, day_1)
    assert [counted(of) for of in (day_1, day_2)] == [(9, 0), (10, 0)]
    assert day_2.get_string_custom_property("replaced_encoder") == day_1.get_string_custom_property("encoder")
    base = encoder_digest(encoder, LENGTH, "")[:12]
    columns = [of.get_string_custom_property("column") for of in (day_1, day_2)]
    assert [column.rpartition("_")[0] for column in columns] == [f"title_{base}"] * 2
    assert columns[0] != columns[1]

    # Its candidate is refused: the champion's revision encodes again, and finds what it has encoded before.
    day_3 = encode(3, {**texts, "new": "wool z coat", "newer": "red q hat"}, first, day_2, day_1)
    assert (counted(day_3), day_3.get_string_custom_property("replaced_encoder")) == ((2, 9), "")
    assert day_3.get_string_custom_property("column") == columns[0]
    # Not even a file is of two: its keys say which encoder its vectors are of.
    keys = [
        {key for path in Path(day.uri).glob("items_vectors-*") for key in pq.read_table(path)["key"].to_pylist()}
        for day in (day_1, day_2, day_3)
    ]
    assert [len(day) for day in keys] == [9, 10, 11]
    assert not keys[1] & (keys[0] | keys[2])


TITLES = dict(zip(SIX, ["red a shoe", "blue b shoe", "wool c shoe", "red d hat", None, "blue e hat"], strict=True))


def test_texts_are_those_of_the_catalogue_by_row():
    catalogue = pa.table({"item": pa.array([*SIX[:5], b"unseen"]), "title": [*list(TITLES.values())[:5], "  a\n b "]})
    items = Vocabulary.empty(2).grow(SIX, 1, min_count=1, half_life=7.0)
    texts = item_texts(catalogue, "title", items)
    of_row = [texts.texts[code] if code != NONE else None for code in texts.codes]
    assert of_row == [*[None] * items.first_row, *list(TITLES.values())[:4], None, None]
    assert texts.texts[-1] == "a b"


def tune(
    folder: Path, encoder: Path, span: int, action: str, base: list[artifacts.TunedEncoder], train_on: tuple[int, ...]
) -> artifacts.TunedEncoder:
    histories = [(1, [2, 3, 4, 5], 1), (2, [5, 7, 2], 0), (3, [3, 4, 7], 0)]
    days = {number: make_day(folder, number, 6, histories) for number in train_on}
    decision = made(artifacts.Decision, folder / "decision")
    Decision(action, "As the test says.", train_on).write(decision.uri)
    catalogue = made(artifacts.Catalogue, folder / "catalogue")
    table = pa.table({"item": pa.array([*TITLES], pa.binary()), "title": pa.array([*TITLES.values()], pa.string())})
    pq.write_table(table, folder / "catalogue" / "items-00000.parquet")
    inputs = {
        "decision": [decision],
        "sequences": [days[span].sequences],
        "past_sequences": [days[number].sequences for number in train_on[:-1]],
        "held_out": [days[span].held_out],
        "vocabulary": [days[span].vocabulary],
        "catalogue": [catalogue],
        "base_tuned": base,
        "last_tuned": base,
    }
    output = made(artifacts.TunedEncoder, folder / "tuned")
    settings = Settings(str(encoder), "title", LENGTH, "", LEARNING, seed=1)
    properties = {"span": span, "version": span * 100 + 1, "settings": settings.to_json()}
    Executor(Executor.Context()).Do(inputs, {"tuned": [output]}, properties)
    return output


def test_the_component_goes_on_from_the_champions_but_where_the_model_begins_from_nothing(tmp_path, encoder, tuner):
    night(tmp_path / "a", tuner, 3, from_nothing=True)
    champions = tuned_artifact(tmp_path / "a")
    for name in ("since", "tried"):
        champions.set_int_custom_property(name, 3)
    after = tune(tmp_path / "b", encoder, 5, "fine_tune", [champions], (4, 5))
    retrained = tune(tmp_path / "c", encoder, 6, "retrain", [after], (5, 6))
    states = [TuningState.load(Path(of.uri) / TUNING) for of in (after, retrained)]
    assert [state.learned for state in states] == [(3, 4, 5), (5, 6)]
    assert [of.get_int_custom_property("version") for of in (after, retrained)] == [501, 601]
    assert after.get_int_custom_property("since") == 3
    values = after.mlmd_artifact.custom_properties
    (tuning,) = TuningOfRun.of_all([{name: getattr(of, of.WhichOneof("value")) for name, of in values.items()}])
    assert (tuning.text, tuning.method, tuning.spans, tuning.published) == ("title", "lora", 3, False)
    revision = TunedWeights.load(published_folder(after.uri)).digest[:12]
    assert str(tuning) == (
        f"title: tuned (lora) on {tuning.positions} positions, 3 spans by now; encodes as revision {revision}. "
        "Not due: the last revision is 2 back (every 3)."
    )
