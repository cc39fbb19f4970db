"""One span's update: the same seed gives the same bits, and nothing a span brought is lost or learned twice."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, SMALL, Small
from trainer.checks.small_data import held_out, random_sequences, sequences
from trainer.early_stopping import MonitoredMetric, OnEpoch, OnStep, TrainingError, held_out_loss
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.progress import heard_by
from trainer.settings import ModelSpec, Policy, ReplaySettings, Schedule, Stability, Watch
from trainer.train_state import ModelState, StateError
from trainer.update import Span, Update, update

SIZES = TableSizes(items=40, keys=20, first_row=2)
SPEC = ModelSpec(SMALL, {}, HISTORY)
TWO_TOWER = ModelSpec("two_tower", {"dimension": 4}, HISTORY)
NOTHING = sequences([]).positions()
POLICY = Policy(epochs=3, batch_size=32, learning_rate=0.05, patience=9)


def span(number: int, count: int = 40) -> Span:
    return Span(number, random_sequences(SIZES, count, seed=number))


def run(
    spans: list[Span],
    base: ModelState | None = None,
    spec: ModelSpec = SPEC,
    watched: Positions | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    **policy: object,
) -> Update:
    watched = held_out(SIZES, 15, seed=99) if watched is None else watched
    how = dataclasses.replace(POLICY, **policy)
    return update(spec, SIZES, spans, watched, np.ones(SIZES.items), how, base, on_step=on_step, on_epoch=on_epoch)


def fingerprint(state: ModelState) -> str:
    """Of every bit that training changes."""
    digest = hashlib.sha256()
    for path in sorted(state.weights):
        digest.update(path.encode() + state.weights[path].tobytes())
    for path in sorted(state.slots):
        for name in sorted(state.slots[path]):
            digest.update(f"{path}|{name}".encode() + state.slots[path][name].tobytes())
    return f"{digest.hexdigest()} {state.iterations} {state.learned}"


def two_days(spec: ModelSpec) -> str:
    first = run([span(1)], spec=spec, epochs=2)
    return fingerprint(run([span(2), span(3)], base=first.state, spec=spec, epochs=2).state)


@pytest.mark.parametrize("spec", [SPEC, TWO_TOWER], ids=["small", "two_tower"])
def test_the_same_seed_gives_the_same_bits_here_and_in_a_fresh_process(spec: ModelSpec) -> None:
    here = two_days(spec)
    assert two_days(spec) == here
    code = f"from tests.trainer import test_update as t; print(t.two_days(t.ModelSpec(*{dataclasses.astuple(spec)})))"
    there = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert there.stdout.strip() == here


def test_another_seed_or_another_span_number_gives_other_bits() -> None:
    state = run([span(1)]).state
    assert fingerprint(run([span(1)], seed=2).state) != fingerprint(state)
    moved = run([Span(2, span(1).sequences)]).state
    assert (moved.weights["item/embeddings"] != state.weights["item/embeddings"]).any()


def test_training_lowers_the_loss() -> None:
    losses: list[float] = []
    result = run([span(1)], on_epoch=lambda number, epoch, loss: losses.append(loss), learning_rate=0.3, epochs=5)
    watched = held_out(SIZES, 15, seed=99)
    assert result.watched == min(losses)
    assert result.watched == pytest.approx(held_out_loss(result.model, watched, HISTORY), rel=1e-6)
    assert run([span(1)], epochs=1, learning_rate=0.3).train_loss > result.train_loss


def held_out_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Early stopping sees `losses`, whatever the model's are."""
    given = iter(losses)
    monkeypatch.setattr("trainer.early_stopping.MonitoredMetric.value", lambda _: next(given))


@pytest.mark.parametrize(
    ("losses", "patience", "best", "epochs"),
    [
        ([3.0, 2.0, 2.5, 2.4, 9.9, 9.9], 1, 2, 4),
        ([3.0, 2.0, 2.5, 1.0, 1.5, 1.5], 1, 4, 6),
        ([3.0, 3.0, 9.9, 9.9, 9.9, 9.9], 0, 1, 2),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 1, 6, 6),
    ],
    ids=["stops", "forgives one", "no patience, and a tie is no gain", "the last is the best"],
)
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_early_stopping_keeps_the_best_epochs_weights_and_slots(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, losses: list[float], patience: int, best: int, epochs: int
) -> None:
    held_out_losses(monkeypatch, losses)
    stopped = run([span(1)], optimizer=optimizer, patience=patience, epochs=6)
    held_out_losses(monkeypatch, losses)
    exact = run([span(1)], optimizer=optimizer, patience=99, epochs=best)
    assert (stopped.epochs, exact.epochs) == (epochs, best)
    assert stopped.watched == losses[best - 1]
    assert fingerprint(stopped.state) == fingerprint(exact.state)
    assert stopped.examples == epochs * span(1).sequences.new_events


def test_without_a_held_out_part_every_epoch_is_trained() -> None:
    result = run([span(1)], watched=NOTHING, patience=0, epochs=4)
    assert result.epochs == 4
    assert np.isnan(result.watched)
    assert np.isfinite(result.train_loss)


def test_owed_spans_are_trained_in_order_each_event_once_an_epoch() -> None:
    base = run([span(1)]).state
    epochs: list[tuple[int, int]] = []
    owed = [span(2), span(3), span(4)]
    together = run(owed, base=base, on_epoch=lambda number, epoch, loss: epochs.append((number, epoch)))
    assert epochs == [(number, epoch) for number in (2, 3, 4) for epoch in (1, 2, 3)]
    assert together.examples == 3 * sum(owed_span.sequences.new_events for owed_span in owed)
    one_by_one = base
    for owed_span in owed:
        one_by_one = run([owed_span], base=one_by_one).state
    assert fingerprint(together.state) == fingerprint(one_by_one)
    assert fingerprint(run(owed[::-1], base=base).state) != fingerprint(together.state)


def test_a_new_row_meets_the_neighbours_of_every_owed_span() -> None:
    old = TableSizes(items=4, keys=3, first_row=2)
    grown = TableSizes(items=5, keys=3, first_row=2)
    spans = [Span(2, sequences([(2, [3, 4], 2)])), Span(3, Sequences.empty())]  # what was seen before is not trained on
    base = update(SPEC, old, [Span(1, sequences([(2, [2, 3], 0)]))], NOTHING, np.ones(4), POLICY).state
    state = update(SPEC, grown, spans, NOTHING, np.ones(5), POLICY, base).state
    np.testing.assert_array_equal(state.weights["item/embeddings"][4], base.weights["item/embeddings"][3])


def test_learned_spans_and_steps_add_up_over_the_days() -> None:
    steps: list[int] = []
    state: ModelState | None = None
    for spans in ([span(1)], [span(2), span(5)], [Span(6, Sequences.empty())], [span(7)]):
        state = run(spans, base=state, watched=NOTHING, on_step=lambda step, loss: steps.append(step)).state
    assert state is not None
    assert state.learned == (1, 2, 5, 6, 7)
    batches = sum(3 * -(-span(number).sequences.new_events // 32) for number in (1, 2, 5, 7))
    assert steps == list(range(1, batches + 1))
    assert state.iterations == batches


def test_how_far_it_is_is_said_at_every_step() -> None:
    heard: list[tuple[str, int, int]] = []
    with heard_by(lambda *said: heard.append(said)):
        run([span(4), span(5)], epochs=2, patience=0)
    for number in (4, 5):
        own = [said for said in heard if said[0].startswith(f"span {number}, epoch ")]
        total = own[0][2]
        assert [done for _, done, _ in own] == [*range(1, len(own) + 1)]
        assert own[0][0] == f"span {number}, epoch 1 of at most 2, steps"
        assert len(own) in (total // 2, total)


@pytest.mark.parametrize("with_base", [False, True])
def test_an_empty_span_changes_no_row(with_base: bool) -> None:
    base = run([span(1)]).state if with_base else None
    result = run([Span(2, Sequences.empty())], base=base)
    assert (result.examples, result.epochs) == (0, 0)
    assert result.state.learned == ((1, 2) if with_base else (2,))
    if base is not None:
        for path in set(base.weights) - {"popularity"}:
            np.testing.assert_array_equal(result.state.weights[path], base.weights[path])


def test_no_span_at_all_gives_the_base_back() -> None:
    base = run([span(1)]).state
    assert fingerprint(run([], base=base).state) == fingerprint(base)


def with_weight(number: int, value: float) -> Span:
    sequences_of = span(number).sequences
    weights = sequences_of.weights.copy()
    weights[-1] = value
    return Span(number, dataclasses.replace(sequences_of, weights=weights))


def test_a_loss_that_is_not_finite_stops_and_says_where() -> None:
    # A weight at the end of float32's range: finite itself, its loss is not.
    with pytest.raises(TrainingError, match=r"Received: inf in span 4, epoch 1, batch \d+\..*update.learning_rate"):
        run([span(3), with_weight(4, 3e38)])


def test_a_last_step_that_breaks_the_weights_is_found_on_the_held_out_part() -> None:
    few = Span(5, sequences([(3, [4, 5, 6], 0)]))
    with pytest.raises(TrainingError, match="span 5, epoch 1, on the held-out part"):
        run([few], learning_rate=1e38, clip_norm=None, epochs=1)


def test_a_base_of_another_model_is_refused() -> None:
    base = run([span(1)]).state
    with pytest.raises(StateError, match="shape"):
        run([span(2)], base=base, spec=ModelSpec(SMALL, {"dimension": 5}, HISTORY))


def test_clipping_bounds_a_step() -> None:
    """Adagrad's first sum of squares over all variables is the clipped gradient's squared norm."""

    def squared_norm(clip: float | None) -> float:
        state = run([span(1, count=60)], epochs=1, batch_size=1000, clip_norm=clip, initial_accumulator=0.1).state
        return sum(float(np.sum(slots["accumulator"] - np.float32(0.1))) for slots in state.slots.values())

    free = squared_norm(None)
    assert free > 2 * 0.05**2
    assert squared_norm(0.05) == pytest.approx(0.05**2, rel=1e-2)
    assert squared_norm(1e3) == pytest.approx(free, rel=1e-3)


def test_adagrad_leaves_the_rows_that_no_batch_touches_alone() -> None:
    """So that a step costs what its batch does, not what the tables hold."""
    spec = ModelSpec("tests.trainer.small_model.Sampled", {}, HISTORY)
    base = run([span(1)], spec=spec).state
    training = sequences([(3, [4, 5, 6], 0), (7, [5, 9], 0)])
    after = run([Span(2, training)], base=base, spec=spec).state
    for path, touched in {"item/embeddings": {0, 4, 5, 6, 9}, "key/embeddings": {3, 7}, "bias": {4, 5, 6, 9}}.items():
        untouched = [row for row in range(len(base.weights[path])) if row not in touched]
        assert after.weights[path][untouched].tobytes() == base.weights[path][untouched].tobytes()
        assert after.slots[path]["accumulator"][untouched].tobytes() == (
            base.slots[path]["accumulator"][untouched].tobytes()
        )
        for row in touched - {0}:
            assert (after.weights[path][row] != base.weights[path][row]).any()


@pytest.mark.parametrize("spec", [SPEC, TWO_TOWER], ids=["small", "two_tower"])
def test_the_held_out_loss_is_the_mean_over_positions_whatever_the_batches(spec: ModelSpec) -> None:
    model = run([span(1)], spec=spec).model
    watched = held_out(SIZES, 50, seed=5)
    one_batch = held_out_loss(model, watched, HISTORY)
    assert held_out_loss(model, watched, HISTORY, batch_size=7) == pytest.approx(one_batch, rel=1e-5)
    assert np.isnan(held_out_loss(model, NOTHING, HISTORY))


def note_traces(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows by one for each graph of the loss that is traced: whether it is for training."""
    traced: list[bool] = []
    compute_loss = Small.compute_loss

    def record_slot(self: Small, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        traced.append(training)
        return compute_loss(self, batch, training)

    monkeypatch.setattr(Small, "compute_loss", record_slot)
    return traced


def test_catching_up_traces_one_graph_for_all_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = note_traces(monkeypatch)
    run([span(1), span(2), span(3)], epochs=2)
    assert traced.count(True) == 1


def test_the_held_out_loss_is_traced_once_whatever_the_sizes_and_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = note_traces(monkeypatch)
    result = run([span(1)], watched=held_out(SIZES, 50, seed=5))
    held_out_loss(result.model, held_out(SIZES, 30, seed=6), HISTORY, batch_size=7)
    assert traced.count(False) == 1


def test_what_is_learned_from_nothing_may_take_more_epochs() -> None:
    nothing = {"watched": NOTHING, "epochs": 2, "cold_epochs": 5}
    cold = run([span(1), span(2)], **nothing)
    assert cold.epochs == 5 + 2
    assert run([span(3)], base=cold.state, **nothing).epochs == 2
    assert run([span(1)], watched=NOTHING, epochs=2).epochs == 2


@pytest.mark.parametrize("what", ["loss", "recall"])
def test_what_is_watched_is_the_mean_by_the_weights_of_the_held_out_events(what: Watch) -> None:
    model, watched = run([span(1)]).model, held_out(SIZES, 30, seed=5)
    weight = np.where(np.arange(30) % 3, np.arange(30.0), -1.0).astype(np.float32)
    weighted = dataclasses.replace(watched, weight=weight)

    def value(positions: Positions, by_weight: bool, batch_size: int = 7) -> float:
        return MonitoredMetric(model, positions, what, HISTORY, by_weight, batch_size).value()

    single = [value(watched.take(np.array([place])), False) for place in range(30)]
    assert value(weighted, True) == pytest.approx(np.average(single, weights=np.maximum(weight, 0)), rel=1e-5)
    assert value(watched, True) == pytest.approx(value(watched, False), rel=1e-6)
    if what == "recall":
        assert value(weighted, False) == value(watched, False), "of a model whose label the weight is"


def test_held_out_events_that_count_nothing_are_none() -> None:
    nothing = dataclasses.replace(held_out(SIZES, 5, seed=5), weight=np.zeros(5, np.float32))
    result = run([span(1)], watched=nothing, schedule=Schedule(within="plateau"), epochs=2)
    assert np.isnan(result.watched)
    assert result.epochs == 2


@pytest.mark.parametrize("spec", [SPEC, TWO_TOWER], ids=["small", "two_tower"])
def test_events_are_learned_from_and_replayed_by_their_weights(spec: ModelSpec) -> None:
    stability = Stability(replay=ReplaySettings(budget=100))
    states = []
    for weight in (1.0, 5.0):
        first = span(1)
        first.sequences.weights[::2] = weight
        learned = run([first], spec=spec, stability=stability)
        assert set(learned.memory.sequences.weights) == {1.0, weight}
        # The same model goes on with another memory.
        base = states[0] if states else learned.state
        second = update(
            spec, SIZES, [span(2)], held_out(SIZES, 15, seed=99), np.ones(SIZES.items),
            dataclasses.replace(POLICY, stability=stability), base, memory=learned.memory,
        )  # fmt: skip
        states += [learned.state, second.state]
    assert fingerprint(states[0]) != fingerprint(states[2]), "learned"
    assert fingerprint(states[1]) != fingerprint(states[3]), "replayed"
