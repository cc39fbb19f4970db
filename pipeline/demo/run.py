"""`warmspan demo`: the daily loop on a simulated shop, then a question to the served result."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config import Config, load_config
from pipeline.demo.simulator import CATALOGUE_SETTINGS, SHOP_SETTINGS, simulate
from pipeline.ledger.runs import read_ledger
from pipeline.monitoring.status import status_table
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from serving.client import Client
from serving.server.rest_server import RestServer

FIRST_DAY = datetime.date(2024, 5, 1)
SEED = 7
_SETTINGS = (
    "# The settings of the demo: see `warmspan init` for all of them with comments.\n"
    + SHOP_SETTINGS
    + """\
  span_hours: 24
  items: shop/items.csv
history: {length: 20}
gate:
  thresholds:
    recall: {floor: 0.02, max_drop: 0.02}
"""
    + CATALOGUE_SETTINGS
)


def run_demo(folder: Path, days: int, console: Console) -> None:
    """Simulates `days` days under `folder`, runs each through the pipeline, serves the result and asks it.

    Run again, it goes on where it stopped.

    Raises:
      RunError: a node of the pipeline failed.
    """
    console.print(f"A simulated shop, {days} days from {FIRST_DAY}, in {folder}/shop.")
    simulate(folder / "shop", FIRST_DAY, days, SEED)
    settings = folder / "warmspan.yaml"
    settings.write_text(_SETTINGS)
    config = load_config(settings)
    console.print("Each day: ingest, transform, test the champion, decide, warm-start, fine-tune, gate, push.\n")
    steps = make_plan(read_ledger(config), read_deliveries(config), Naming(config.data.dated))
    run_steps(config, steps, console)
    console.print()
    console.print(status_table(read_ledger(config)))
    _ask(config, console)
    console.print(
        "\nNext:\n"
        f"  the days as one page    open {config.root}/report.html in a browser\n"
        f"  every number by day     .venv/bin/warmspan tensorboard -c {settings}\n"
        f"  this table again        .venv/bin/warmspan status -c {settings}\n"
        f"  keep serving            .venv/bin/warmspan serve -c {settings}\n"
        "  your own events         .venv/bin/warmspan init FOLDER",
        highlight=False,
    )


def _ask(config: Config, console: Console) -> None:
    """Two people and somebody unknown, over REST."""
    with (sorted(Path(config.data.path).iterdir())[-1] / "events.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = list(dict.fromkeys(row["user_id"] for row in rows))[:2]
    with RestServer({config.name: config.serving_path}) as server:
        console.print(f"\nServed at {server.url}/v1/models/{config.name}; asked over REST:")
        client = Client(server.url, config.name)
        for user in (*known, "somebody new"):
            history = [row["item_id"] for row in rows if row["user_id"] == user]
            table = Table(title=f"{user}, who bought {len(history)} today", title_justify="left", show_edge=False)
            for column in ("item", "title", "score"):
                table.add_column(column)
            for recommendation in client.recommend(user, history, k=5):
                table.add_row(recommendation.item, recommendation.title, f"{recommendation.score:.2f}")
            console.print(table)
