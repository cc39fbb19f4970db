"""A span that the guard holds is neither done nor a failure nor a gap: it waits, and the days after it go on."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.ledger.runs import Run
from pipeline.planning.differences import Differences
from pipeline.planning.reconciliation import reconcile
from pipeline.planning.run_plan import PlanError, Step, make_plan
from tests.pipeline.planning.test_reconciliation import findings_of
from tests.pipeline.planning.test_run_plan import NUMBERS, files, run


def held(span: int, released: bool = False, revision: int = 1) -> Run:
    return dataclasses.replace(run(span, "held", revision), action="", doubts="events 9: usual 400", released=released)


@pytest.mark.parametrize("ledger", [[run(1), held(2)], [held(1), held(2)]])
def test_it_is_left_out_and_the_days_after_it_are_run(ledger):
    assert make_plan(ledger, files(1, 2, 3, 4), NUMBERS) == [Step(3, 1), Step(4, 1)]
    assert make_plan(ledger, files(1, 2, 3), NUMBERS, first=2, last=3) == [Step(3, 1)]
    assert make_plan(ledger, files(1, 2), NUMBERS) == []
    assert make_plan(ledger, files(1, 2), NUMBERS, first=2, last=2) == []


def test_it_is_no_gap_also_when_its_files_have_gone():
    assert make_plan([run(1), held(2)], files(1, 3), NUMBERS) == [Step(3, 1)]
    assert make_plan([run(1), held(2), run(3)], files(1, 2, 3, 4), NUMBERS) == [Step(4, 1)]
    assert Differences.between([run(1), held(2), run(3)], files(1, 3)).missing(1, 3) == []


def test_released_it_is_run_under_the_next_revision():
    assert make_plan([run(1), held(2, released=True)], files(1, 2, 3), NUMBERS) == [Step(2, 2), Step(3, 1)]


def test_with_other_files_it_is_judged_anew():
    delivered = files(1, 2, 3) | files(2, fingerprint="b")
    assert make_plan([run(1), held(2)], delivered, NUMBERS) == [Step(2, 2), Step(3, 1)]


@pytest.mark.parametrize("released", [True, False])
def test_let_in_after_later_days_were_run_it_is_late(released):
    ledger = [run(1), held(2, released), run(3)]
    delivered = files(1, 2, 3) if released else (files(1, 2, 3) | files(2, fingerprint="b"))
    with pytest.raises(PlanError, match=r"(?s)2 was (released|delivered) after later spans were run.*--from 2 --redo"):
        make_plan(ledger, delivered, NUMBERS)
    reconciliation = reconcile(ledger, delivered, NUMBERS)
    assert findings_of(reconciliation) == [("2", "retry", [2, 3])]
    assert reconciliation.steps == (Step(2, 2), Step(3, 2))
    why = "has been released" if released else "has other files now"
    assert reconciliation.findings[0].sentence == f"It was held, and {why}, and 3 were run since."


def test_the_plan_lists_it_and_waits_for_a_person():
    reconciliation = reconcile([run(1), held(2), run(3)], files(1, 2, 3, 4), NUMBERS)
    assert findings_of(reconciliation) == [("2", "held", []), ("4", "backfill", [4])]
    assert reconciliation.steps == (Step(4, 1),)
    (finding,) = reconciliation.waiting
    assert finding.sentence == (
        "It is held: events 9: usual 400. To let it in: `warmspan release 2`. Other files are judged anew."
    )


def test_a_redo_judges_it_again():
    ledger = [run(1), held(2), run(3)]
    assert make_plan(ledger, files(1, 2, 3), NUMBERS, first=2, redo=True) == [Step(2, 2), Step(3, 2)]


def test_a_held_run_is_never_void():
    assert not dataclasses.replace(held(2), base_revoked=True).void
