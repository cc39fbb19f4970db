"""Several machines, one store: one runner at a time, a killed one leaves nothing held, the ledger is that of SQLite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import Config, ConfigError, load_config
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.exclusive import LockedError, StoreError, exclusive
from pipeline.orchestration.span_run import SpanRun
from pipeline.spans import Naming
from serving.bundle import check_bundle
from tests.fault_injection import helper
from tests.pipeline.mysql_server import mysql
from tests.pipeline.planning.test_reconciliation import comparable
from tests.pipeline.postgres_server import postgres

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).resolve().parents[3]
DAYS = Naming(dated=True)
_HOLD = """\
import sys, time
from pipeline.config import load_config
from pipeline.metadata_store.exclusive import exclusive
with exclusive(load_config(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
_OPEN_AT_ONCE = """\
import multiprocessing, sys
from pipeline.config import load_config
from pipeline.metadata_store.connection import connect
def open_and_read(_):
    connect(load_config(sys.argv[1])).get_contexts()
context = multiprocessing.get_context("fork")
processes = [context.Process(target=open_and_read, args=(number,)) for number in range(6)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print(*(process.exitcode for process in processes))
"""


@pytest.fixture(scope="module", params=[postgres, mysql], ids=["postgresql", "mysql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.param() as address:
        yield address


def settings(folder: Path, url: str | None, name: str = "shop") -> Config:
    """The settings of `folder`, with the store at `url` in them."""
    path = folder / "warmspan.yaml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("data: {path: events, columns: {key: user, item: item, timestamp: time}}\n")
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("name:", "metadata:"))]
    path.write_text("\n".join([f"name: {name}", *([f"metadata: {url}"] if url else []), *lines]) + "\n")
    return load_config(path)


def wait_until_free(config: Config) -> None:
    """Until the server has seen the connection of a killed process end."""
    end = time.monotonic() + 60
    while True:
        try:
            with exclusive(config):
                return
        except LockedError:
            assert time.monotonic() < end, "the lock outlived the process that held it"
            time.sleep(0.1)


def hold(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _HOLD, str(folder / "warmspan.yaml")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_process_may_be_the_first_to_open_an_empty_store(tmp_path, url):
    settings(tmp_path / "shop", url)
    command = [sys.executable, "-W", "ignore", "-c", _OPEN_AT_ONCE, str(tmp_path / "shop" / "warmspan.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    opened = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert opened.stdout.split() == ["0"] * 6


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_runner_is_refused_and_a_killed_one_leaves_no_lock(tmp_path, url):
    settings(tmp_path / "one", url)
    other = settings(tmp_path / "other", url)
    with hold(tmp_path / "one") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        try:
            rule = r"One run at a time.*`shop` is held by"
            with pytest.raises(LockedError, match=rule) as refused, exclusive(other):
                pass
            if url.startswith("postgresql"):
                assert f"process {first.pid} on " in str(refused.value)
            with exclusive(settings(tmp_path / "films", url, name="films")):
                pass  # another recommender in the same store
        finally:
            first.kill()
    wait_until_free(other)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_server_that_does_not_answer_is_named(tmp_path, scheme):
    config = settings(tmp_path, f"{scheme}://someone:secret@127.0.0.1:9/mlmd")
    rule = r"must name a server that answers. Received: 127.0.0.1:9/mlmd"
    with pytest.raises(StoreError, match=rule) as error, exclusive(config):
        pass
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigError, match=rule) as error:
        read_ledger(config)
    assert "secret" not in str(error.value)


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", "from pipeline.cli import main; main()"]
    return subprocess.Popen(
        [*command, "run", "--config", str(folder / "warmspan.yaml")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_runners_with_roots_of_their_own_end_in_the_ledger_of_one(make_shop, tmp_path, url, three_days):
    shop = make_shop(3, folder="shop")
    for day in ("2024-05-02", "2024-05-03"):
        shutil.rmtree(shop.data.path / day)
    config = settings(tmp_path / "shop", url)
    second = tmp_path / "shop" / "second"
    second.mkdir()
    text = (tmp_path / "shop" / "warmspan.yaml").read_text().replace(": shop/", ": ../shop/")
    (second / "warmspan.yaml").write_text(text)

    runners = [start(tmp_path / "shop"), start(second)]
    said = [runner.communicate(timeout=600) for runner in runners]
    codes = [runner.returncode for runner in runners]
    # Whoever comes second is refused, or finds all done, if the first was quicker than it took to start.
    assert 0 in codes, said
    for code, (_, errors) in zip(codes, said, strict=True):
        if code:
            assert "One run at a time may use a recommender's store" in errors
            assert "Traceback" not in errors
    assert comparable(config) == comparable(three_days)[:1]
    assert [run.revision for run in read_ledger(config)] == [1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_runner_killed_in_a_node_is_gone_on_with(make_shop, tmp_path, url, three_days):
    make_shop(3, folder="killed")
    config = settings(tmp_path / "killed", url, name="killed")
    span = str(DAYS.parse("2024-05-01"))
    path = str(tmp_path / "killed" / "warmspan.yaml")
    with helper("tests.pipeline.killed_run") as child:
        assert child.call("tests.pipeline.killed_run:main", path, span, "1", "IncrementalTrainer") == -signal.SIGKILL
    assert [run.state for run in read_ledger(config)] == ["unfinished"]
    wait_until_free(config)
    SpanRun(config, int(span), 1).run()
    assert comparable(config) == comparable(three_days)[:1]
    check_bundle(config.serving_path / "2024050101")
