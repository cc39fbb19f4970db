"""A small simulated shop with its settings file."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest
from rich.console import Console

from pipeline.config import Config, load_config
from pipeline.demo.simulator import simulate

if TYPE_CHECKING:
    from tests.pipeline.made_store import MadeStore

FIRST_DAY = datetime.date(2024, 5, 1)

_SETTINGS = """\
name: shop
root: run
data:
  path: shop/events
  pattern: "{{YYYY}}-{{MM}}-{{DD}}/{files}"
  columns: {{key: user_id, item: item_id, timestamp: timestamp, weight: quantity}}
  span_hours: 24
  items: shop/items.csv
history: {{length: 10}}
update: {{epochs: 1}}
gate:
  min_events: 5
  thresholds: {{recall: {{floor: {floor}, max_drop: 1.0}}}}
"""


def simulated_shop(base: Path, days: int, floor: float = 0.0, files: str = "*.csv") -> Config:
    """`days` spans of a small shop, and a settings file."""
    simulate(
        base / "shop",
        FIRST_DAY,
        days,
        seed=3,
        events_per_day=200,
        users=60,
        items=50,
        new_users_per_day=3,
        new_items_per_day=2,
    )
    return settings(base, floor=floor, files=files)


@pytest.fixture
def make_shop(tmp_path: Path) -> Callable[..., Config]:
    """Makes `days` spans and a settings file under a new folder; returns the settings."""

    def make(days: int, floor: float = 0.0, folder: str = "one", files: str = "*.csv") -> Config:
        return simulated_shop(tmp_path / folder, days, floor, files)

    return make


@pytest.fixture(scope="session")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """`make_shop(3)` after its days have been run without a disturbance, once for all tests: to be read only.

    Beside its root are copies of it as it was after each day.
    """
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent  # of all workers
    base = shared / "three days"
    with filelock.FileLock(f"{base}.lock"):
        if not (base / "done").exists():
            # Imported here: most tests need none of TFX.
            from pipeline.orchestration.daily_run import run_steps
            from pipeline.planning.deliveries import read_deliveries
            from pipeline.planning.run_plan import make_plan
            from pipeline.spans import Naming

            shutil.rmtree(base, ignore_errors=True)
            config = simulated_shop(base, 3)
            for number, step in enumerate(make_plan([], read_deliveries(config), Naming(dated=True)), start=1):
                run_steps(config, [step], Console(quiet=True))
                shutil.copytree(config.root, _root_after(config, number), symlinks=True)
            (base / "done").touch()
    return load_config(base / "warmspan.yaml")


def _root_after(config: Config, days: int) -> Path:
    return config.root.with_name(f"run after {days}")


@pytest.fixture
def shop_after(three_days: Config, tmp_path: Path) -> Callable[..., Config]:
    """`make_shop(of)` of which `days`, at most three, have been run: without running them."""

    def make(days: int, of: int = 3, folder: str = "one") -> Config:
        from pipeline.operations.adoption import carry_out, make_adoption

        config = simulated_shop(tmp_path / folder, of)
        shutil.copytree(_root_after(three_days, days), config.root, symlinks=True)
        planned = make_adoption(config)
        assert planned is not None
        carry_out(config, planned)
        return load_config(tmp_path / folder / "warmspan.yaml")

    return make


@pytest.fixture
def made() -> Iterator[MadeStore]:
    """A pipeline root without any day, in memory where there is a file system for that: SQLite waits for disks."""
    from tests.pipeline.made_store import MadeStore

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield MadeStore(Path(folder) / "one")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of Airflow, made once: to make it takes longer than most tests."""
    python = os.environ.get("WARMSPAN_AIRFLOW_PYTHON")
    if not python:
        pytest.skip("no Airflow is installed (WARMSPAN_AIRFLOW_PYTHON must name the Python of its environment)")
    home = tmp_path_factory.mktemp("airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [python, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True)
    return home / "airflow.db"


def settings(base: Path, floor: float = 0.0, files: str = "*.csv") -> Config:
    path = base / "warmspan.yaml"
    path.write_text(_SETTINGS.format(floor=floor, files=files))
    return load_config(path)
