"""What a maintenance policy does when a shop exchanges all that it sells in one night, day by day.

    python -m benchmarks.catalogue_shift --out shift [--days 11] [--turnover 8] [--seeds 1]

Simulates the shop of `warmspan demo`, replays it under each policy of `POLICIES` and prints, beside the backtest's own
table, the decisions, their reasons and next-span recall. The limits stand well above what the days before the turnover
show; see docs/policy.md.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline.backtest import backtest, find_policies
from pipeline.backtest.results import Row
from pipeline.config import load_config
from pipeline.demo.simulator import SHOP_SETTINGS, simulate

FIRST_DAY = datetime.date(2024, 5, 1)
SEED = 7
SETTINGS = (
    SHOP_SETTINGS
    + """\
  span_hours: 24
history: {length: 20}
update: {retrain_spans: 7}
"""
)
# Ordinary days are 0.1 to 0.28 from the nearest of the week before, and up to a tenth of their items are new.
_LIMITS = {
    "drift": {"columns": {"item": {"fine_tune": 0.35, "retrain": 0.6}}},
    "new_items": {"fine_tune": 0.2, "retrain": 0.5},
}
_NEXT_SPAN = {"at_least": 4, "spans": 7, "fine_tune": 1.5}
POLICIES = {
    "watchful": {"policy": _LIMITS},
    "always fine-tune": {},
    "always retrain": {"learn": "retrain"},
    "rests": {"policy": {**_LIMITS, "rest_spans": 2, "next_span": _NEXT_SPAN}},
}


def main() -> None:
    """Parses arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder; a run that was cut off goes on there")
    parser.add_argument("--days", type=int, default=11)
    parser.add_argument("--turnover", type=int, default=8, help="the day, from 0, on which everything is exchanged")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    simulate(arguments.out / "shop", FIRST_DAY, arguments.days, SEED, turnover=arguments.turnover)
    settings, policies = arguments.out / "warmspan.yaml", arguments.out / "policies.yaml"
    settings.write_text(SETTINGS)
    policies.write_text(yaml.safe_dump(POLICIES, sort_keys=False))
    config, console = load_config(settings), Console(width=160)
    result = backtest(config, find_policies([], config, policies), console, seeds=arguments.seeds, retention_spans=0)
    for name in POLICIES:
        console.print(decisions([row for row in result.rows if row.policy == name and row.seed == config.update.seed]))


def decisions(rows: Sequence[Row]) -> Table:
    """What was done on each day, how good the model had been on it, and why."""
    table = Table(title=rows[0].policy, title_justify="left", box=SIMPLE_HEAD)
    for column in ("span", "recall", "decision", "seconds", "reason"):
        table.add_column(column, no_wrap=column != "reason")
    for row in rows:
        recall = f"{row.metrics['recall']:.4f}" if row.events else ""
        table.add_row(row.span, recall, row.action, f"{row.seconds:.1f}", row.reason)
    return table


if __name__ == "__main__":
    main()
