"""The maintenance policy: what is decided from which figures, and that it is decided from nothing else."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.update_decider.decision import DecisionError, decide
from components.update_decider.limit_checks import findings
from components.update_decider.policy import DriftRule, Limit, RetrainCalendar, Signals, UpdatePolicy
from tests.components.plain_settings import update_policy
from trainer.settings import AfterRefusal

CALM = {
    "span": 100,
    "champion_span": 99,
    "past": list(range(80, 100)),
    "new_events": 500,
    "held_out": 50,
    "min_held_out": 20,
    "max_owed": 5,
    "retrain_spans": 3,
}
BAND = (0.20, 0.22, 0.18, 0.21, 0.19)  # a mean of 0.2, a standard deviation of 0.0158
LIMITS = update_policy(
    next_span=Limit(1.0, 3.0),
    drift=(DriftRule("item", "jensen_shannon", Limit(0.2, 0.5)),),
    retention=Limit(0.02, 0.1),
    new_items=Limit(0.2, 0.5),
    new_keys=Limit(0.3, 0.6),
)
QUIET = Signals(
    next_span=0.2,
    past_next_span=BAND,
    drift=(("item", "jensen_shannon", 0.1),),
    retention=((0.15, 0.16),),
    new_items=0.05,
    new_keys=0.1,
    retrained=90,
    tried=90,
)


def decided(rules: UpdatePolicy = LIMITS, signals: Signals = QUIET, **changed: object):
    return decide(**{**CALM, **changed}, rules=rules, signals=signals)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"next_span": 0.15},
            "Next-span recall 0.1500 is 3.2 standard deviations below the mean 0.2000 of the last 5 spans "
            "(policy.next_span retrain 3).",
        ),
        (
            {"drift": (("item", "jensen_shannon", 0.5),)},
            "`item` is 0.500 (Jensen-Shannon) from the nearest of the spans before (policy.drift retrain 0.5).",
        ),
        (
            {"retention": ((0.1, 0.2), (0.1, 0.3))},
            "Recall on the held-out events of 2 older spans is 0.1000, 0.2500 when they were new "
            "(policy.retention retrain 0.1).",
        ),
        ({"new_items": 0.512}, "51.2% of the items are new (policy.new_items retrain 0.5)."),
        ({"new_keys": 0.6}, "60.0% of the keys are new (policy.new_keys retrain 0.6)."),
        (
            {"new_items": 0.6, "new_keys": 0.7},
            "60.0% of the items are new (policy.new_items retrain 0.5); 70.0% of the keys are new "
            "(policy.new_keys retrain 0.6).",
        ),
    ],
)
def test_a_limit_that_is_reached_calls_for_a_full_retrain_and_the_reason_says_the_numbers(changed, sentence):
    decision = decided(signals=dataclasses.replace(QUIET, **changed))
    assert (decision.action, decision.reason, decision.train_on) == ("retrain", sentence, (98, 99, 100))


def test_below_its_limits_a_span_is_fine_tuned_on_and_the_reason_says_the_numbers():
    decision = decided()
    assert (decision.action, decision.train_on) == ("fine_tune", (100,))
    for part in ("every earlier span. Next-span recall 0.2000 is 0.0", "`item` is 0.100", "0.1500, 0.1600", "5.0%"):
        assert part in decision.reason


def test_of_an_error_more_is_worse():
    rules = update_policy(metric="rmse", lower_is_better=True, next_span=Limit(None, 3.0), retention=Limit(None, 0.1))
    assert decided(rules, Signals(0.25, BAND)).action == "retrain"
    assert decided(rules, Signals(0.15, BAND)).action == "fine_tune"
    assert decided(rules, Signals(retention=((0.3, 0.15),))).action == "retrain"
    assert decided(rules, Signals(retention=((0.15, 0.3),))).action == "fine_tune"


def test_the_band_is_of_the_last_spans_and_needs_enough_of_them():
    rules = update_policy(next_span=Limit(None, 3.0), next_span_spans=5, next_span_least=4)
    assert decided(rules, Signals(0.15, (9.0, 0.0, *BAND))).action == "retrain", "older figures count no more"
    assert decided(rules, Signals(0.15, BAND[:3])).action == "fine_tune"
    assert "3 earlier spans to be compared with" in decided(rules, Signals(0.15, BAND[:3])).reason


def test_a_band_without_width_is_left_by_any_fall_but_not_by_rounding():
    rules = update_policy(next_span=Limit(None, 3.0))
    assert decided(rules, Signals(0.1, (0.2,) * 5)).action == "retrain"
    assert "below an unvarying mean 0.2000" in decided(rules, Signals(0.1, (0.2,) * 5)).reason
    for value in (0.2, 0.1 + 0.1, 0.3, 0.2 - 1e-16):
        assert decided(rules, Signals(value, (0.2,) * 5)).action == "fine_tune"


# Rest: what is left for later.


def test_a_calm_span_is_left_for_later_until_enough_are_owed():
    rules = dataclasses.replace(LIMITS, rest_spans=2)
    first = decided(rules)
    assert (first.action, first.train_on) == ("skip", ())
    assert "Nothing calls for an update." in first.reason
    assert "0 of at most 2 are (policy.rest_spans)" in first.reason
    assert decided(rules, champion_span=98).action == "skip"
    third = decided(rules, champion_span=97)
    assert (third.action, third.train_on) == ("fine_tune", (98, 99, 100))


@pytest.mark.parametrize(
    "changed",
    [
        {"next_span": 0.18},
        {"drift": (("item", "jensen_shannon", 0.3),)},
        {"retention": ((0.1, 0.15),)},
        {"new_items": 0.3},
        {"new_keys": 0.4},
        {"new_keys": None},
        {"past_next_span": ()},
        {"drift": ()},
    ],
)
def test_what_reaches_a_limit_or_can_not_be_measured_is_not_left_for_later(changed):
    rules = dataclasses.replace(LIMITS, rest_spans=2)
    assert decided(rules, dataclasses.replace(QUIET, **changed)).action == "fine_tune"


def test_without_limits_every_third_span_is_learned_together_with_the_two_before():
    rules, champion, actions = update_policy(rest_spans=2), 99, []
    for span in range(100, 109):
        situation = {**CALM, "span": span, "past": list(range(80, span)), "champion_span": champion}
        decision = decide(**situation, rules=rules)
        actions.append(len(decision.train_on))
        champion = span if decision.train_on else champion
    assert actions == [0, 0, 3] * 3


# Full retrains: the schedule, the age, the time between two.


@pytest.mark.parametrize(
    ("span", "tried", "due"),
    [(96, 95, False), (97, 96, True), (98, 97, False), (98, 96, True), (110, 97, False), (111, 97, True)],
)
def test_the_schedule_is_kept_and_a_date_that_fell_out_is_made_up_for(span, tried, due):
    rules = update_policy(schedule=RetrainCalendar(start=13, period=14, text="every 2nd Sunday"))
    signals = Signals(retrained=60, tried=tried)
    decision = decide(**{**CALM, "span": span, "past": [span - 2, span - 1], "champion_span": span - 1},
                      rules=rules, signals=signals)  # fmt: skip
    assert decision.action == ("retrain" if due else "fine_tune")
    if due:
        late = ", 1 day late" if span == 98 else ""
        assert decision.reason == f"A full retrain is due by the schedule (every 2nd Sunday{late})."


def test_the_age_of_the_last_full_retrain_makes_the_next_one_due():
    rules = update_policy(max_age=28)
    assert decided(rules, Signals(retrained=73)).action == "fine_tune"
    old = decided(rules, Signals(retrained=72))
    assert (old.action, old.reason) == ("retrain", "The last full retrain was 28 days ago (policy.max_age 28).")
    assert decided(dataclasses.replace(rules, unit="span"), Signals(retrained=60)).reason.startswith(
        "The last full retrain was 40 spans ago"
    )
    assert decided(rules, Signals()).action == "fine_tune", "an age that is not known is no reason"


@pytest.mark.parametrize("limit", [{"new_items": Limit(None, 0.5)}, {"max_age": 10}])
def test_after_a_full_retrain_that_was_tried_none_follows_for_a_while(limit):
    rules = update_policy(cooldown=3, **limit)
    signals = Signals(new_items=0.9, retrained=50)
    assert decided(rules, dataclasses.replace(signals, tried=96)).action == "retrain"
    waits = decided(rules, dataclasses.replace(signals, tried=97))
    assert waits.action == "fine_tune"
    assert "was tried 3 days ago and is not tried again yet (policy.cooldown 3)" in waits.reason
    assert decided(rules, dataclasses.replace(signals, tried=97), champion_span=90).action == "retrain", "owed spans"


# The user overrules.


@pytest.mark.parametrize(
    ("override", "changed", "action", "train_on"),
    [
        ("skip", {}, "skip", ()),
        ("retrain", {}, "retrain", (98, 99, 100)),
        ("fine_tune", {"champion_span": 97}, "fine_tune", (98, 99, 100)),
        ("fine_tune", {"champion_span": 80}, "fine_tune", tuple(range(81, 101))),
        ("retrain", {"champion_span": None}, "cold_start", (98, 99, 100)),
        ("retrain", {"held_out": 3}, "retrain", (98, 99, 100)),
    ],
)
def test_the_user_overrules_and_what_the_policy_said_is_kept(override, changed, action, train_on):
    own = decided(**changed)
    decision = decided(override=override, **changed)
    assert (decision.action, decision.train_on, decision.overruled) == (action, train_on, own.action)
    assert "because the user asked for it" in decision.reason
    assert decision.reason.endswith(own.reason)


def test_what_can_not_be_done_is_refused():
    with pytest.raises(DecisionError, match="must have a model to start from"):
        decided(override="fine_tune", champion_span=None)
    with pytest.raises(DecisionError, match="`--decide retrain` must have held-out events"):
        decided(override="retrain", held_out=0)
    assert decided(override="skip", held_out=0).action == "skip"


def test_drift_is_told_apart_from_other_reasons():
    assert decided().drift == ""
    assert decided(signals=dataclasses.replace(QUIET, new_items=0.9)).drift == ""
    near, far = (dataclasses.replace(QUIET, drift=(("item", "jensen_shannon", value),)) for value in (0.3, 0.7))
    assert "0.300" in decided(signals=near).drift
    assert decided(signals=far).drift == decided(signals=far, override="skip").drift != ""
    assert decided(signals=dataclasses.replace(QUIET, drift=())).drift == "", "unknown is not drifted"


def test_rules_travel_as_text():
    rules = dataclasses.replace(LIMITS, schedule=RetrainCalendar(3, 28, "every 4th Sunday"), max_age=9, rest_spans=1)
    assert UpdatePolicy.from_json(rules.to_json()) == rules
    assert UpdatePolicy.from_json(update_policy().to_json()) == update_policy()


# What holds for all figures.

figures = st.floats(0, 1, allow_nan=False)
limits = st.builds(Limit, st.none() | figures, st.none() | figures)
all_signals = st.builds(
    Signals,
    next_span=st.none() | figures,
    past_next_span=st.lists(figures, max_size=20).map(tuple),
    drift=st.lists(st.tuples(st.just("item"), st.just("jensen_shannon"), figures), max_size=1).map(tuple),
    retention=st.lists(st.tuples(figures, figures), max_size=3).map(tuple),
    new_items=st.none() | figures,
    new_keys=st.none() | figures,
    retrained=st.none() | st.integers(0, 100),
    tried=st.none() | st.integers(0, 100),
)
all_rules = st.builds(
    UpdatePolicy,
    lower_is_better=st.booleans(),
    rest_spans=st.integers(0, 4),
    cooldown=st.integers(0, 9),
    max_age=st.none() | st.integers(1, 60),
    next_span=limits,
    drift=st.lists(st.builds(DriftRule, st.just("item"), st.just("jensen_shannon"), limits), max_size=1).map(tuple),
    retention=limits,
    new_items=limits,
    new_keys=limits,
    schedule=st.none() | st.builds(RetrainCalendar, st.integers(0, 30), st.integers(1, 40), st.just("now and then")),
    after_refusal=st.builds(AfterRefusal, max_refusals=st.integers(0, 3)),
)
situations = st.fixed_dictionaries(
    {
        "span": st.just(100),
        "champion_span": st.none() | st.integers(70, 99),
        "past": st.sets(st.integers(80, 99)).map(sorted),
        "new_events": st.integers(0, 50),
        "held_out": st.integers(0, 50),
        "min_held_out": st.integers(0, 30),
        "max_owed": st.integers(0, 20),
        "retrain_spans": st.integers(1, 30),
    }
)


@given(situations, all_signals)
def test_a_policy_without_limits_decides_as_there_was_none(situation, signals):
    plain, policy = (
        decide(**situation, rules=update_policy()),
        decide(**situation, rules=update_policy(), signals=signals),
    )
    assert policy == plain


@given(situations, all_rules)
def test_without_a_figure_the_decision_is_that_without_a_policy(situation, rules):
    unmeasured = dataclasses.replace(rules, schedule=None, max_age=None, rest_spans=0)
    assert decide(**situation, rules=unmeasured).action == decide(**situation, rules=update_policy()).action
    assert decide(**situation, rules=unmeasured).train_on == decide(**situation, rules=update_policy()).train_on


@given(situations, all_rules, all_signals)
def test_the_decision_depends_on_its_arguments_alone(situation, rules, signals):
    first = decide(**situation, rules=rules, signals=signals)
    again = UpdatePolicy.from_json(rules.to_json())
    assert decide(**situation, rules=again, signals=dataclasses.replace(signals)) == first


@given(situations, all_rules, all_signals)
def test_every_decision_can_be_carried_out(situation, rules, signals):
    decision = decide(**situation, rules=rules, signals=signals)
    past, champion = situation["past"], situation["champion_span"]
    owed = [past_span for past_span in past if champion is not None and past_span > champion]
    assert decision.reason.endswith(".")
    if decision.action == "skip":
        assert not decision.train_on
    elif decision.action == "fine_tune":
        assert champion is not None
        assert list(decision.train_on) == [*owed, 100], "nothing that is owed may be left out"
        assert len(owed) <= situation["max_owed"]
    else:
        assert list(decision.train_on) == [*past, 100][-situation["retrain_spans"] :]
        assert (champion is None) == (decision.action == "cold_start")
    if situation["held_out"] < situation["min_held_out"]:
        assert decision.action == "skip", "no candidate without events to judge it by"


@given(situations, all_rules, all_signals, figures, figures)
def test_more_drift_never_calls_for_less(situation, rules, signals, near, other):
    order = {"skip": 0, "fine_tune": 1, "cold_start": 2, "retrain": 2}
    drifted = [dataclasses.replace(signals, drift=(("item", "jensen_shannon", far),)) for far in sorted((near, other))]
    less, more = (decide(**situation, rules=rules, signals=signals_of) for signals_of in drifted)
    assert order[less.action] <= order[more.action]


@given(all_rules, all_signals)
def test_every_figure_is_finite_or_beyond_every_limit(rules, signals):
    for finding in findings(rules, signals):
        assert finding.value is None or not math.isnan(finding.value)
        assert "nan" not in finding.text
