"""Whole days under a policy: the pipeline and a backtest decide alike, the user may overrule, a person is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipeline.backtest import find_policies
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.prepared_spans import prepare
from pipeline.cli.app import app
from pipeline.config import Config, load_config
from pipeline.demo.simulator import simulate
from pipeline.ledger.runs import Run, read_ledger
from pipeline.orchestration.daily_run import run_steps
from pipeline.orchestration.span_run import RunError, SpanRun
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from tests.pipeline.conftest import FIRST_DAY
from tests.pipeline.monitoring.test_alerts import keep_in, sent_alerts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

DAYS = Naming(dated=True)
TURNOVER = 3
_SETTINGS = """\
name: shop
root: run
data:
  path: shop/events
  pattern: "{{YYYY}}-{{MM}}-{{DD}}/*.csv"
  columns: {{key: user_id, item: item_id, timestamp: timestamp, weight: quantity, context: [quantity]}}
  span_hours: 24
history: {{length: 10}}
model: {{type: tests.trainer.small_model.Small}}
update: {{epochs: 1, retrain_spans: 3}}
gate:
  min_events: 5
  thresholds: {{recall: {{floor: {floor}, max_drop: 1.0}}}}
alerts: {{command: {command}}}
policy: {policy}
"""
POLICY = {
    "rest_spans": 1,
    "cooldown": 1,
    "next_span": {"at_least": 2, "spans": 3, "fine_tune": 0.5, "retrain": 50},
    "drift": {"spans": 2, "columns": {"item": {"retrain": 0.9}, "quantity": {"fine_tune": 0.9}}},
    "retention": {"spans": 2, "age": 1, "fine_tune": 0.2},
    "new_items": {"fine_tune": 0.4, "retrain": 0.9},
    "new_keys": {"retrain": 0.95},
    "schedule": {"every": 10, "start": "2024-05-01"},
}


def make_shop(base: Path, days: int, policy: dict | None = None, floor: float = 0.0) -> Config:
    simulate(
        base / "shop", FIRST_DAY, days, seed=3, events_per_day=200, users=60, items=40, new_users_per_day=4,
        new_items_per_day=2, turnover=TURNOVER,
    )  # fmt: skip
    command, path = json.dumps(list(keep_in(base))), base / "warmspan.yaml"
    path.write_text(_SETTINGS.format(floor=floor, command=command, policy=json.dumps(policy or {})))
    return load_config(path)


def run(config: Config, **asked) -> list[Run]:
    steps = make_plan(read_ledger(config), read_deliveries(config), DAYS, **asked)
    run_steps(config, steps, Console(quiet=True))
    return read_ledger(config)


def test_the_pipeline_decides_as_the_backtest_and_tells_of_drift_once(tmp_path):
    config = make_shop(tmp_path, 5, POLICY)
    ledger = run(config)
    spans = prepare(config, read_deliveries(config), tmp_path / "out" / "spans", lambda name: None)
    rows = PolicyRun(*find_policies(["settings"], config), config.update.seed, spans, tmp_path / "out" / "runs").run()
    assert [run.reason for run in ledger] == [row.reason for row in rows]
    assert [run.action for run in ledger] == [row.action for row in rows]
    assert ledger[0].action == "cold_start"
    assert ledger[TURNOVER].action == "retrain"
    for part in ("Next-span recall", "`item` is", "`quantity` is", "recall on the held-out events", "items are new"):
        assert part in ledger[4].reason, "every figure that was looked at"
    assert "was tried 1 day ago" in ledger[4].reason or "retrain" not in ledger[4].reason

    assert [bool(run.drift) for run in ledger] == [number == TURNOVER for number in range(5)]
    run(config, redo=False)
    sent = [(alert["what"], alert["span"], alert["sentence"]) for alert in sent_alerts(tmp_path)]
    assert sent == [("drift", ledger[TURNOVER].name, ledger[TURNOVER].drift)]


def test_the_user_overrules_and_the_ledger_says_so(tmp_path):
    config = make_shop(tmp_path, 3)
    first, second, third = sorted(read_deliveries(config))
    run(config, last=first)
    started = SpanRun(config, second, 1)
    nodes = started.graph.nodes
    for node in nodes[: nodes.index("UpdateDecider")]:
        started.run_node(node)
    path = str(tmp_path / "warmspan.yaml")

    def node(name: str, *options: str):
        return CliRunner().invoke(app, ["run-node", name, "--span", DAYS.format(second), "-c", path, *options])

    wrong = node("IncrementalTrainer", "--decide", "retrain")
    assert (wrong.exit_code, "must go with UpdateDecider" in wrong.output) == (1, True)
    assert node("UpdateDecider", "--decide", "retrain").exit_code == 0
    again = node("UpdateDecider", "--decide", "retrain")
    assert (again.exit_code, "done already" in again.output) == (0, True), "a scheduler's retry"
    late = node("UpdateDecider", "--decide", "skip")
    assert late.exit_code == 1
    assert "must come before the decision is taken" in late.output
    with pytest.raises(RunError, match="must come before the decision is taken"):
        SpanRun(config, second, 1, "fine_tune").run()
    ledger = run(config, last=second)
    assert (ledger[1].action, ledger[1].overruled, ledger[1].state) == ("retrain", "fine_tune", "done")
    assert ledger[1].reason.startswith("Trained from nothing because the user asked for it. The policy had decided to")

    both = CliRunner().invoke(app, ["run", "-c", path, "--redo", "--decide", "skip"])
    assert (both.exit_code, "must be for one span" in both.output) == (1, True)
    skipped = CliRunner().invoke(app, ["run", "-c", path, "--span", DAYS.format(third), "--decide", "skip"])
    assert skipped.exit_code == 0, skipped.output
    assert read_ledger(config)[2].reason.startswith("Skipped because the user asked for it.")
    nothing = CliRunner().invoke(app, ["run", "-c", path, "--span", DAYS.format(third), "--decide", "retrain"])
    assert (nothing.exit_code, "0 to run" in nothing.output) == (1, True)
    assert not sent_alerts(tmp_path), "a slip at the keyboard wakes nobody"


def test_a_failure_and_a_refusal_are_told_once_however_often_they_are_tried(tmp_path):
    config = make_shop(tmp_path, 2, floor=2.0)
    file = config.data.path / "2024-05-01" / "events.csv"
    good = file.read_text()
    file.write_text(good.replace("item_id", "article"))
    path = str(tmp_path / "warmspan.yaml")
    for _ in range(2):
        with pytest.raises(RunError, match="SpanExampleGen failed"):
            run(config, last=DAYS.parse("2024-05-01"))
    failed = CliRunner().invoke(app, ["run-node", "SpanExampleGen", "--span", "2024-05-01", "-c", path])
    assert failed.exit_code == 1, "nor when a scheduler tries it"
    file.write_text(good)
    for _ in range(2):
        run(config, last=DAYS.parse("2024-05-01"))
    alerts = sent_alerts(tmp_path)
    assert [(alert["what"], alert["span"]) for alert in alerts] == [
        ("failure", "2024-05-01"),
        ("refused", "2024-05-01"),
    ]
    assert alerts[0]["id"] == "shop.failure.2024-05-01.r01.SpanExampleGen"
    assert "item_id" in alerts[0]["sentence"]
    assert alerts[1]["sentence"] == read_ledger(config)[0].verdict
