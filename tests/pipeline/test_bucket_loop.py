"""A day from a bucket to a bucket: the same answers as from a folder, and what a server elsewhere gets to load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from components.object_store.address import StoreAddress
from components.object_store.store import ObjectStore
from components.span_pusher.fetched_versions import fetch
from components.span_pusher.published_versions import published
from components.span_pusher.version_folder import versions
from pipeline.config import Config, load_config
from pipeline.ledger.runs import read_ledger, read_runs
from pipeline.operations.publication import place_of, publication_lines, publish
from pipeline.operations.rollback import carry_out, make_rollback
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from serving.bundle.validation import validate
from tests.components.object_store.minio_server import client_of, make_bucket, minio

# As all that runs TFMA: numpy warns in it.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
ONE, TWO, THREE = 2024050101, 2024050201, 2024050301


@pytest.fixture
def buckets(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "minio").mkdir()
    with minio(tmp_path / "minio") as server, client_of(server.environment):
        for bucket in ("events", "models"):
            make_bucket(bucket)
        yield


def moved_to_buckets(config: Config) -> Config:
    """The same root, whose days have moved from the disk into a bucket, and whose versions go to another."""
    store = ObjectStore(StoreAddress("s3://events/clicks"))
    folder = Path(config.data.path)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.upload(path, path.relative_to(folder).as_posix())
            path.unlink()
    store.write("2024-05-03/_SUCCESS", b"")
    file = config.root.parent / "warmspan.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["data"]["path"] = "s3://events/clicks"
    settings["push"] = {"path": "s3://models/recommenders"}
    file.write_text(yaml.safe_dump(settings))
    return load_config(file)


def test_a_day_from_a_bucket_is_the_day_and_its_model_is_served_from_one(buckets, shop_after, three_days, tmp_path):
    on_disk = read_deliveries(three_days)
    config = moved_to_buckets(shop_after(2))
    delivered = read_deliveries(config)
    assert [(span, of.version, of.fingerprint) for span, of in delivered.items()] == [
        (span, of.version, of.fingerprint) for span, of in on_disk.items()
    ]
    place, server = place_of(config), tmp_path / "server" / "shop"
    assert place is not None
    publish(config)  # what was pushed before there was a `push.path`
    assert published(place).named == (TWO,)

    steps = make_plan(read_ledger(config), delivered, Naming(dated=True))
    assert [Naming(dated=True).format(step.span) for step in steps] == ["2024-05-03"]
    run_steps(config, steps, Console(quiet=True))
    ours, wanted = read_runs(config)[-1], read_runs(three_days)[-1]
    for name in ("span", "fingerprint", "events", "rejects", "new_items", "candidate", "verdict", "action", "pushed"):
        assert getattr(ours, name) == getattr(wanted, name), name
    assert published(place).named == (THREE,)
    assert publication_lines(config) == [f"published {THREE} in s3://models/recommenders/shop"]

    assert fetch(place, server).came == (ONE, TWO, THREE)
    assert validate(server / str(THREE), None, 10_000.0).refusal == ""
    carry_out(config, make_rollback(config, bad=THREE), "bots")
    assert published(place).named == (TWO,)
    assert fetch(place, server).left == (THREE,)
    assert versions(server) == versions(config.serving_path) == [ONE, TWO]
