"""What a verdict says of how the candidate was learned."""

from __future__ import annotations

import pytest

from components.paired_comparison.judgement import OVERALL, Judgement, judge
from components.paired_comparison.lesson import lesson_of
from components.update_decider.backoff import NOT_WORSE, REFUSED, WORSE
from tests.components.paired_comparison.test_judgement import RULES, differences
from tests.components.plain_settings import gate_rules

LITTLE = gate_rules(max_drop=RULES.max_drop, refuse_little=True)
LAX = gate_rules(max_drop={OVERALL: {"recall": 0.5}})


@pytest.mark.parametrize(
    ("judgement", "floor", "lesson"),
    [
        (judge(RULES, differences(0.0)), False, (NOT_WORSE, "")),
        (judge(RULES, differences(-0.05)), False, (REFUSED, "worse than the champion")),
        (
            judge(RULES, differences(0.0), retention=differences(-0.2), unlearned={"recall": -0.1}),
            False,
            (REFUSED, "retention"),
        ),
        (judge(RULES, differences(0.0), [differences(-0.2)]), False, (REFUSED, "worse than the anchor")),
        (judge(RULES, differences(-0.05)), True, (REFUSED, "worse than the champion and below a floor")),
        (judge(LAX, differences(-0.1)), False, (WORSE, "worse by the bound")),
        (judge(LAX, differences(-0.1, events=30)), False, (NOT_WORSE, "")),
        (judge(LITTLE, differences(-0.05, events=40)), False, ("", "")),
    ],
)
def test_what_was_refused_for_its_learning_or_worse_by_the_bound_says_so(judgement, floor, lesson) -> None:
    blessed = not judgement.refused and not floor
    assert lesson_of(judgement, blessed, floor, RULES.min_events) == lesson


def test_a_floor_alone_is_a_refusal_and_nothing_to_judge_by_is_none() -> None:
    assert lesson_of(Judgement(), False, True, 10) == (REFUSED, "below a floor")
    assert lesson_of(Judgement(), False, False, 10) == ("", "")
    assert lesson_of(Judgement(), True, False, 10) == (NOT_WORSE, ""), "a cold start has nothing to be worse than"
