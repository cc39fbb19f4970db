"""What is known of each item on a morning, and a rate that is learned from mornings."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from tests.trainer.features.small_catalogue import table
from trainer.features.launch_prior import LEAST, Belief, learned, rates
from trainer.features.launches import NEVER, Launches
from trainer.vocabulary import Vocabulary


def launches() -> Launches:
    """Row 2 has 3 events since span 4, row 3 one in span 6; 4 is listed alone, 5 is withdrawn, 6 is not listed."""
    items = Vocabulary.empty(1).grow(["a", "a"], 4, 1, 2.0).grow(["a", "b"], 6, 1, 2.0).admit(["c", "d"], 6)
    items = items.grow(["e"], 6, 1, 2.0)
    listed = {name: {"kind": "x", "withdrawn": name == "d"} for name in "abcd"}
    return Launches.of(table(listed, span=3), items, 2.0)


def test_it_takes_age_and_events_from_catalogue_and_vocabulary():
    of = launches()
    assert of.since.tolist() == [NEVER, NEVER, 3, 3, 3, 3, NEVER]
    assert of.first.tolist() == [NEVER, NEVER, 4, 6, NEVER, NEVER, 6]
    assert of.events.tolist() == [0, 0, 3, 1, 0, 0, 1]
    assert (of.span, of.following) == (6, 7)
    morning = of.morning(7)
    assert morning.there.tolist() == [False, False, True, True, True, False, True]
    assert morning.age.tolist()[2:5] == [3, 1, 4]
    assert of.exposure(morning)[3] == pytest.approx(1.0)
    assert of.exposure(morning)[2] == pytest.approx(1 + 0.5**0.5 + 0.5)
    assert of.memory == pytest.approx(sum(0.5 ** (age / 2) for age in range(200)))


def test_a_morning_before_does_not_know_what_came_later():
    of = launches()
    morning = of.morning(6, np.array([0, 0, 1, 1, 0, 0, 1]))
    assert morning.events.tolist() == [0, 0, 2, 0, 0, 0, 0]
    assert morning.age.tolist()[2:5] == [2, 3, 3]
    assert not morning.there[6], "an item that no delivery names is there once it has events"
    assert not of.morning(2, of.events).there.any()


def test_a_new_catalogue_knows_the_events_of_the_day_before_alone():
    before = launches()
    items = Vocabulary.empty(1).grow(["a", "a"], 4, 1, 2.0).grow(["a", "b"], 6, 1, 2.0).admit(["c", "d"], 6)
    items = items.grow(["e"], 6, 1, 2.0).grow(["b", "f"], 7, 1, 2.0)
    after = Launches.of(table({name: {"kind": "x"} for name in "abcdf"}, span=7), items, 2.0).known_by(before)
    assert after.events.tolist() == [*before.events.tolist(), 0]
    assert (after.first[-1], after.since[-1], after.span, after.following) == (NEVER, 7, 6, 7)
    assert after.morning(after.following).age[-1] == 0


def test_rates_come_to_what_kinds_got_and_move_less_the_more_is_known():
    random = np.random.default_rng(1)
    kind = random.integers(0, 2, 400)
    kinds = scipy.sparse.csr_matrix(np.stack([kind == 0, kind == 1], axis=1).astype(float))
    belief = Belief(np.zeros(2), np.full(2, LEAST))
    for _ in range(6):
        belief = learned(belief, kinds, random.poisson(np.where(kind == 0, 0.2, 3.0)))
    assert rates(kinds, belief.mean)[kind == 0][0] == pytest.approx(0.2, rel=0.25)
    assert rates(kinds, belief.mean)[kind == 1][0] == pytest.approx(3.0, rel=0.1)
    fresh = learned(Belief(np.zeros(2), np.full(2, LEAST)), kinds, np.zeros(400))
    after = learned(belief, kinds, np.zeros(400))
    assert rates(kinds, fresh.mean)[kind == 1][0] < rates(kinds, after.mean)[kind == 1][0] < 3.0
    nothing = learned(belief, kinds[:0], np.zeros(0))
    assert nothing.mean == pytest.approx(belief.mean)
    assert (nothing.precision < belief.precision).all(), "what was learned long ago counts less"
