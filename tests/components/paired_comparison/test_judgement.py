"""From paired differences to what speaks against a candidate; the files that they are kept in; the anchor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.paired_comparison.anchor import Anchor, carried, next_anchor
from components.paired_comparison.bounds import Interval
from components.paired_comparison.differences import Differences, paired, pooled
from components.paired_comparison.judgement import OVERALL, Judgement, Rules, judge, pool
from tests.components.plain_settings import gate_rules

RULES = gate_rules(max_drop={OVERALL: {"recall": 0.02}, "item_slice:new": {"recall": 0.02}})


def differences(gain: float, events: int = 1_000, slices: dict[str, np.ndarray] | None = None) -> Differences:
    """A tenth of the events is lost and a tenth won, and then `gain`."""
    values = np.zeros(events)
    tenth, more = events // 10, round(abs(gain) * events)
    values[:tenth], values[tenth : 2 * tenth], values[2 * tenth : 2 * tenth + more] = -1, 1, np.sign(gain)
    return Differences({"recall": values}, np.ones(events), np.arange(events) - events, slices or {})


def test_an_equal_candidate_is_not_worse_and_a_worse_is() -> None:
    assert not judge(RULES, differences(0.0)).refused
    judged = judge(RULES, differences(-0.05))
    assert judged.refused
    assert judged.champion[OVERALL]["recall"].outcome == "worse"


def test_few_events_bless_unless_the_setting_says_otherwise() -> None:
    few = differences(-0.05, events=40)
    judged = judge(RULES, few)
    assert not judged.refused
    assert judged.champion[OVERALL]["recall"].outcome == "not enough evidence"
    strict = gate_rules(max_drop=RULES.max_drop, refuse_little=True)
    assert judge(strict, few).refused
    assert not judge(strict, differences(0.0, events=5_000)).refused


def test_a_slice_with_few_events_informs_and_does_not_decide() -> None:
    for events, refused in ((99, False), (100, True)):
        gains, labels = np.zeros(2_000), np.full(2_000, b"warm")
        labels[:events], gains[:events] = b"new", -1.0
        night = Differences({"recall": gains}, np.ones(2_000), np.arange(2_000), {"item_slice": labels})
        rules = gate_rules(max_drop={"item_slice:new": {"recall": 0.02}})
        judged = judge(rules, night)
        assert judged.champion["item_slice:new"]["recall"].gain.mean == -1
        assert judged.refused == refused


def test_a_metric_without_a_limit_is_shown_and_decides_nothing() -> None:
    judged = judge(gate_rules(max_drop={}), differences(-0.2))
    assert judged.champion[OVERALL]["recall"].outcome == ""
    assert not judged.refused


def test_what_is_lost_against_the_anchor_is_bounded() -> None:
    tonight = differences(-0.015)
    assert not judge(RULES, tonight, [tonight]).refused
    assert judge(RULES, tonight, [differences(-0.06)]).anchor["recall"].refused
    # What was lost before is added to it.
    assert not judge(RULES, tonight, [differences(-0.03)]).refused
    assert judge(RULES, tonight, [differences(-0.03)], {"recall": -0.02}).anchor["recall"].refused
    assert not judge(gate_rules(max_drop=RULES.max_drop, budget=None), tonight, [differences(-0.06)]).refused


def test_small_nights_are_pooled_for_the_anchor() -> None:
    small = differences(-0.06, events=100)
    assert not judge(RULES, small, [small]).refused
    judged = judge(RULES, small, [small] * 8)
    assert judged.nights == 8
    assert judged.anchor["recall"].refused
    assert len(pool([differences(0.0, 600)] * 5, 1_000)) == 2
    assert len(pool([differences(0.0, 1_000)] * 5, 1_000)) == 1
    nothing = Differences({}, np.zeros(0), np.zeros(0, int))
    assert len(pool([differences(0.0, 100), nothing, differences(0.0, 100)], 1_000)) == 2


def test_retention_has_a_limit_of_its_own() -> None:
    unlearned = {"recall": -0.05}
    judged = judge(RULES, differences(0.0), retention=differences(-0.08), unlearned=unlearned)
    assert judged.refused
    assert judged.retention["recall"].refused
    assert not judge(RULES, differences(0.0), retention=differences(-0.015), unlearned=unlearned).refused
    without = gate_rules(max_drop=RULES.max_drop, retention=None)
    assert not judge(without, differences(0.0), retention=differences(-0.08), unlearned=unlearned).refused


def test_forgetting_what_was_known_by_heart_is_no_fault() -> None:
    """Refused is what is below the champion, and below what the nights' own models had without having learned it."""
    for lost, unlearned, refused in (
        (0.08, 0.1, False),
        (0.08, -0.02, False),
        (0.08, -0.04, True),
        (0.02, -0.2, False),
    ):
        judged = judge(RULES, differences(0.0), retention=differences(-lost), unlearned={"recall": unlearned})
        assert judged.refused == refused, (lost, unlearned)
        assert judged.retention["recall"].gain.mean == pytest.approx(-lost)
    of_an_earlier_version = judge(RULES, differences(0.0), retention=differences(-0.08))
    assert not of_an_earlier_version.refused


def test_judgement_and_rules_survive_their_json() -> None:
    judged = judge(RULES, differences(-0.01), [differences(0.01)], retention=differences(0.0))
    assert Judgement.from_dict(judged.to_dict()) == judged
    assert Rules.from_json(RULES.to_json()) == RULES


def test_differences_survive_their_file(tmp_path: Path) -> None:
    night = differences(0.01, 50, {"item_slice": np.array([b"new", b"warm"] * 25, object)})
    night.save(tmp_path / "differences.npz")
    again = Differences.load(tmp_path / "differences.npz")
    np.testing.assert_array_equal(again.gains["recall"], night.gains["recall"])
    np.testing.assert_array_equal(again.keys, night.keys)
    assert again.slices["item_slice"].tolist() == night.slices["item_slice"].tolist()


def test_a_key_is_one_key_in_all_nights_only_where_it_has_a_row() -> None:
    first = Differences({"recall": np.zeros(3), "mrr": np.zeros(3)}, np.ones(3), np.array([7, -1, -2]))
    second = Differences({"recall": np.zeros(3)}, np.ones(3), np.array([7, -1, -1]))
    both = pooled([first, second])
    assert list(both.gains) == ["recall"]
    assert len(np.unique(both.keys)) == 4


def test_an_errors_gain_is_what_it_falls_by() -> None:
    rng = np.random.default_rng(3)
    candidate, champion, weights = rng.random(50), rng.random(50), rng.random(50)
    night = paired({"rmse": candidate}, {"rmse": champion}, weights, np.arange(50), {}, ["rmse"])
    roots = [np.sqrt(np.average(of, weights=weights)) for of in (champion, candidate)]
    assert np.average(night.gains["rmse"], weights=weights) == pytest.approx(roots[0] - roots[1])


def gain(mean: float, half: float) -> dict[str, Interval]:
    return {"recall": Interval(mean, mean - half, mean + half, 1_000, 500)}


def test_the_anchor_gives_way_to_what_is_better_by_the_bound_and_to_age() -> None:
    anchor = Anchor(3, 3, {"recall": -0.01})
    assert next_anchor(anchor, 9, 9, gain(0.01, 0.02), "recall", 14) is anchor
    better = next_anchor(anchor, 9, 9, gain(0.03, 0.02), "recall", 14)
    assert (better.version, better.span, better.carried) == (9, 9, {"recall": 0.0})
    aged = next_anchor(anchor, 17, 17, gain(-0.02, 0.03), "recall", 14)
    assert aged.version == 17
    assert aged.carried["recall"] == pytest.approx(-0.03)
    assert next_anchor(anchor, 16, 16, gain(-0.02, 0.03), "recall", 14) is anchor


def test_what_was_won_pays_back_and_is_not_saved_up() -> None:
    assert carried(Anchor(1, 1, {"recall": -0.03}), gain(0.01, 0.0))["recall"] == pytest.approx(-0.02)
    assert carried(Anchor(1, 1, {"recall": -0.03}), gain(0.09, 0.0)) == {"recall": 0.0}
    assert carried(Anchor(1, 1, {"recall": -0.03}), {}) == {"recall": -0.03}
