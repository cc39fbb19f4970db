"""A model that was served for days is rolled back, and the next real day starts from the last clean one."""

from __future__ import annotations

import pytest
from rich.console import Console

from components.span_pusher.version_folder import versions
from pipeline.config import Config
from pipeline.ledger.runs import Run, read_ledger
from pipeline.ledger.serving_state import read_serving_state
from pipeline.node_order import NODES
from pipeline.operations.rollback import carry_out, make_rollback
from pipeline.orchestration.daily_run import run_steps
from pipeline.orchestration.node_run import run_node
from pipeline.orchestration.span_run import RunError, SpanRun
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from serving.bundle import check_bundle
from tests.pipeline.hand_made_ledger import DAYS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]


def run(config: Config, last: str) -> list[Run]:
    steps = make_plan(read_ledger(config), read_deliveries(config), DAYS, last=DAYS.parse(last))
    run_steps(config, steps, Console(quiet=True))
    return read_ledger(config)


def test_after_a_rollback_the_next_day_starts_from_the_last_clean_model_and_learns_what_it_owes(shop_after):
    config = shop_after(3, of=5)
    first, bad, third, fourth = (day.pushed for day in run(config, last="2024-05-04"))
    last = DAYS.parse("2024-05-05")
    # The night has begun already, with a champion that is about to be revoked.
    for node in NODES[: NODES.index("Champion") + 1]:
        SpanRun(config, last, 1).run_node(node)

    carry_out(config, make_rollback(config, bad=bad), "bots")
    assert versions(config.serving_path) == [first]
    assert [run.revoked for run in read_ledger(config)] == [False, True, True, True, False]
    serving_state = read_serving_state(config)
    assert (serving_state.champion.version, serving_state.owed) == (first, (last - 3, last - 2, last - 1))
    with pytest.raises(RunError, match=r"must not go on with a model that was revoked\. Received: SpanExampleGen"):
        run_node(config, "SpanExampleGen", "2024-05-05")

    after = run(config, last="2024-05-05")[-1]
    assert (after.revision, after.base_version, after.pushed) == (2, first, 2024050502)
    assert after.trained_on == (last - 3, last - 2, last - 1, last)
    assert "owes 3 earlier spans" in after.reason
    assert versions(config.serving_path) == [first, 2024050502]
    about = check_bundle(config.serving_path / "2024050502").about
    assert about["parent"] == first
    assert about["learned"] == [last - 4, last - 3, last - 2, last - 1, last]
    assert read_serving_state(config).owed == ()
    assert {third, fourth} <= {run.pushed for run in read_ledger(config) if run.revoked}
