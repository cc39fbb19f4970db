"""When what was tuned is published: seldom, and only if it is better on what was held out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.encoder_tuner.publication import publication

NAN = float("nan")


@pytest.mark.parametrize(
    ("span", "from_nothing", "since", "tried", "before", "after", "now", "reason"),
    [
        (9, True, 9, -1, 2.5, 2.25, True, "The model begins from nothing: held-out loss 2.2500, that of the present"),
        (9, True, 9, -1, 2.5, 2.5, False, "It is due and no better: held-out loss 2.5000, that of the present"),
        (9, True, 9, -1, NAN, NAN, False, "There are no held-out texts to compare it on."),
        (9, False, 3, 3, 2.5, 2.25, False, "Not due: the last revision is 6 back (every 7)."),
        (10, False, 3, 3, 2.5, 2.25, True, "It is due: held-out loss 2.2500, that of the present encoder 2.5000."),
        (10, False, 3, 9, 2.5, 2.25, False, "Not due: the last revision is 1 back, whose candidate is not in"),
        (16, False, 3, 9, 2.5, 2.25, True, "It is due"),
        (9, False, 9, -1, 2.5, 2.25, False, "Not due: the last revision is 0 back (every 7)."),
    ],
)  # fmt: skip
def test_the_rule(span, from_nothing, since, tried, before, after, now, reason):
    decided = publication(span, from_nothing, since, tried, 7, before, after)
    assert (decided.now, decided.reason[: len(reason)]) == (now, reason)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40), st.integers(1, 9))
def test_whatever_is_refused_everything_is_encoded_anew_once_in_so_many_spans_at_most(nights, every):
    since = tried = 0
    published = []
    for span, (better, refused) in enumerate(nights, start=1):
        if publication(span, False, since, tried, every, 2.0, 1.0 if better else 3.0).now:
            published.append(span)
            tried = span
            since = since if refused else span
    assert all(later - earlier >= every for earlier, later in itertools.pairwise(published))
