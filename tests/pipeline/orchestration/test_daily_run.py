"""What a day is summed up by."""

from __future__ import annotations

from pipeline.ledger.balance import Balance
from pipeline.monitoring.status import learning_lines
from pipeline.orchestration.daily_run import summary
from pipeline.spans import Naming
from tests.pipeline.hand_made_ledger import make_run


def test_the_line_of_a_day_says_what_became_of_every_row():
    balance = Balance(1_302, 30, {"no_key": 1, "late": 1}, 1_270, known=0, late=0, early=4)
    run = make_run("2024-05-01", events=30, rejects=2, duplicates=1_270, new_items=3, new_keys=4, balance=balance)
    first = summary(run, Naming(dated=True)).splitlines()[0]
    assert "1,302 rows: 30 events (4 early), 1 late, 1 no_key, 1,270 duplicates, 3 new items, 4 new keys" in first


def test_rows_that_nothing_accounts_for_are_said():
    assert str(Balance(10, 8, {}, 1, known=0, late=0, early=0)) == "10 rows: 8 events, 1 duplicates, 1 unaccounted for"


def test_a_day_of_an_earlier_version_had_the_rows_that_it_counted():
    before = {"events": 5, "rejects": 2, "duplicates": 1, "reject_reasons": '{"no_key": 2}'}
    balance = Balance.of(before, {})
    assert balance is not None
    assert (balance.rows, balance.missing) == (8, 0)
    assert Balance.of({}, {}) is None


def test_what_a_refusal_has_changed_is_said_with_its_reason():
    learning = "learns at half the rate: 2024-05-03 was refused, retention"
    assert f"  {learning}" in summary(make_run("2024-05-04", learning=learning), Naming(dated=True)).splitlines()
    assert "learns" not in summary(make_run("2024-05-04"), Naming(dated=True))
    assert learning_lines([make_run("2024-05-03"), make_run("2024-05-04", learning=learning)]) == [
        f"2024-05-04: {learning}"
    ]
