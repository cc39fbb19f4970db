"""How the verdict on one candidate changes the learning of the next: the rule, whatever the nights bring."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.update_decider.backoff import (
    NONE,
    NOT_WORSE,
    REFUSED,
    WORSE,
    Backoff,
    PastVerdict,
    in_words,
    next_backoff,
)
from trainer.backoff import UNCHANGED, Factors
from trainer.settings import AfterRefusal

RULES = AfterRefusal(rate=0.5, replay=2.0, epochs=1.0, max_refusals=2)
DAY = (datetime.date(2024, 5, 3) - datetime.date(1970, 1, 1)).days
HARD, SAYS_NOTHING = (REFUSED, WORSE), ""


def nights(lessons: Sequence[str], rules: AfterRefusal = RULES, from_nothing: bool = False) -> Backoff:
    """Fine-tuned candidates one after the other, each under what those before it leave."""
    backoff = NONE
    for number, lesson in enumerate(lessons):
        verdict = PastVerdict(DAY + number, from_nothing, lesson, "retention" if lesson else "", backoff)
        backoff = next_backoff(verdict, rules, dated=True)
    return backoff


@pytest.mark.parametrize(
    ("lessons", "level", "reason"),
    [
        ([], 0, ""),
        ([NOT_WORSE], 0, ""),
        ([REFUSED], 1, "2024-05-03 was refused, retention"),
        ([WORSE], 1, "2024-05-03 was blessed, but retention"),
        ([REFUSED, REFUSED], 2, "2024-05-04 was refused, retention"),
        ([REFUSED, REFUSED, REFUSED], 2, "2024-05-05 was refused, retention"),
        ([REFUSED, NOT_WORSE], 0, ""),
        ([REFUSED, REFUSED, NOT_WORSE], 1, "2024-05-04 was refused, retention"),
        ([REFUSED, SAYS_NOTHING], 1, "2024-05-03 was refused, retention"),
        ([REFUSED, REFUSED, NOT_WORSE, SAYS_NOTHING, NOT_WORSE], 0, ""),
    ],
)
def test_the_rule(lessons: list[str], level: int, reason: str) -> None:
    assert nights(lessons) == Backoff(level, reason)


@pytest.mark.parametrize(("lesson", "level"), [(REFUSED, 2), (SAYS_NOTHING, 2), (WORSE, 0), (NOT_WORSE, 0)])
def test_a_model_from_fresh_weights_begins_anew_if_it_is_blessed(lesson: str, level: int) -> None:
    standing = Backoff(2, "2024-05-02 was refused, retention")
    verdict = PastVerdict(DAY, True, lesson, "", standing)
    assert next_backoff(verdict, RULES, dated=True) == (standing if level else NONE)


def test_numbered_spans_are_named_by_their_numbers() -> None:
    verdict = PastVerdict(42, False, REFUSED, "below a floor", NONE)
    assert next_backoff(verdict, RULES, dated=False).reason == "42 was refused, below a floor"


def test_a_verdict_from_before_the_rule_says_nothing() -> None:
    assert next_backoff(PastVerdict.of({"span": 7, "pushed": 0}), RULES, dated=True) == NONE


@pytest.mark.parametrize("rules", [AfterRefusal(max_refusals=0), AfterRefusal(rate=1, replay=1, epochs=1)])
def test_it_can_be_switched_off(rules: AfterRefusal) -> None:
    assert nights([REFUSED] * 4, rules) == NONE


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        (Factors(0.5, 2.0, 1.0), "learns at half the rate with twice the replay: Why"),
        (Factors(0.25, 1.0, 0.5), "learns at a quarter of the rate for half the epochs: Why"),
        (Factors(0.7, 3.0, 1.0), "learns at 0.7 times the rate with 3 times the replay: Why"),
        (UNCHANGED, ""),
    ],
)
def test_a_sentence_says_what_is_changed_and_why(factors: Factors, words: str) -> None:
    assert in_words(Backoff(1, "Why"), factors) == words


all_lessons = st.lists(st.sampled_from([REFUSED, WORSE, NOT_WORSE, SAYS_NOTHING]), max_size=20)
all_rules = st.builds(
    AfterRefusal,
    rate=st.floats(0.1, 1),
    replay=st.floats(1, 9),
    epochs=st.floats(0.1, 1),
    max_refusals=st.integers(0, 5),
)


@given(all_lessons, all_rules)
def test_no_factor_goes_beyond_what_the_settings_allow(lessons: list[str], rules: AfterRefusal) -> None:
    factors = nights(lessons, rules).factors(rules)
    assert rules.rate**rules.max_refusals <= factors.rate <= 1
    assert 1 <= factors.replay <= rules.replay**rules.max_refusals
    assert rules.epochs**rules.max_refusals <= factors.epochs <= 1


@given(all_lessons, all_rules)
def test_after_as_many_successes_as_refusals_count_it_learns_as_the_settings_say(
    lessons: list[str], rules: AfterRefusal
) -> None:
    assert nights([*lessons, *[NOT_WORSE] * rules.max_refusals], rules) == NONE


@given(all_lessons, all_rules, st.sampled_from(HARD))
def test_a_refusal_never_makes_it_bolder_nor_a_success_more_careful(
    lessons: list[str], rules: AfterRefusal, hard: str
) -> None:
    before, after_refusal, after_success = (
        nights([*lessons, *more], rules).factors(rules) for more in ([], [hard], [NOT_WORSE])
    )
    assert after_refusal.rate <= before.rate <= after_success.rate
    assert after_refusal.replay >= before.replay >= after_success.replay
    assert after_refusal.epochs <= before.epochs <= after_success.epochs


@given(all_lessons, all_rules)
def test_what_says_nothing_changes_nothing(lessons: list[str], rules: AfterRefusal) -> None:
    assert nights([*lessons, SAYS_NOTHING], rules) == nights(lessons, rules)
