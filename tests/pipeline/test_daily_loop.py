"""Whole days through the real pipeline: what a user can rely on from one night to the next."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from components.incremental_trainer.artifact_files import STATE_FOLDER
from pipeline.config import Config, load_config, with_settings
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.runs import Run, read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.orchestration.daily_run import run_steps
from pipeline.orchestration.span_run import RunError, SpanRun
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import PlanError, make_plan
from pipeline.spans import Naming
from serving.bundle import check_bundle
from tests.fault_injection import helper
from tests.pipeline.conftest import settings
from tests.pipeline.tensorboard_pages import check_agreement
from trainer.input_pipeline import read_sequences
from trainer.train_state import ModelState

# Whole days and killed processes: minutes where two cores are shared.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

DAYS = Naming(dated=True)


def run(config: Config, **asked) -> list[Run]:
    steps = make_plan(read_ledger(config), read_deliveries(config), DAYS, **asked)
    run_steps(config, steps, Console(quiet=True))
    return read_ledger(config)


def facts(ledger: list[Run]) -> list[dict]:
    """All that a ledger says, but for what may differ from run to run: times, and the files' times of change."""
    return [
        {
            **{name: _rounded(value) for name, value in vars(run).items()},
            "seconds": sorted(run.seconds),
            "fingerprint": "",
        }
        for run in ledger
    ]


def _rounded(value: Any) -> Any:
    """Metrics to six places: TFMA adds up in the order in which its bundles come."""
    return {name: round(number, 6) for name, number in value.items()} if isinstance(value, dict) else value


def served(config: Config) -> dict[str, dict]:
    """Every served version with its manifest, after its parts have been checked."""
    manifests = {folder.name: dict(check_bundle(folder).about) for folder in sorted(config.serving_path.iterdir())}
    for about in manifests.values():  # TFMA adds up in the order in which its bundles come
        about["metrics"] = {name: round(value, 6) for name, value in about["metrics"].items()}
        # How long an export took to load and answer is another each time, and so are the names in its graph.
        del about["validation"], about["bytes"]
    return manifests


def test_the_same_days_give_the_same_ledger_and_the_same_model(make_shop, three_days):
    first = make_shop(2)
    assert facts(run(first)) == facts(read_ledger(three_days))[:2]
    pushed = [run.pushed for run in read_ledger(first)]
    assert pushed == [2024050101, 2024050201]
    assert served(first) == {version: about for version, about in served(three_days).items() if int(version) in pushed}
    assert facts(run(first)) == facts(read_ledger(three_days))[:2], "a run with nothing to do must change nothing"
    check_agreement(first)


def test_a_run_killed_in_every_node_ends_like_one_that_was_not(shop_after, tmp_path, three_days):
    killed = shop_after(1, folder="killed")
    second = DAYS.parse("2024-05-02")
    before = set(served(killed))
    path = str(tmp_path / "killed" / "warmspan.yaml")
    with helper("tests.pipeline.killed_run") as child:
        for node in SpanRun(killed, second, 1).graph.nodes:  # each process goes on where the last one was killed
            assert child.call("tests.pipeline.killed_run:main", path, str(second), "1", node) == -signal.SIGKILL
            assert set(served(killed)) - before <= {str(DAYS.version(second, 1))}, "nothing but a whole version"
            assert [run.state for run in read_ledger(killed)][1:] in (["unfinished"], [])
    # The next process takes up this day before it goes on to the next.
    run(killed)
    assert facts(read_ledger(killed)) == facts(read_ledger(three_days))
    assert served(killed) == served(three_days)


def test_owed_spans_are_learned_once_each_as_on_their_days_and_nothing_is_lost(shop_after, three_days):
    config = shop_after(1)
    base = config.root.parent
    strict = settings(base, floor=2.0)  # out of reach
    ledger = run(strict, last=DAYS.parse("2024-05-02"))
    assert [run.pushed for run in ledger] == [2024050101, None]
    assert re.match(r"Refused on \d+ held-out events: recall", ledger[1].verdict)
    unchanged = {"update": {"after_refusal": {"max_refusals": 0}}}
    ledger = run(with_settings(settings(base, floor=0.0), unchanged, "the test"))
    assert ledger[2].pushed == 2024050301
    assert "owes 1 earlier span" in ledger[2].reason

    about = served(config)
    assert about["2024050101"]["learned"] + about["2024050301"]["learned"][1:] == [run.span for run in ledger]
    assert about["2024050301"]["parent"] == 2024050101
    # A day that was learned late has changed nothing: to the last bit it is the model of a shop whose gate let it in.
    late, in_time = (ModelState.load(_model(of, 2024050301) / STATE_FOLDER) for of in (config, three_days))
    np.testing.assert_equal((late.weights, late.slots), (in_time.weights, in_time.slots))

    delivered = sum((_events(config, run.name) for run in ledger), Counter())
    trained = sum((_new_positions(folder) for folder in _sequences(config)), Counter())
    assert not trained - delivered, "nothing may be trained on twice, or that was not delivered"
    last_day = _events(config, "2024-05-03")
    assert not (delivered - trained) - last_day, "only the last day's held-out events may not have been learned"
    assert (delivered - trained).total() == int(0.1 * last_day.total())


def _model(config: Config, version: int) -> Path:
    (model,) = (
        of for of in read_artifacts(config, open_store(config)).of("IncrementalTrainer/model") if of.version == version
    )
    return model.folder


def _sequences(config: Config) -> list[Path]:
    """The folders of training sequences, in the order of the days."""
    return sorted((config.artifacts_path / "SpanTransform" / "sequences").iterdir(), key=lambda path: int(path.name))


def _new_positions(folder: Path) -> Counter:
    positions = read_sequences([str(path) for path in sorted(folder.glob("Split-train/*.gz"))]).positions()
    return Counter(zip(positions.timestamp.tolist(), positions.weight.tolist(), strict=True))


def _events(config: Config, day: str) -> Counter:
    """(time in ms, weight) of every row of the day's file."""
    with (config.data.path / day / "events.csv").open() as file:
        rows = {tuple(row.items()): row for row in csv.DictReader(file)}.values()
        return Counter((int(row["timestamp"]) * 1000, float(row["quantity"])) for row in rows)


def test_a_bad_day_stops_before_the_champion_is_touched_and_runs_once_it_is_mended(shop_after, three_days):
    config = shop_after(1)
    file = config.data.path / "2024-05-02" / "events.csv"
    good = file.read_text()
    file.write_text(good.replace("item_id", "article"))
    with pytest.raises(RunError, match=r"SpanExampleGen failed in span 2024-05-02: .*item_id.*\n.*still in service"):
        run(config)
    assert list(served(config)) == ["2024050101"]
    assert [run.state for run in read_ledger(config)] == ["done", "failed"]
    file.write_text(good)
    assert facts(run(config)) == facts(read_ledger(three_days))
    assert served(config) == served(three_days)


def test_a_day_too_small_to_judge_a_candidate_by_is_owed(shop_after):
    config = shop_after(1)
    file = config.data.path / "2024-05-02" / "events.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    ledger = run(config)
    assert [run.action for run in ledger] == ["cold_start", "skip", "fine_tune"]
    assert [run.state for run in ledger] == ["done"] * 3
    assert [run.events for run in ledger][1] == 1
    assert "too few" in ledger[1].reason
    assert "owes 1 earlier span" in ledger[2].reason
    assert list(served(config)) == ["2024050101", "2024050301"]


def test_a_day_delivered_again_after_later_ones_is_redone_only_when_told(shop_after):
    config, clean = shop_after(3, folder="late"), shop_after(1, folder="clean")
    for shop in (config, clean):
        lines = (shop.data.path / "2024-05-02" / "events.csv").read_text().splitlines(keepends=True)
        (shop.data.path / "2024-05-02" / "events.csv").write_text("".join(lines[: len(lines) // 2]))
    before = served(config)
    with pytest.raises(PlanError, match="2024-05-02 was delivered again after later spans were run: 2024-05-03"):
        run(config)
    assert served(config) == before
    ledger = run(config, first=DAYS.parse("2024-05-02"), redo=True)
    assert [run.pushed for run in ledger] == [2024050101, 2024050202, 2024050302]
    again = facts(run(clean))
    for late_facts, clean_facts in zip(facts(ledger), again, strict=True):
        same = ("events", "new_items", "new_keys", "next_span", "candidate", "champion", "verdict", "item_rows")
        assert {name: late_facts[name] for name in same} == {name: clean_facts[name] for name in same}


def test_two_runs_at_once_are_refused(make_shop):
    config = make_shop(1)
    span = DAYS.parse("2024-05-01")
    config.root.mkdir(parents=True, exist_ok=True)
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(60)"
    )
    lock = [sys.executable, "-c", hold, str(config.root / "run.lock")]
    with subprocess.Popen(lock, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            with pytest.raises(RunError, match="One run at a time"):
                SpanRun(config, span, 1).run()
        finally:
            other.kill()
    assert SpanRun(config, span, 1).run_node("Yesterday").ran, "the lock must go with the process that held it"


def test_only_so_many_versions_are_kept(shop_after):
    config = shop_after(1, of=2)
    path = config.root.parent / "warmspan.yaml"
    path.write_text(path.read_text() + "push: {keep_versions: 1}\n")
    run(load_config(path))
    assert list(served(config)) == ["2024050201"]
