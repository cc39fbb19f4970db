"""Each baseline gives the order that a few lines over the raw log give, however the log is cut into spans."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest.baselines.base import Baseline, Scores
from pipeline.backtest.baselines.cooccurrence import Cooccurrence
from pipeline.backtest.baselines.half_life import HalfLifePopularity
from pipeline.backtest.baselines.item_pairs import REACH
from pipeline.backtest.baselines.most_popular import MostPopular
from pipeline.backtest.baselines.own_items import OwnItems
from pipeline.backtest.baselines.ranks import ranks
from pipeline.backtest.baselines.sequential_rules import SequentialRules
from pipeline.backtest.baselines.v_sknn import VSkNN
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import tf
from trainer.metrics import mask_scores, rank_of

ITEMS, FIRST_ROW, LENGTH, DAY = 12, 2, 4, 86_400_000
HALF_LIFE = 2.0

few = settings(max_examples=25, deadline=None)

Event = tuple[int, int]  # key, item; 0 for an item without a row
Log = list[list[Event]]  # by span
logs = st.lists(
    st.lists(st.tuples(st.integers(100, 104), st.sampled_from([0, *range(FIRST_ROW, ITEMS)])), min_size=1, max_size=12),
    min_size=2,
    max_size=4,
)
Order = Callable[[Log, int, list[int]], dict[int, float]]  # spans before, key, its history: own scores


def timestamp(span: int, place: int) -> int:
    return span * DAY + place * 3_600_000


def as_sequences(log: Log, span: int) -> Sequences:
    """The sequences of `span` as they are prepared: of each key its last events before, then those of the span."""
    items, times, lengths, keys, first_new = [], [], [], [], []
    for key in dict.fromkeys(key for key, _ in log[span]):
        timed = [
            (number, item, timestamp(number, place))
            for number in range(span + 1)
            for place, (owner, item) in enumerate(log[number])
            if owner == key
        ]
        new = sum(number == span for number, _, _ in timed)
        kept = timed[-(LENGTH + new) :]
        items += [item for _, item, _ in kept]
        times += [time for _, _, time in kept]
        lengths.append(len(kept))
        keys.append(key)
        first_new.append(len(kept) - new)
    first = np.array(first_new, np.int64)
    return Sequences(
        np.array(items, np.int64), np.array(times, np.int64), np.ones(len(items), np.float32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.array(keys, np.int64), first, first,
    )  # fmt: skip


def asked_of(log: Log, span: int) -> Positions:
    asked = as_sequences(log, span).positions()
    return dataclasses.replace(asked, begin=np.maximum(asked.begin, asked.end - LENGTH))


def popularity(before: Log) -> dict[int, float]:
    end = timestamp(len(before), 0)
    counts: dict[int, float] = collections.defaultdict(float)
    for number, events in enumerate(before):
        for place, (_, item) in enumerate(events):
            counts[item] += 0.5 ** ((end - timestamp(number, place)) / DAY / HALF_LIFE)
    return counts


def check(baseline: Baseline, log: Log, own: Order, rest: Callable[[Log], dict[int, float]] = popularity) -> None:
    """The last span of `log`, asked of `baseline` and of `own` with `rest` behind it."""
    last = len(log) - 1
    for span in range(last):
        baseline.learn(as_sequences(log, span))
    asked, others = asked_of(log, last), rest(log[:last])
    for exclude_seen in (False, True):
        placed = ranks(baseline.scores(asked, ITEMS), asked, FIRST_ROW, exclude_seen)
        for at, target in enumerate(asked.target.tolist()):
            history = asked.items[asked.begin[at] : asked.end[at]].tolist()
            scores = own(log[:last], int(asked.key[at]), history)
            left_out = set(history) - {target} if exclude_seen else set()
            level = {item: (scores.get(item, 0), others.get(item, 0)) for item in range(FIRST_ROW, ITEMS)}
            above = [item for item in level if item not in left_out and level[item] >= level.get(target, ())]
            assert placed[at] == (len(above) - 1 if target else ITEMS)


def nothing(before: Log, key: int, history: list[int]) -> dict[int, float]:
    return {}


@few
@given(logs)
def test_most_popular_counts_the_last_spans(log: Log) -> None:
    def last_two(before: Log) -> dict[int, float]:
        return collections.Counter(item for events in before[-2:] for _, item in events)

    check(MostPopular(2), log, nothing, last_two)


@few
@given(logs)
def test_with_a_half_life_an_event_counts_half_after_it(log: Log) -> None:
    check(HalfLifePopularity(HALF_LIFE, "days"), log, nothing)


def test_a_half_life_in_hours_is_shorter_than_one_in_days() -> None:
    log = [[(100, 5)] * 3, [(101, 6)], [(102, 5)]]
    order = {}
    for unit in ("days", "hours"):
        baseline = HalfLifePopularity(HALF_LIFE, unit)
        for span in range(2):
            baseline.learn(as_sequences(log, span))
        order[unit] = baseline.popularity(ITEMS)
    assert order["days"][5] > order["days"][6]
    assert order["hours"][5] < order["hours"][6]


@few
@given(logs)
def test_own_items_come_by_their_last_event_or_by_how_often(log: Log) -> None:
    def recent(before: Log, key: int, history: list[int]) -> dict[int, float]:
        return {item: place + 1 for place, item in enumerate(history) if item}

    def frequent(before: Log, key: int, history: list[int]) -> dict[int, float]:
        return {item: history.count(item) * 100 + place for item, place in recent(before, key, history).items()}

    check(OwnItems("recent", HalfLifePopularity(HALF_LIFE, "days")), log, recent)
    check(OwnItems("frequent", HalfLifePopularity(HALF_LIFE, "days")), log, frequent)


Pairs = Callable[
    [int, int, int], dict[tuple[int, int], Fraction | int]
]  # the earlier item, the later one, how far apart


@few
@given(logs, st.sampled_from([1, 2, 100]))
def test_cooccurrence_counts_pairs_with_the_last_item(log: Log, kept: int) -> None:
    def pairs(earlier: int, later: int, distance: int) -> dict[tuple[int, int], Fraction | int]:
        return {(earlier, later): 1, (later, earlier): 1} if earlier != later else {}

    check(Cooccurrence(kept, HalfLifePopularity(HALF_LIFE, "days")), log, by_the_last(pairs, kept))


@few
@given(logs, st.sampled_from([1, 2, 100]))
def test_a_sequential_rule_counts_what_came_later_the_sooner_the_more(log: Log, kept: int) -> None:
    def pairs(earlier: int, later: int, distance: int) -> dict[tuple[int, int], Fraction | int]:
        return {(earlier, later): Fraction(1, distance)}

    check(SequentialRules(kept, HalfLifePopularity(HALF_LIFE, "days")), log, by_the_last(pairs, kept))


def by_the_last(pairs: Pairs, kept: int) -> Order:
    """Counts `pairs` of the events of each span, and after each keeps so many of an item."""

    def order(before: Log, key: int, history: list[int]) -> dict[int, float]:
        counts: dict[int, collections.Counter[int]] = collections.defaultdict(collections.Counter)
        pasts: dict[int, list[int]] = collections.defaultdict(list)
        for events in before:
            began = {key: len(past) for key, past in pasts.items()}
            for owner, item in events:
                past = pasts[owner][max(0, began.get(owner, 0) - LENGTH) :]
                for distance, other in enumerate(past[: -REACH - 1 : -1], start=1):
                    if item and other:
                        for (last, spoken_for), value in pairs(other, item, distance).items():
                            counts[last][spoken_for] += value
                pasts[owner].append(item)
            for item, of in counts.items():
                counts[item] = collections.Counter(
                    dict(sorted(of.items(), key=lambda pair: (-pair[1], pair[0]))[:kept])
                )
        return dict(counts[history[-1]]) if history else {}

    return order


@few
@given(logs, st.sampled_from([(100, 100, 100), (3, 2, 1), (100, 3, 2)]))
def test_v_sknn_sums_over_the_nearest_of_the_recent_sessions(log: Log, bounds: tuple[int, int, int]) -> None:
    most, sample_size, nearest = bounds

    def neighbours(before: Log, key: int, history: list[int]) -> dict[int, float]:
        sessions: dict[int, set[int]] = {}
        for span in range(len(before)):
            made = as_sequences(before, span)
            ends = [int(made.timestamps[end - 1]) for end in made.splits[1:]]
            for at in np.argsort(ends, kind="stable"):
                sessions.pop(int(made.key[at]), None)
                sessions[int(made.key[at])] = {int(i) for i in made.items[made.splits[at] : made.splits[at + 1]] if i}
            sessions = dict(list(sessions.items())[-most:])
        weight = {item: (place + 1) for place, item in enumerate(history) if item}
        alike = [
            (sum(weight.get(item, 0) for item in items), number, items)
            for number, (owner, items) in enumerate(sessions.items())
            if owner != key
        ]
        sampled = [entry for entry in alike if entry[0] > 0][-sample_size:]
        scores: dict[int, float] = collections.defaultdict(float)
        for similarity, _, items in sorted(sampled, key=lambda entry: entry[:2])[-nearest:]:
            for item in items:
                scores[item] += similarity
        return scores

    check(VSkNN(most, sample_size, nearest, HalfLifePopularity(HALF_LIFE, "days")), log, neighbours)


@few
@given(st.data())
def test_places_are_those_that_a_model_with_such_scores_would_have(data: st.DataObject) -> None:
    positions = data.draw(st.integers(1, 4))
    level = st.lists(st.integers(0, 3), min_size=ITEMS, max_size=ITEMS)
    own, rest = np.array([data.draw(level) for _ in range(positions)], float), np.array(data.draw(level), float)
    row = st.integers(0, ITEMS + 2)
    history = np.array(data.draw(st.lists(row, min_size=3 * positions, max_size=3 * positions)), np.int64)
    target = np.array(data.draw(st.lists(row, min_size=positions, max_size=positions)), np.int64)
    ends = np.arange(3, 3 * positions + 1, 3)
    nothing_known = np.zeros(positions, np.int64)
    asked = Positions(history, ends - 3, ends, nothing_known, target, np.ones(positions, np.float32), nothing_known)
    for exclude_seen in (False, True):
        seen = tf.constant(history.reshape(positions, 3)) if exclude_seen else None
        masked = mask_scores(
            tf.constant((own * 10 + rest).astype(np.float32)), FIRST_ROW, seen, keep=tf.constant(target)
        )
        expected = rank_of(masked, tf.constant(target), FIRST_ROW).numpy()
        placed = ranks(Scores(scipy.sparse.csr_array(own), rest), asked, FIRST_ROW, exclude_seen)
        assert placed.tolist() == expected.tolist()
