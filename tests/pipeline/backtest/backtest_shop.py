"""A small simulated shop, its settings file, and a policy run over its spans."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

from pipeline.backtest import find_policies
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.backtest.results import Row
from pipeline.config import Config, load_config
from pipeline.demo.simulator import SHOP_SETTINGS, simulate

FIRST_DAY = datetime.date(2024, 5, 1)
DAYS = [f"2024-05-0{day}" for day in range(1, 5)]
SETTINGS = (
    SHOP_SETTINGS.replace("timestamp: timestamp", "timestamp: timestamp, weight: quantity")
    + """\
history: {length: 6}
model: {type: tests.trainer.small_model.Small}
update: {epochs: 1, batch_size: 64, retrain_spans: 2}
gate: {min_events: 3, k: 5}
"""
)


def deliver_shop(base: Path, settings: str = SETTINGS, days: int = 4) -> Config:
    simulate(
        base / "shop", FIRST_DAY, days, seed=3, events_per_day=90, users=30, items=25, new_users_per_day=2,
        new_items_per_day=2,
    )  # fmt: skip
    (base / "warmspan.yaml").write_text(settings)
    return load_config(base / "warmspan.yaml")


def run(shop: Config, spans: list[PreparedSpan], name: str, folder: Path, changes: dict | None = None) -> list[Row]:
    (policy,) = find_policies([name], shop)
    if changes:
        policy = dataclasses.replace(policy, config=policy.config.model_copy(update=changes))
    return PolicyRun(policy, 1, spans, folder).run()


def facts(rows: list[Row]) -> list[Row]:
    return [dataclasses.replace(row, seconds=0.0) for row in rows]
