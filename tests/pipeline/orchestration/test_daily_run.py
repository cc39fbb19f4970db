"""What a day is summed up by."""

from __future__ import annotations

from pipeline.orchestration.daily_run import summary
from pipeline.spans import Naming
from tests.pipeline.hand_made_ledger import make_run


def test_the_line_of_a_day_says_what_became_of_every_row():
    run = make_run("2024-05-01", events=30, rejects=2, duplicates=1_270, new_items=3, new_keys=4)
    first = summary(run, Naming(dated=True)).splitlines()[0]
    assert "30 events, 2 rejects, 1,270 duplicates, 3 new items, 4 new keys" in first
