"""What is run next, and what stands against it."""

from __future__ import annotations

import pytest

from pipeline.ledger.runs import Run
from pipeline.planning.differences import Delivery
from pipeline.planning.run_plan import PlanError, Step, make_plan
from pipeline.spans import Naming

NUMBERS = Naming(dated=False)


def run(span: int, state: str = "done", revision: int = 1, delivery: int | None = None, fingerprint: str = "a") -> Run:
    return Run(
        span=span, name=str(span), revision=revision, state=state, delivery=delivery, fingerprint=fingerprint,
        events=1, rejects=0, duplicates=0, new_items=0, new_keys=0, action="fine_tune", reason="", next_span={},
        candidate={}, champion={}, verdict="", pushed=None, item_rows=2, key_rows=2, seconds={},
    )  # fmt: skip


def files(*spans: int, version: int | None = None, fingerprint: str = "a") -> dict[int, Delivery]:
    return {span: Delivery(version, fingerprint) for span in spans}


def test_every_span_that_is_not_done():
    assert make_plan([run(1)], files(1, 2, 3), NUMBERS) == [Step(2, 1), Step(3, 1)]


def test_nothing_when_all_is_done():
    assert make_plan([run(1), run(2)], files(1, 2), NUMBERS) == []


def test_a_run_that_was_cut_off_keeps_its_revision():
    ledger = [run(1), run(2, "unfinished", revision=3)]
    assert make_plan(ledger, files(1, 2), NUMBERS) == [Step(2, 3)]


def test_bounds_are_included():
    assert make_plan([], files(1, 2, 3), NUMBERS, first=1, last=2) == [Step(1, 1), Step(2, 1)]


def test_nothing_delivered_names_the_spans():
    with pytest.raises(PlanError, match="none for 7 to 9"):
        make_plan([], files(1, 2), NUMBERS, first=7, last=9)


@pytest.mark.parametrize(("first", "last"), [(None, None), (1, 4)])
def test_a_gap_is_named(first, last):
    with pytest.raises(PlanError, match=r"no files for 3\. .*--allow-gaps"):
        make_plan([run(1)] if first is None else [], files(1, 2, 4), NUMBERS, first, last)


def test_a_gap_right_after_the_last_day_that_was_run_is_named():
    with pytest.raises(PlanError, match="no files for 2"):
        make_plan([run(1)], files(1, 3), NUMBERS)


def test_a_gap_can_be_allowed():
    assert make_plan([run(1)], files(1, 2, 4), NUMBERS, allow_gaps=True) == [Step(2, 1), Step(4, 1)]


def test_a_gap_in_the_past_is_not_asked_about_again():
    assert make_plan([run(1), run(3)], files(1, 3, 4), NUMBERS) == [Step(4, 1)]


def test_days_may_not_be_jumped_over():
    with pytest.raises(PlanError, match=r"Received: 3, while 2 have not been run"):
        make_plan([run(1)], files(1, 2, 3), NUMBERS, first=3, last=3)


def test_the_first_day_may_not_be_left_behind_when_its_run_was_cut_off():
    with pytest.raises(PlanError, match=r"Received: 2, while 1 have not been run"):
        make_plan([run(1, "failed")], files(1, 2), NUMBERS, first=2, last=2)


def test_a_late_day_does_nothing_and_says_what_has_to_be_redone():
    with pytest.raises(PlanError, match=r"(?s)2 was delivered after later spans were run: 3.*--from 2 --redo"):
        make_plan([run(1), run(3)], files(1, 2, 3, 4), NUMBERS)


def test_a_late_day_can_be_left_out_for_good():
    assert make_plan([run(1), run(3)], files(1, 2, 3, 4), NUMBERS, allow_gaps=True) == [Step(4, 1)]


def test_a_late_day_that_is_asked_for_is_never_passed_over_in_silence():
    with pytest.raises(PlanError, match="2 was delivered after"):
        make_plan([run(1), run(3)], files(1, 2, 3), NUMBERS, first=2, last=2, allow_gaps=True)


@pytest.mark.parametrize("delivery", [Delivery(2, "a"), Delivery(1, "b")])
def test_a_changed_day_under_later_ones_does_nothing_and_says_what_has_to_be_redone(delivery):
    ledger = [run(1, delivery=1), run(2, delivery=1)]
    delivered = {**files(2, version=1), 1: delivery}
    with pytest.raises(PlanError, match=r"(?s)1 was delivered again after later spans were run: 2.*--from 1 --redo"):
        make_plan(ledger, delivered, NUMBERS)


def test_a_changed_last_day_is_run_again_under_the_next_revision():
    ledger = [run(1, delivery=1), run(2, delivery=1)]
    delivered = {**files(1, 3, version=1), 2: Delivery(2, "a")}
    assert make_plan(ledger, dict(sorted(delivered.items())), NUMBERS) == [Step(2, 2), Step(3, 1)]


def test_a_redo_gives_every_day_the_next_revision():
    assert make_plan([run(1), run(2), run(3)], files(1, 2, 3), NUMBERS, first=2, redo=True) == [Step(2, 2), Step(3, 2)]


def test_a_redo_that_was_cut_off_goes_on_under_its_revision():
    ledger = [run(1, revision=2), run(2, "failed", revision=2)]
    assert make_plan(ledger, files(1, 2), NUMBERS, first=2, redo=True) == [Step(2, 2)]


def test_a_redo_must_reach_the_last_day():
    with pytest.raises(PlanError, match="up to 2, while 3 has been run"):
        make_plan([run(1), run(2), run(3)], files(1, 2, 3), NUMBERS, first=2, last=2, redo=True)
