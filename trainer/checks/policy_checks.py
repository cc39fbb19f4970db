"""What a policy must do, whichever parts it is made of."""

from __future__ import annotations

import dataclasses
import fnmatch
import tempfile
from pathlib import Path

import numpy as np

from trainer.checks.expectation import expect, expect_close, expect_finite
from trainer.checks.policy_case import DAYS, EMPTY, ONLY_NEW_ITEMS, PolicyCase, day
from trainer.checks.recommender_case import arrays_of, spec_of
from trainer.early_stopping import TrainingError
from trainer.models.base import table_of
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import Arrays, ModelState
from trainer.update import Update, rebuild

_WHOLE = "What it has learned or counted must be in variables, nowhere else."
_SEEDED = "Whatever a part draws must follow from the policy's seed and the span's number."


def check_a_second_span_goes_on_where_the_first_ended(case: PolicyCase) -> None:
    """Steps and learned spans add up, and old rows learn on."""
    first, second = case.first.state, case.second.state
    expect(
        second.learned == (0, 1) and second.iterations > first.iterations and case.second.examples > 0,
        "A second span must be learned on top of the first.",
        f"spans {second.learned} learned in {second.iterations} steps, {first.iterations} of them the day before",
        "Start from `base`.",
    )
    expect(
        any(np.any(_of_old_rows(second, first, path) != first.weights[path]) for path in _learned(case)),
        "A second span must change what was learned from the first.",
        "the same weights",
        "Look at the learning rate, and at what is frozen.",
    )
    _expect_finite_state(second)


def check_tables_grow_with_the_vocabulary(case: PolicyCase) -> None:
    """And their optimizer slots with them."""
    state = case.second.state
    expect(
        state.sizes == DAYS[1],
        "A state must have the day's table sizes.",
        f"{state.sizes} for {DAYS[1]}",
        "Take `sizes`.",
    )
    for path, values in state.weights.items():
        if table := table_of(case.second.model, path):
            rows = {len(values), *(len(slot) for slot in state.slots.get(path, {}).values())}
            expect(
                rows == {getattr(DAYS[1], table)},
                f"`{path}` and its slots must have a row for each of {table}.",
                f"{sorted(rows)} rows for {getattr(DAYS[1], table)}",
                "Carry it by a warm start.",
            )


def check_an_empty_span_changes_nothing(case: PolicyCase) -> None:
    """Neither a weight nor a slot nor the memory."""
    before, after = case.second, case.run({2: EMPTY}, case.second)
    expect(
        (after.state.learned, after.examples, after.epochs) == ((0, 1, 2), 0, 0),
        "A span without events must count as learned, and cost nothing.",
        f"spans {after.state.learned} learned, {after.examples} examples in {after.epochs} epochs",
        "Take no step without an event.",
    )
    rule = "A span without events must change neither a weight nor a slot nor the memory."
    learned = dataclasses.replace(
        before.state, weights={path: before.state.weights[path] for path in before.state.slots}
    )
    _expect_same(arrays_of(learned), arrays_of(after.state), rule)  # what is told or counted may change
    _expect_same(_memory_arrays(before.memory), _memory_arrays(after.memory), rule)


def check_new_items_are_learned_and_nothing_is_remembered_twice(case: PolicyCase) -> None:
    """From a span of nothing but new items, beside one that is delivered again; the state is the whole model."""
    after = case.run({0: day(0), 1: ONLY_NEW_ITEMS}, case.first)
    _expect_finite_state(after.state)
    untrained = case.run({1: EMPTY}, case.first).state.weights
    tables = [path for path in _learned(case) if table_of(after.model, path) == "items"]
    moved = [after.state.weights[path][DAYS[0].items :] != untrained[path][DAYS[0].items :] for path in tables]
    expect(
        not tables or np.any([table.reshape(len(table), -1).any(axis=1) for table in moved], axis=0).all(),
        "Every new item of a span must be learned.",
        "rows as the warm start left them",
        "Look at the learning rate, and at what is frozen.",
    )
    held = list(zip(after.memory.span.tolist(), after.memory.draw.tolist(), strict=True))
    expect(
        len(set(held)) == len(held) <= after.memory.budget,
        "The memory must hold each sequence once, and no more than its budget.",
        f"{len(held)} sequences, {len(set(held))} of them different, for a budget of {after.memory.budget}",
        "A span that comes again replaces what is remembered of it.",
    )
    keys, histories = np.array([2, 5, 9]), np.array([[0, 0, 0, 3, 4, 5], [0, 0, 0, 0, 0, 14], [0] * 6])
    scores = after.model.score_all(keys, histories).numpy()
    expect_finite(scores, "Every score must be finite.", "Look at what rows that are new start from.")
    again = rebuild(spec_of(case.model, case.params), after.state).score_all(keys, histories).numpy()
    expect_close(again, scores, "A model must score the same when it is built again from its state.", _WHOLE, rtol=0)


def check_saved_and_loaded_the_same_seed_gives_the_same_result(case: PolicyCase) -> None:
    """From files, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        save(case.first, Path(folder))
        loaded = load(Path(folder))
    expect_same_update(case.second, case.run({1: day(1)}, loaded))


def check_weights_that_are_not_finite_are_refused(case: PolicyCase) -> None:
    """Before anything is trained."""
    for value in (np.nan, np.inf):
        span = day(1)
        span.weights[3] = value
        try:
            case.run({1: span}, case.first)
        except TrainingError as error:
            expect(
                "span 1" in str(error), "A refusal must name the span.", str(error), "Say in which span the weight is."
            )
        else:
            expect(False, "An event's weight that is not finite must be refused.", f"{value} taken", "Check it first.")


def expect_same_update(expected: Update, received: Update | tuple[ModelState, ReplayMemory]) -> None:
    """Nothing if the states and memories are the same, bit for bit.

    Raises:
      CheckError: they are not.
    """
    state, memory = received if isinstance(received, tuple) else (received.state, received.memory)
    rule = "The same seed must give the same result."
    bare, other = (dataclasses.replace(each, weights={}, slots={}, fisher={}) for each in (expected.state, state))
    expect(bare == other, rule, f"{other} instead of {bare}", _SEEDED)
    _expect_same(arrays_of(expected.state), arrays_of(state), rule)
    _expect_same(_memory_arrays(expected.memory), _memory_arrays(memory), rule)


def save(result: Update, folder: Path) -> None:
    """Writes what the next update needs."""
    result.state.save(folder / "state")
    result.memory.save(folder / "memory.npz")


def load(folder: Path) -> tuple[ModelState, ReplayMemory]:
    """Reads what `save` wrote."""
    return ModelState.load(folder / "state"), ReplayMemory.load(folder / "memory.npz")


def _expect_same(expected: Arrays, received: Arrays, rule: str) -> None:
    for name, values in expected.items():
        expect_close(received[name], values, f"{rule} `{name}` differs.", _SEEDED, rtol=0)


def _expect_finite_state(state: ModelState) -> None:
    for path, values in arrays_of(state).items():
        expect_finite(values, f"Every weight and slot must be finite; `{path}` is not.", "Look at the learning rate.")


def _memory_arrays(memory: ReplayMemory) -> Arrays:
    columns = dataclasses.asdict(memory.sequences)
    columns |= columns.pop("query_features")
    return {"budget": np.array(memory.budget), "span": memory.span, "draw": memory.draw, **columns}


def _learned(case: PolicyCase) -> list[str]:
    """Paths of the variables that the policy trains."""
    patterns = case.policy.stability.partial.freeze
    return [path for path in case.first.state.slots if not any(fnmatch.fnmatchcase(path, p) for p in patterns)]


def _of_old_rows(state: ModelState, base: ModelState, path: str) -> np.ndarray:
    values = state.weights[path]
    return values[: len(base.weights[path])] if values.ndim else values


ALL = (
    check_a_second_span_goes_on_where_the_first_ended,
    check_tables_grow_with_the_vocabulary,
    check_an_empty_span_changes_nothing,
    check_new_items_are_learned_and_nothing_is_remembered_twice,
    check_saved_and_loaded_the_same_seed_gives_the_same_result,
    check_weights_that_are_not_finite_are_refused,
)
