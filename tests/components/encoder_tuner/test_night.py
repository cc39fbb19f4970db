"""A night's tuning: what it goes on from, what it publishes, and that vectors of two revisions never meet."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.tiny_bert import write_tiny_bert
from components import artifacts
from components.encoder_tuner import Settings
from components.encoder_tuner.executor import Executor
from components.encoder_tuner.item_texts import item_texts
from components.encoder_tuner.night import TUNING, Before, Night, run_night
from components.item_encoder import Encodings
from components.item_encoder.published import PUBLISHED, published_folder
from components.update_decider.decision import Decision
from pipeline.ledger.tuning import TuningOfRun
from tests.components.item_encoder.catalogue_days import run_day, settings_of, write_catalogue
from tests.components.trained_days import ITEMS as SIX
from tests.components.trained_days import made, make_day
from tests.trainer.encoders.made_sessions import LENGTH, made_span, made_texts
from trainer.encoders.folder import encoder_digest
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.tuning import TuningState
from trainer.encoders.tuning_settings import Tuning
from trainer.vocabulary import Vocabulary

ITEMS = made_texts(20)
LEARNING = Tuning(batch=16, learning_rate=0.05, every=3)
UNTRAINED = Tuning(batch=16, learning_rate=1e-12, every=3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("encoder"), num_hidden_layers=1)


def night(
    folder: Path,
    encoder: Path,
    span: int,
    before: Before | None = None,
    *,
    tuning: Tuning = LEARNING,
    learned: tuple[int, ...] = (),
    tried: int = -1,
    from_nothing: bool = False,
    prefix: str = "",
) -> Night:
    settings = Settings(str(encoder), "title", LENGTH, prefix, tuning, seed=1)
    spans = {number: made_span(number, 40, range(20)) for number in learned or (span,)}
    held_out = made_span(99, 20, range(20)).positions()
    return run_night(span, folder, settings, ITEMS, spans, held_out, before, tried, from_nothing)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in files}


def test_nights_go_on_and_publish_every_few_spans(tmp_path, encoder):
    first = night(tmp_path / "1", encoder, 1, from_nothing=True)
    assert (first.publication.now, first.since, first.tried) == (True, 1, 1)
    assert first.revision == TunedWeights.load(published_folder(tmp_path / "1")).digest
    assert first.tuned.after < first.tuned.before
    assert 0 < first.tuned.moved < 2

    before, nights = Before(tmp_path / "1", 1), {}
    for span in (2, 3, 4):
        nights[span] = night(tmp_path / str(span), encoder, span, before, tried=first.tried)
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
    night(tmp_path / "3", encoder, 3, Before(tmp_path / "2", 1), tried=1)
    assert content(tmp_path / "3") == written

    # Spans that are owed are learned as on their own days.
    late = night(tmp_path / "late", encoder, 4, Before(tmp_path / "1", 1), learned=(2, 3, 4), tried=1)
    assert late.revision == nights[4].revision

    # After a candidate that was refused the next one waits, with the revision that the champion has.
    refused = night(tmp_path / "5", encoder, 5, Before(tmp_path / "3", 1), learned=(4, 5), tried=4)
    assert (refused.publication.now, refused.revision, refused.since, refused.tried) == (False, first.revision, 1, 4)


def test_a_night_beside_a_model_that_goes_on_begins_with_the_encoder_as_it_is(tmp_path, encoder):
    begun = night(tmp_path / "1", encoder, 7)
    assert (begun.publication.now, begun.revision, begun.since) == (False, "", 7)
    assert published_folder(tmp_path / "1") is None


def test_what_learns_nothing_is_never_published(tmp_path, encoder):
    first = night(tmp_path / "1", encoder, 1, from_nothing=True, tuning=UNTRAINED)
    assert (first.publication.now, first.revision) == (False, "")
    assert first.tuned.after == pytest.approx(first.tuned.before)


def test_other_settings_begin_anew_beside_the_revision_and_another_encoder_without_it(tmp_path, encoder):
    first = night(tmp_path / "1", encoder, 1, from_nothing=True)
    before = Before(tmp_path / "1", 1)
    ranked = night(tmp_path / "2", encoder, 2, before, tuning=dataclasses.replace(LEARNING, rank=2), tried=1)
    assert (ranked.revision, ranked.tuned.state.learned) == (first.revision, (2,))
    other = night(tmp_path / "3", encoder, 2, before, tried=1, prefix="red ")
    assert (other.revision, other.since, other.tuned.state.learned) == ("", 2, (2,))
    assert other.encoder == encoder_digest(encoder, LENGTH, "red ") != first.encoder


def tuned_artifact(folder: Path) -> artifacts.TunedEncoder:
    tuned = artifacts.TunedEncoder()
    tuned.uri = str(folder)
    return tuned


def check_all_of(output: artifacts.ItemEncodings, encoder: Path, texts: dict[str, str], tuned: Path) -> None:
    """Every vector is of the published revision, and of none other."""
    revision = published_folder(tuned)
    weights = None if revision is None else TunedWeights.load(revision)
    expected = TextEncoder(encoder, 12, "", weights).encode(list(texts.values()), 64)
    vectors, _ = Encodings.open(output.uri).vectors(list(texts))
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_no_encodings_have_vectors_of_two_revisions(tmp_path, encoder):
    texts = {f"i{number}": text for number, text in enumerate(ITEMS.texts[:9])}
    more = {**texts, "new": "wool z coat"}
    plain, first, second = (tmp_path / name for name in ("plain", "first", "second"))
    night(plain, encoder, 1, from_nothing=True, tuning=UNTRAINED)
    night(first, encoder, 1, from_nothing=True)
    night(second, encoder, 4, Before(first, 1), tried=1)
    settings = settings_of(encoder)

    def encode(span: int, of: dict[str, str], tuned: Path, *before: artifacts.ItemEncodings):
        output = run_day(tmp_path, span, of, settings, before, tuned=[tuned_artifact(tuned)])
        check_all_of(output, encoder, of, tuned)
        return output, Encodings.open(output.uri).counts["encoded"], output.get_string_custom_property("revision")

    day_1, encoded, revision = encode(1, texts, plain)
    assert (encoded, revision, day_1.get_string_custom_property("column").count("_")) == (9, "", 1)
    day_2, encoded, revision = encode(2, more, first, day_1)
    assert (encoded, revision) == (10, Encodings.open(day_2.uri).encoder[:12])
    assert day_2.get_string_custom_property("column") == f"{day_1.get_string_custom_property('column')}_{revision}"
    assert day_2.get_string_custom_property("replaced_encoder") == Encodings.open(day_1.uri).encoder
    day_3, encoded, _ = encode(3, more, second, day_2)
    assert encoded == 10
    # Its candidate is refused: the champion's revision encodes again, and finds what it has encoded before.
    day_4, encoded, _ = encode(4, {**more, "newer": "red q hat"}, first, day_3, day_2)
    assert (encoded, day_4.get_string_custom_property("replaced_encoder")) == (1, "")
    assert day_4.get_string_custom_property("column") == day_2.get_string_custom_property("column")
    # Not even a file is of two: its keys say which encoder its vectors are of.
    keys = [
        {key for path in Path(day.uri).glob("items_vectors-*") for key in pq.read_table(path)["key"].to_pylist()}
        for day in (day_1, day_2, day_3)
    ]
    assert [len(day) for day in keys] == [9, 10, 10]
    assert len(set().union(*keys)) == 29


TITLES = dict(zip(SIX, ["red a shoe", "blue b shoe", "wool c shoe", "red d hat", None, "blue e hat"], strict=True))


def test_texts_are_those_of_the_catalogue_by_row():
    import pyarrow as pa

    catalogue = pa.table({"item": pa.array([*SIX[:5], b"unseen"]), "title": [*list(TITLES.values())[:5], "  a\n b "]})
    found = item_texts(catalogue, "title", Vocabulary.empty(2).grow(SIX, 1, min_count=1, half_life=7.0))
    known = {code: found.texts[code] for code in found.codes if code >= 0}
    assert [known.get(code) for code in found.codes] == [None, None, *list(TITLES.values())[:4], None, None]
    assert found.texts[-1] == "a b"


def tune(
    folder: Path, encoder: Path, span: int, action: str, base: list[artifacts.TunedEncoder], train_on: tuple[int, ...]
) -> artifacts.TunedEncoder:
    histories = [(1, [2, 3, 4, 5], 1), (2, [5, 7, 2], 0), (3, [3, 4, 7], 0)]
    days = {number: make_day(folder, number, 6, histories) for number in train_on}
    decision = made(artifacts.Decision, folder / "decision")
    Decision(action, "As the test says.", train_on).write(decision.uri)
    texts = {item.decode("latin-1"): title for item, title in TITLES.items()}
    inputs = {
        "decision": [decision],
        "sequences": [days[span].sequences],
        "past_sequences": [days[number].sequences for number in train_on[:-1]],
        "held_out": [days[span].held_out],
        "vocabulary": [days[span].vocabulary],
        "catalogue": [write_catalogue(folder / "catalogue", texts)],
        "base_tuned": base,
        "last_tuned": base,
    }
    output = made(artifacts.TunedEncoder, folder / "tuned")
    settings = Settings(str(encoder), "title", LENGTH, "", LEARNING, seed=1)
    properties = {"span": span, "version": span * 100 + 1, "settings": settings.to_json()}
    Executor(Executor.Context()).Do(inputs, {"tuned": [output]}, properties)
    return output


def test_the_component_goes_on_from_the_champions_but_where_the_model_begins_from_nothing(tmp_path, encoder):
    first = tune(tmp_path / "a", encoder, 3, "cold_start", [], (3,))
    second = tune(tmp_path / "b", encoder, 5, "fine_tune", [first], (4, 5))
    retrained = tune(tmp_path / "c", encoder, 6, "retrain", [second], (5, 6))
    states = [TuningState.load(Path(of.uri) / TUNING) for of in (first, second, retrained)]
    assert [state.learned for state in states] == [(3,), (3, 4, 5), (5, 6)]
    assert [of.get_int_custom_property("version") for of in (first, second, retrained)] == [301, 501, 601]
    assert [of.get_int_custom_property("since") for of in (first, second)] == [3, 3]
    values = second.mlmd_artifact.custom_properties
    properties = {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}
    (told,) = TuningOfRun.of_all([properties])
    assert (told.text, told.method, told.spans, told.positions, told.published) == ("title", "lora", 3, 8, False)
    assert str(told).startswith("title: tuned (lora) on 8 positions, 3 spans by now; encodes as")
    assert str(told).endswith(". Not due: the last revision is 2 back (every 3).")
