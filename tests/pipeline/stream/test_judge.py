"""The rolling verdict part: which events it holds, and what is found on them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.stream.judge import Comparison, Rules, Window, compare
from trainer.input_pipeline import Positions

RULES = Rules({"recall": 0.02}, (), 0.975, 20, True)


def positions(targets: list[int]) -> Positions:
    """Each with a history of as many items as its target, all of them its target."""
    sizes = np.array(targets, np.int64)
    splits = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Positions(
        items=np.repeat(sizes, sizes), begin=splits[:-1], end=splits[1:], key=sizes, target=sizes,
        weight=np.ones(len(sizes), np.float32), timestamp=sizes,
    )  # fmt: skip


def window(count: int) -> Window:
    return Window.empty().with_events(positions([1] * count), np.arange(count), count)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_window_keeps_the_last_events_with_their_histories(cut):
    targets = [3, 1, 4, 1, 5, 2]
    of = Window.empty()
    for start in range(0, len(targets), cut):
        part = targets[start : start + cut]
        of = of.with_events(positions(part), np.array(part), 4)
    assert of.positions.target.tolist() == of.keys.tolist() == [4, 1, 5, 2]
    histories = [
        of.positions.items[begin:end].tolist() for begin, end in zip(of.positions.begin, of.positions.end, strict=True)
    ]
    assert histories == [[4] * 4, [1], [5] * 5, [2] * 2]
    assert len(of.positions.items) == 12
    assert of.seen == len(targets)


def gains(count: int, won: int, lost: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    ours, others = np.zeros(count), np.zeros(count)
    ours[:won] = 1
    others[won : won + lost] = 1
    return {"recall": ours}, {"recall": others}


@pytest.mark.parametrize(
    ("events", "won", "lost", "finding"),
    [
        (19, 0, 19, "too few events"),
        (400, 0, 40, "worse"),
        (400, 40, 0, "better"),
        (400, 1, 1, "not worse"),
        (400, 0, 6, "not worse"),  # a loss by the bound, of less than may be lost
    ],
)
def test_what_is_found_is_what_the_gates_bound_says(events, won, lost, finding):
    assert compare(window(events), *gains(events, won, lost), RULES, False).finding == finding


def test_where_the_bounds_say_nothing_the_setting_of_the_gate_decides():
    ours, others = gains(30, 3, 3)
    assert compare(window(30), ours, others, RULES, False).finding == "not worse"
    strict = Rules(RULES.max_drop, (), 0.975, 20, False)
    assert compare(window(30), ours, others, strict, False).finding == "too few events"


def test_a_comparison_says_on_how_many_events_and_within_which_bounds():
    said = str(compare(window(400), *gains(400, 40, 0), RULES, False))
    assert said.startswith("better on 400 events: recall +0.1000 (+0.0")
    assert str(Comparison("too few events", {})) == "too few events"
