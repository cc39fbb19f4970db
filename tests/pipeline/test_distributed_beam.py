"""A day on an engine of its own, with workers in other processes, is the day in process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf
import yaml
from rich.console import Console

from pipeline.config import Config, load_config
from pipeline.ledger.runs import read_ledger
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from tests.pipeline.prism_engine import prism
from tests.pipeline.test_daily_loop import facts, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]


def test_a_day_on_prism_gives_the_ledger_and_the_model_of_a_run(make_shop, tmp_path, three_days):
    shop = make_shop(1)
    path = shop.root.parent / "warmspan.yaml"
    with prism(tmp_path) as arguments:
        path.write_text(path.read_text() + yaml.safe_dump({"beam": {"args": arguments}}))
        config = load_config(path)
        steps = make_plan([], read_deliveries(config), Naming(dated=True))
        run_steps(config, steps, Console(quiet=True))
    assert facts(read_ledger(config)) == facts(read_ledger(three_days))[:1]
    assert served(config) == {version: of for version, of in served(three_days).items() if version == "2024050101"}
    for node in ("SpanExampleGen/examples", "SpanTransform/sequences", "SpanTransform/held_out"):
        ours, in_process = (records(of, node, 1) for of in (config, three_days))
        assert ours == in_process, node
        assert ours


def records(config: Config, output: str, days: int) -> list[Counter[bytes]]:
    """The records of each of the first days, however they are spread over files."""
    folders = sorted((config.artifacts_path / output).iterdir(), key=lambda folder: int(folder.name))[:days]
    return [Counter(record for file in sorted(folder.rglob("*.gz")) for record in read(file)) for folder in folders]


def read(file: Path) -> list[bytes]:
    return [record.numpy() for record in tf.data.TFRecordDataset(str(file), "GZIP")]
