"""A release that is killed anywhere has happened wholly or not at all; the same command again ends it."""

from __future__ import annotations

import shutil
import signal

import pytest

from pipeline.config import Config
from pipeline.ledger.runs import Run, read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import Step, make_plan
from tests.fault_injection import DONE, helper
from tests.pipeline.killed_release import let_in
from tests.pipeline.made_store import DAYS, MadeStore

HELD = "2024-05-03"


def state(config: Config) -> tuple[list[Run], list[Step], dict[str, str]]:
    """The ledger, what the next run does with the day, and what stands in its profile, but for the time."""
    (profile,) = open_store(config).get_artifacts_by_type("WarmspanSpanProfile")
    properties = {name: str(value) for name, value in profile.custom_properties.items() if name != "released_at"}
    ledger = read_ledger(config)
    span = DAYS.parse(HELD)
    return ledger, make_plan(ledger, read_deliveries(config), DAYS, span, span), properties


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_release_killed_at_any_step(made: MadeStore) -> None:
    made.chain(2)
    config, base = made.config, made.config.root.parent
    (config.data.path / HELD).mkdir(parents=True)
    (config.data.path / HELD / "events.csv").write_text("user_id,item_id,timestamp,quantity\n")
    made.held(HELD, fingerprint=read_deliveries(config)[DAYS.parse(HELD)].fingerprint)
    start, seen = base.with_name("start"), []
    before = state(config)
    shutil.copytree(base, start)
    let_in(str(base), HELD)
    after = state(config)
    assert (before[1], after[1]) == ([], [Step(DAYS.parse(HELD), 2)])
    with helper("tests.pipeline.killed_release") as child:
        for number in range(1, 1000):
            shutil.rmtree(base)
            shutil.copytree(start, base)
            status = child.call("tests.pipeline.killed_release:let_in", str(base), HELD, kill_at=number)
            seen.append(state(config))
            assert seen[-1] in (before, after)
            let_in(str(base), HELD)
            assert state(config) == after
            if status == DONE:
                break
            assert status == -signal.SIGKILL
    assert seen[-1] == after
    assert before in seen
