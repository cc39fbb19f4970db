"""Days on which ids lose their rows: everything that reads an earlier day's rows goes on, and the backtest agrees."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.backtest import find_policies
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.prepared_spans import prepare
from pipeline.cli.app import app
from pipeline.config import load_config
from pipeline.planning.deliveries import read_deliveries
from tests.pipeline.test_policy_days import make_shop, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

DAYS = 5
VOCABULARY = "vocabulary: {item_max_age: 1, max_keys: 40}\n"
MEMORY = "update: {epochs: 1, stability: {replay: {budget: 50}, distillation: {weight: 0.5}}}"


def test_the_tables_stop_growing_and_every_day_is_judged_as_in_the_backtest(tmp_path):
    make_shop(tmp_path, DAYS)
    path = tmp_path / "warmspan.yaml"
    settings = path.read_text().replace("update: {epochs: 1, retrain_spans: 3}", MEMORY)
    path.write_text(settings + VOCABULARY)
    config = load_config(path)
    ledger = run(config)
    assert [day.state for day in ledger] == ["done"] * DAYS
    assert [day.action for day in ledger[1:]] == ["fine_tune"] * (DAYS - 1)
    assert all(day.pushed for day in ledger)
    assert sum(day.retired_items for day in ledger) > 0
    assert sum(day.retired_keys for day in ledger) > 0
    assert max(day.key_rows for day in ledger) <= 2 + 40
    spans = prepare(config, read_deliveries(config), tmp_path / "out" / "spans", lambda name: None)
    rows = PolicyRun(*find_policies(["settings"], config), config.update.seed, spans, tmp_path / "out" / "runs").run()
    for day, row in zip(ledger[1:], rows[1:], strict=True):
        assert {name: day.next_span[name] for name in row.metrics} == pytest.approx(row.metrics, abs=1e-6)
    last = f"{ledger[-1].retired_items:,} items and {ledger[-1].retired_keys:,} keys lost their rows"
    page = tmp_path / "report.html"
    for command in (["status"], ["plan"], ["report", "--out", str(page)]):
        answer = CliRunner().invoke(app, [*command, "-c", str(path)])
        assert answer.exit_code == 0, answer.output
    assert last in page.read_text()
