"""An update that is broken off goes on with the last epoch that was kept, and ends with the very same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, SPEAKING
from trainer.checks.small_data import held_out, random_sequences
from trainer.distribution import ALONE, Distribution, OutOfStepError
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.resumption import FinishedEpochs, FinishedSpans, Progress
from trainer.settings import EwcSettings, ModelSpec, Policy, ReplaySettings, Schedule, Stability
from trainer.stability.base import PolicyError
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.update import Span, Update, update

SIZES = TableSizes(15, 10, 2)
SPANS = [Span(number, random_sequences(SIZES, 12, seed=number)) for number in (4, 5)]
POLICY = Policy(
    epochs=4,
    batch_size=16,
    patience=2,
    optimizer="adam",
    schedule=Schedule(within="plateau", factor=0.5, patience=1),
    stability=Stability(replay=ReplaySettings(budget=9), ewc=EwcSettings(strength=1.0, sample=20)),
)


class KilledError(Exception):
    """Stands for the end of the process."""


def run(distribution: Distribution, killed_after: tuple[int, int] | None = None) -> tuple[Update, list]:
    seen: list[tuple[int, int, float]] = []

    def on_epoch(span: int, epoch: int, watched: float) -> None:
        seen.append((span, epoch, watched))
        if (span, epoch) == killed_after:
            raise KilledError

    watched, popularity = held_out(SIZES, 6, seed=9), np.ones(SIZES.items)
    spec = ModelSpec(SPEAKING, {}, HISTORY)
    how = {"on_epoch": on_epoch, "distribution": distribution}
    try:
        return update(spec, SIZES, SPANS, watched, popularity, POLICY, **how), seen
    except KilledError:
        return None, seen


def on_this_device(folder: Path | None) -> Distribution:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    return Distribution(strategy, None if folder is None else Progress(folder, writes=True))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_was_broken_off_twice_ends_as_if_it_never_was(tmp_path: Path) -> None:
    whole, every = run(on_this_device(None))
    _, first = run(on_this_device(tmp_path), killed_after=(4, 3))
    _, second = run(on_this_device(tmp_path), killed_after=(5, 2))
    result, last = run(on_this_device(tmp_path))
    assert (first[-1], second[0], last[0]) == (every[2], every[2], every[len(first) - 1 + len(second) - 1])
    assert last[-1] == every[-1]
    np.testing.assert_equal(result.state.weights, whole.state.weights)
    np.testing.assert_equal(result.state.slots, whole.state.slots)
    np.testing.assert_equal(result.state.fisher, whole.state.fisher)
    assert np.array_equal(result.memory.sequences.items, whole.memory.sequences.items)
    same = ("examples", "epochs", "train_loss", "watched", "notes")
    assert [getattr(result, name) for name in same] == [getattr(whole, name) for name in same]
    again, none = run(on_this_device(tmp_path))  # the training was whole, what came after it was not
    assert none == []
    np.testing.assert_equal(again.state.weights, whole.state.weights)


@pytest.mark.parametrize("writes", [True, False])
def test_of_the_workers_the_chief_alone_writes_and_every_one_reads(tmp_path: Path, writes: bool) -> None:
    state = ModelState({"item": np.ones([15, 2], np.float32)}, {}, 7, SIZES, ())
    spans = FinishedSpans((4,), state, ReplayMemory.empty(0), {"epochs": 3})
    epochs = FinishedEpochs(5, 2, state, None, 0.25, 0, 0.5, 0.1, (1.0, 0.25, 0.0))
    progress = Progress(tmp_path, writes)
    progress.finish(spans)
    progress.keep(epochs)
    assert bool(list(tmp_path.iterdir())) == writes
    other = Progress(tmp_path, False)
    assert (other.finished is not None, other.epochs(5) is not None, other.epochs(6)) == (writes, writes, None)
    if writes:
        assert (other.finished.spans, other.finished.counters) == ((4,), {"epochs": 3})
        read = other.epochs(5)
        assert (read.epochs, read.best, read.watched, read.plateau) == (2, None, 0.25, (1.0, 0.25, 0.0))
        np.testing.assert_array_equal(read.state.weights["item"], state.weights["item"])


def test_a_worker_that_has_another_number_than_the_first_one_stops() -> None:
    distribution = on_this_device(None)
    assert distribution.agreed(0.1) == 0.1
    assert np.isnan(distribution.agreed(float("nan")))
    distribution.check_agreed(2**48 + 1, "job")
    distribution.agreed = lambda value: value + 1
    with pytest.raises(OutOfStepError, match=r"must go on with the same job\. Received: 3 here, 4 with the first"):
        distribution.check_agreed(3, "job")


def test_a_model_that_does_not_say_that_it_can_be_shared_is_refused() -> None:
    spec = ModelSpec("tests.trainer.small_model.Sampled", {}, HISTORY)
    with pytest.raises(PolicyError, match=r"a model that says `shares_steps`\. Received: Sampled\."):
        update(
            spec, SIZES, SPANS, SPANS[0].sequences.positions(), np.ones(15), POLICY, distribution=on_this_device(None)
        )


def test_alone_is_what_an_update_is_by_default() -> None:
    assert (ALONE.is_alone, ALONE.replicas, ALONE.agreed(0.1), ALONE.progress) == (True, 1, 0.1, None)
