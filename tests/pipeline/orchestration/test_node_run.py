"""One node at a time: the same day as `warmspan run`, and a scheduler's exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import Config
from pipeline.ledger.runs import Run, read_ledger, read_run
from pipeline.node_order import DECIDER, GUARD, NODES, PASSED_OVER
from pipeline.orchestration import node_run
from pipeline.orchestration.daily_run import run_steps
from pipeline.orchestration.span_run import RunError, SpanRun
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import PlanError, make_plan
from pipeline.spans import Naming, SpanNameError
from tests.pipeline.conftest import settings
from tests.pipeline.forked_commands import forked_commands

pytestmark = pytest.mark.filterwarnings("default")

DAYS = Naming(dated=True)
ROOT = Path(__file__).resolve().parents[3]
FIRST, SECOND = NODES[:2]


def run_days(config: Config) -> list[Run]:
    steps = make_plan(read_ledger(config), read_deliveries(config), DAYS)
    run_steps(config, steps, Console(quiet=True))
    return read_ledger(config)


def facts(ledger: Sequence[Run]) -> list[dict]:
    """All that a ledger says, but for what may differ from run to run: times, and the files' times of change."""
    return [{**vars(run), "seconds": sorted(run.seconds), "fingerprint": ""} for run in ledger]


@pytest.fixture(scope="module")
def in_a_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path, str, str], Any]]:
    """A function that runs a node of a day in a process of its own."""
    with forked_commands(tmp_path_factory.mktemp("said")) as run:
        yield lambda config_path, node, span: run("run-node", node, "--span", span, "--config", str(config_path))


def test_the_constant_list_is_the_compiled_graphs_order(make_shop):
    run = SpanRun(make_shop(1), DAYS.parse("2024-05-01"), 1)
    assert run.graph.nodes == NODES


def test_no_parameter_is_a_number_that_postgresql_does_not_hold(make_shop):
    """MLMD has 32 bits for one there."""
    graph = SpanRun(make_shop(1), DAYS.parse("2099-12-31"), 99).graph
    numbers = {(node, name): value for node in NODES for name, value in graph.numbers(node).items()}
    assert ("SpanGuard", "span") in numbers
    assert not {where: value for where, value in numbers.items() if abs(value) >= 2**31}


def test_what_may_end_a_day_is_known_of_each_node(make_shop):
    graph = SpanRun(make_shop(1), DAYS.parse("2024-05-01"), 1).graph
    ends = {node: graph.conditions(node) for node in NODES}
    guarded = ("SpanTransform", "NextSpanEvaluator", "UpdateDecider")
    decided = ("IncrementalTrainer", "PairedComparison", "Evaluator", "SpanPusher")
    expected = {node: {GUARD} for node in guarded} | {node: {GUARD, DECIDER} for node in decided}
    assert ends == {node: frozenset(expected.get(node, ())) for node in NODES}


def test_of_a_held_day_the_nodes_after_the_guard_are_passed_over_for_a_scheduler(made):
    made.held("2024-05-01")
    folder = made.config.data.path / "2024-05-01"
    folder.mkdir(parents=True)
    (folder / "events.csv").write_text("user_id,item_id,timestamp,quantity\n")
    why = "It is held: events 9: usual 400 to 500. To let it in: `warmspan release 2024-05-01`."
    for node in ("SpanTransform", "UpdateDecider", "SpanPusher"):
        result = node_run.run_node(made.config, node, "2024-05-01")
        assert (result.outcome, result.why) == ("passed over", why)
    assert read_run(made.config, DAYS.parse("2024-05-01")).state == "held"


def test_nodes_are_printed_in_order():
    assert CliRunner().invoke(app, ["nodes"]).stdout.split() == list(NODES)


def test_bad_requests_are_refused_with_a_sentence(make_shop):
    config = make_shop(2)
    with pytest.raises(RunError, match=rf"`node` must be one of {FIRST}, .* Received: 'Trainer'"):
        node_run.run_node(config, "Trainer", "2024-05-01")
    with pytest.raises(SpanNameError, match=r"must be a date like 2024-05-03"):
        node_run.run_node(config, FIRST, "1 May")
    with pytest.raises(PlanError, match="none for 2024-06-01"):
        node_run.run_node(config, FIRST, "2024-06-01")
    with pytest.raises(RunError, match=f"must begin with {FIRST}"):
        node_run.run_node(config, "SpanTransform", "2024-05-01")
    with pytest.raises(RunError, match=rf"in the order that `warmspan nodes` prints. Received: Yesterday, {FIRST}"):
        list(node_run.run_nodes(config, ["Yesterday", FIRST], "2024-05-01"))
    with pytest.raises(RunError, match=r"Received: 'Trainer'"):
        list(node_run.run_nodes(config, [FIRST, "Trainer"], "2024-05-01"))
    path = str(config.root.parent / "warmspan.yaml")
    for span in ("2024-06-01", "1 May"):
        for options, code in (((), 1), (("--skip-refused",), PASSED_OVER)):
            refused = CliRunner().invoke(app, ["run-node", FIRST, "--span", span, "--config", path, *options])
            assert (refused.exit_code, "Received: " in refused.output) == (code, True)
    assert read_ledger(config) == []


def test_several_nodes_are_run_in_one_call_and_a_bad_list_runs_none(make_shop):
    config = make_shop(1)
    path = str(config.root.parent / "warmspan.yaml")
    command = ["run-node", "--span", "2024-05-01", "--config", path]
    done = CliRunner().invoke(app, [*command, FIRST, SECOND])
    assert done.exit_code == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        f"2024-05-01 {FIRST}", f"2024-05-01 {SECOND}",
    ]  # fmt: skip
    again = CliRunner().invoke(app, [*command, FIRST, SECOND])
    assert again.stdout.count("done already") == 2
    begun = CliRunner().invoke(app, [*command, FIRST, SECOND, "--skip-done"])
    assert (begun.exit_code, begun.stdout.count("done already")) == (0, 2), "the day is not done yet"
    refused = CliRunner().invoke(app, [*command, FIRST, FIRST])
    assert refused.exit_code == 1


def test_a_node_that_comes_too_early_is_refused_and_leaves_no_execution(make_shop):
    config = make_shop(1)
    node_run.run_node(config, FIRST, "2024-05-01")
    with pytest.raises(RunError, match=r"SpanTransform must come after SpanExampleGen, SpanGuard, Yesterday"):
        node_run.run_node(config, "SpanTransform", "2024-05-01")
    (run,) = read_ledger(config)
    assert run.state == "unfinished"
    assert list(run.seconds) == ["Resolver"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_days_node_by_node_each_in_a_process_give_the_ledger_of_a_run(
    make_shop, tmp_path, three_days, in_a_process
):
    parts = make_shop(3, folder="parts")
    path = tmp_path / "parts" / "warmspan.yaml"
    for node in NODES:
        done = in_a_process(path, node, "2024-05-01")
        assert done.returncode == 0, done.stderr
        assert f"2024-05-01 {node}: ran in" in done.stdout
    once = read_ledger(parts)
    again = in_a_process(path, "IncrementalTrainer", "2024-05-01")
    assert (again.returncode, again.stdout.strip()) == (0, "2024-05-01 IncrementalTrainer: done already")
    (skipped,) = node_run.run_nodes(parts, NODES, "2024-05-01", skip_done=True)
    assert (skipped.outcome, "was done before (pushed as 2024050101)" in skipped.why) == ("passed over", True)
    assert read_ledger(parts) == once
    for node in NODES:
        node_run.run_node(parts, node, "2024-05-02")
    assert facts(read_ledger(parts)) == facts(read_ledger(three_days)[:2])
    assert sorted(os.listdir(parts.serving_path)) == ["2024050101", "2024050201"]
    curves = [
        {path.name for path in config.logs_path.glob("days since 2024-05-01/*")} for config in (parts, three_days)
    ]
    assert curves[0]
    assert curves[0] <= curves[1]


@pytest.mark.slow
def test_a_refused_push_and_a_skipped_day_are_passed_over(make_shop, tmp_path, in_a_process):
    config = make_shop(3, floor=1.01)
    outcomes = {node: node_run.run_node(config, node, "2024-05-01").outcome for node in NODES}
    assert outcomes == {**dict.fromkeys(NODES, "ran"), "SpanPusher": "passed over"}
    refused = in_a_process(tmp_path / "one" / "warmspan.yaml", "SpanPusher", "2024-05-01")
    assert refused.returncode == PASSED_OVER
    assert "Refused on" in refused.stdout
    (run,) = read_ledger(config)
    assert (run.state, run.pushed) == ("done", None)

    with pytest.raises(PlanError, match="Spans must be run in order"):
        node_run.run_node(config, FIRST, "2024-05-03")
    (file,) = config.data.path.glob("2024-05-02/*.csv")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    config = settings(tmp_path / "one")
    outcomes = {node: node_run.run_node(config, node, "2024-05-02").outcome for node in NODES}
    passed_over = ("IncrementalTrainer", "PairedComparison", "Evaluator", "SpanPusher")
    assert outcomes == {**dict.fromkeys(NODES, "ran"), **dict.fromkeys(passed_over, "passed over")}
    skipped = read_run(config, DAYS.parse("2024-05-02"))
    assert skipped is not None
    assert (skipped.state, skipped.action) == ("done", "skip")
    again = node_run.run_node(config, "Evaluator", "2024-05-02")
    assert again.why == f"The decision is to skip the span: {skipped.reason}"


@pytest.mark.slow
def test_a_failed_node_names_its_log_and_goes_on_when_mended(make_shop, tmp_path, in_a_process):
    config = make_shop(1)
    (file,) = config.data.path.glob("2024-05-01/*.csv")
    good = file.read_text()
    file.write_text("a,b\n1,2\n")
    node_run.run_node(config, FIRST, "2024-05-01")
    path = tmp_path / "one" / "warmspan.yaml"
    failed = in_a_process(path, "SpanExampleGen", "2024-05-01")
    assert failed.returncode == 1
    assert "SpanExampleGen failed in span 2024-05-01" in failed.stderr
    assert "Traceback" not in failed.stderr
    log = node_run.log_path(config, "2024-05-01", 1)
    assert f"Details: {log}." in failed.stderr
    assert "Traceback" in log.read_text()
    file.write_text(good)
    assert in_a_process(path, "SpanExampleGen", "2024-05-01").returncode == 0
