"""Each check of a policy catches a learner that does not keep to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from trainer.checks import CheckError, PolicyCase, check_policy, policy_checks
from trainer.input_pipeline import Sequences
from trainer.settings import Policy, ReplaySettings, Stability
from trainer.stability.selection import reservoir
from trainer.update import Update

POLICY = Policy(epochs=1, batch_size=8, stability=Stability(replay=ReplaySettings(budget=8)))
Spoil = Callable[[Update, dict[int, Sequences], PolicyCase], Update]


@dataclasses.dataclass(frozen=True)
class Spoiled(PolicyCase):
    """A learner whose every update is spoiled."""

    spoil: Spoil = lambda result, spans, case: result

    def run(self, spans, before):
        return self.spoil(super().run(spans, before), spans, self)


def starts_again(result, spans, case):
    return dataclasses.replace(result, state=dataclasses.replace(result.state, learned=tuple(spans)))


def learns_nothing_more(result, spans, case):
    state = result.state
    if 1 in spans:
        weights = {path: case.first.state.weights.get(path, values) for path, values in state.weights.items()}
        state = dataclasses.replace(state, weights=weights)
    return dataclasses.replace(result, state=state)


def breaks_a_weight(result, spans, case):
    return _with_items(result, lambda values: values * np.nan) if 1 in spans else result


def grows_nothing(result, spans, case):
    return _with_items(result, lambda values: values[:12])


def changes_on_an_empty_span(result, spans, case):
    return _with_items(result, lambda values: values + 1.0) if 2 in spans else result


def forgets_on_an_empty_span(result, spans, case):
    return dataclasses.replace(result, memory=result.memory.resized(1, reservoir)) if 2 in spans else result


def remembers_twice(result, spans, case):
    memory = result.memory
    twice = dataclasses.replace(memory, span=np.repeat(memory.span[:1], 8), draw=np.repeat(memory.draw[:1], 8))
    return dataclasses.replace(result, memory=twice) if 0 in spans else result


def saves_half(result, spans, case):
    return _with_items(result, np.round) if 0 in spans else result


def draws_anew(result, spans, case):
    return _with_items(result, lambda values: values + np.random.default_rng().random(values.shape, np.float32))


def _with_items(result: Update, change: Callable[[np.ndarray], np.ndarray]) -> Update:
    weights = {**result.state.weights, "item/embeddings": change(result.state.weights["item/embeddings"])}
    return dataclasses.replace(result, state=dataclasses.replace(result.state, weights=weights))


SPOILED = {
    "a_second_span_goes_on_where_the_first_ended": [
        (starts_again, r"on top of the first. Received: spans \(1,\) learned"),
        (learns_nothing_more, "must change what was learned from the first"),
        (breaks_a_weight, "Every weight and slot must be finite; `item/embeddings`"),
    ],
    "tables_grow_with_the_vocabulary": [(grows_nothing, r"a row for each of items. Received: \[12, 15\] rows for 15")],
    "an_empty_span_changes_nothing": [
        (changes_on_an_empty_span, "neither a weight nor a slot.*`item/embeddings` differs"),
        (forgets_on_an_empty_span, "nor the memory. `budget` differs"),
    ],
    "new_items_are_learned_and_nothing_is_remembered_twice": [
        (remembers_twice, "8 sequences, 1 of them different"),
        (saves_half, "built again from its state"),
    ],
    "saved_and_loaded_the_same_seed_gives_the_same_result": [(draws_anew, "same seed must give the same result")],
}
CHECKS = {check.__name__.removeprefix("check_"): check for check in policy_checks()}


@pytest.mark.parametrize(
    ("name", "spoil", "words"), [(name, *pair) for name, pairs in SPOILED.items() for pair in pairs]
)
def test_a_learner_that_breaks_the_contract_is_caught(name, spoil, words):
    case = Spoiled(POLICY, "tests.trainer.small_model.Small", spoil=spoil)
    with pytest.raises(CheckError, match=f"(?s){words}"):
        CHECKS[name](case)


def test_new_items_that_are_not_learned_are_caught():
    case = PolicyCase(dataclasses.replace(POLICY, learning_rate=1e-30), "tests.trainer.small_model.Small")
    with pytest.raises(CheckError, match="Every new item of a span must be learned"):
        CHECKS["new_items_are_learned_and_nothing_is_remembered_twice"](case)


def test_weights_that_are_trained_on_although_not_finite_are_caught(monkeypatch):
    monkeypatch.setattr("trainer.update._check_finite", lambda spans: None)
    monkeypatch.setattr("trainer.early_stopping.EarlyStopping._check_finite", lambda self, loss, where: None)
    case = PolicyCase(POLICY, "tests.trainer.small_model.Small")
    with pytest.raises(CheckError, match=r"that is not finite must be refused. Received: nan taken"):
        CHECKS["weights_that_are_not_finite_are_refused"](case)


def test_every_check_has_a_learner_that_it_catches():
    assert {*SPOILED, "weights_that_are_not_finite_are_refused"} == CHECKS.keys()


def test_a_policy_is_checked_with_a_built_in_model_unless_another_is_given():
    check_policy(Policy(epochs=1), params={"dimension": 4, "neighbours": 4})
