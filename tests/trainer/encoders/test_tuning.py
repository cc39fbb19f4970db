"""An encoder is tuned on what follows what, goes on from day to day, and changes nothing but what it is to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tiny_bert import write_tiny_bert
from tests.trainer.encoders.made_sessions import LENGTH, made_span, made_texts
from trainer.encoders.contrastive import loss_over_all
from trainer.encoders.folder import EncoderError
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.text_positions import TextPositions, text_positions
from trainer.encoders.tuned_weights import TunedWeights, encoder_identity
from trainer.encoders.tuning import EncoderTuning, TuningState
from trainer.encoders.tuning_settings import Tuning

ITEMS = made_texts(30)
SPANS = {number: text_positions(made_span(number, 30, range(20)).positions(), ITEMS, 3) for number in (1, 2)}
LORA = Tuning(batch=16, learning_rate=0.02)
FULL = Tuning(method="full", batch=16, learning_rate=0.002)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("encoder"), num_hidden_layers=1)


@pytest.fixture(scope="module")
def lora(folder: Path) -> EncoderTuning:
    return EncoderTuning(folder, LENGTH, "", LORA, 3)


@pytest.fixture(scope="module")
def full(folder: Path) -> EncoderTuning:
    return EncoderTuning(folder, LENGTH, "", FULL, 3)


@pytest.fixture(params=["lora", "full"])
def tuning(request: pytest.FixtureRequest) -> EncoderTuning:
    """As it came: what is built and traced once learns in every test."""
    built = request.getfixturevalue(request.param)
    built.go_on_from(None)
    return built


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder(folder, LENGTH, "")


def vectors(encoder: TextEncoder, tuned: TunedWeights | None) -> np.ndarray:
    encoder.become(tuned)
    return encoder.encode(ITEMS.texts, 64)


def same(left: TuningState, right: TuningState) -> bool:
    assert left.slots.keys() == right.slots.keys()
    pairs = [(left.weights, right.weights), *((left.slots[name], right.slots[name]) for name in left.slots)]
    equal = all(a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) for a, b in pairs)
    return equal and (left.iterations, left.learned) == (right.iterations, right.learned)


def test_what_has_learned_nothing_encodes_as_the_encoder_bit_for_bit(tuning, encoder):
    plain = vectors(encoder, None)
    np.testing.assert_array_equal(vectors(encoder, tuning.tuned()), plain)
    tuning.learn(1, SPANS[1])
    assert not np.array_equal(vectors(encoder, tuning.tuned()), plain)
    np.testing.assert_array_equal(vectors(encoder, None), plain)
    tuning.go_on_from(None)
    np.testing.assert_array_equal(vectors(encoder, tuning.tuned()), plain)


def test_days_in_one_go_and_days_that_end_between_give_the_same(tuning, tmp_path):
    for number, positions in SPANS.items():
        tuning.learn(number, positions)
    at_once = tuning.state()
    tuning.go_on_from(None)
    tuning.learn(1, SPANS[1])
    tuning.state().save(tmp_path)
    for _ in range(2):  # the second day is cut off after its learning, and repeated
        tuning.go_on_from(TuningState.load(tmp_path))
        tuning.learn(2, SPANS[2])
    assert same(tuning.state(), at_once)
    assert tuning.state().learned == (1, 2)
    digest = tuning.tuned().digest

    # The slots are what makes it so.
    without = TuningState.load(tmp_path)
    for slots in without.slots.values():
        for value in slots.values():
            value[...] = 0
    tuning.go_on_from(without)
    tuning.learn(2, SPANS[2])
    assert tuning.tuned().digest != digest


def test_lora_changes_its_own_matrices_alone_and_nothing_on_disk(folder, lora, encoder):
    before = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}
    lora.go_on_from(None)
    fresh = lora.state()
    untouched = {id(variable): variable.numpy() for variable in lora._encoder.variables}
    lora.learn(1, SPANS[1])
    learned = lora.state()
    kernels = [f"encoder.layer.0.attention.self.{part}.weight" for part in ("query", "value")]
    assert set(learned.weights) == {kernel + end for kernel in kernels for end in (".lora_A", ".lora_B")}
    assert learned.weights[f"{kernels[0]}.lora_A"].shape == (4, 16)
    assert not any(np.array_equal(learned.weights[name], fresh.weights[name]) for name in learned.weights)
    own = {id(variable) for variable in lora._variables.values()}
    assert own < untouched.keys()
    assert all(
        np.array_equal(variable.numpy(), untouched[id(variable)])
        for variable in lora._encoder.variables
        if id(variable) not in own
    )
    assert before == {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}
    # What is merged into the kernels encodes as the two products beside them do.
    tokens = lora._tokens.padded(lora._tokens.of(ITEMS.texts))
    np.testing.assert_allclose(lora._encoder(*tokens).numpy(), vectors(encoder, lora.tuned()), atol=1e-5)


def recall_of_new(vectors: np.ndarray, positions: TextPositions, new: np.ndarray, k: int) -> float:
    """Of the texts in `new`, how often that which came is among the k nearest to the mean of those before."""
    asked = np.stack([vectors[before[before >= 0]].mean(axis=0) for before in positions.history])
    scores = asked @ vectors[new].T
    own = scores[np.arange(len(positions)), np.searchsorted(new, positions.target)]
    return float(np.mean((scores > own[:, None]).sum(axis=1) < k))


def test_it_finds_items_that_nobody_has_seen_where_texts_say_what_follows(tuning, encoder):
    held_out = text_positions(made_span(9, 200, range(20, 30), length=2).positions(), ITEMS, 3)
    new = np.arange(20 * 3, 30 * 3)
    for number in range(8):
        tuning.learn(number, text_positions(made_span(number, 60, range(20)).positions(), ITEMS, 3))
    frozen, tuned = vectors(encoder, None), vectors(encoder, tuning.tuned())
    before, after = (recall_of_new(of, held_out, new, 10) for of in (frozen, tuned))
    assert after > before + 0.2, (before, after)
    assert loss_over_all(held_out, tuned, 0.05) < loss_over_all(held_out, frozen, 0.05)


def test_a_span_without_a_pair_of_texts_teaches_nothing(lora):
    lora.go_on_from(None)
    fresh = lora.state()
    nothing = TextPositions(ITEMS.texts, np.zeros((0, 3), np.int64), np.zeros(0, np.int64))
    for number, positions in ((1, nothing), (2, SPANS[1].take(np.arange(1)))):
        learned = lora.learn(number, positions)
        assert (np.isnan(learned.loss), learned.positions) == (True, len(positions))
    after = lora.state()
    assert (after.iterations, after.learned) == (0, (1, 2))
    assert all(np.array_equal(after.weights[name], fresh.weights[name]) for name in fresh.weights)


def test_a_revision_is_known_by_all_that_a_vector_depends_on(folder, lora, tmp_path):
    lora.go_on_from(None)
    lora.learn(1, SPANS[1])
    first = lora.tuned()
    lora.learn(2, SPANS[2])
    second = lora.tuned()
    plain, *tuned = (encoder_identity("title", folder, LENGTH, "", of) for of in (None, first, second))
    assert len({plain.digest, *(of.digest for of in tuned)}) == 3
    assert plain.column == f"title_{plain.digest[:12]}"
    assert [of.column for of in tuned] == [f"{plain.column}_{of.digest[:12]}" for of in tuned]
    first.save(tmp_path)
    assert TunedWeights.load(tmp_path).digest == first.digest
    with pytest.raises(EncoderError, match="Tuned weights must be of the encoder in its folder"):
        encoder_identity("title", folder, LENGTH, "query: ", first)


def test_a_state_of_other_settings_is_refused(lora, full):
    with pytest.raises(EncoderError, match="must go on from a state of the same encoder and settings"):
        lora.go_on_from(full.state())


@pytest.mark.parametrize("missing", ["weights.npz", "slots.npz", "tuning.json"])
def test_a_state_that_is_not_whole_is_refused(lora, tmp_path, missing):
    lora.state().save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(EncoderError, match="The state of a tuned encoder must be"):
        TuningState.load(tmp_path)
