"""Past spans under several policies: the same spans as the pipeline's, tested before they are learned, resumable."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.span_example_gen.errors import SpanError
from components.span_transform import vocabulary_growth
from pipeline.backtest import BacktestError, backtest, find_policies, policy_run
from pipeline.backtest.ingest import ingest
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.prepared_spans import PreparedSpan, prepare, transform
from pipeline.backtest.results import Row
from pipeline.backtest.summary import summarize
from pipeline.backtest.summary_table import comparison
from pipeline.cli.app import app
from pipeline.config import Config, ConfigError, with_settings
from pipeline.ledger.runs import read_ledger
from pipeline.node_order import NODES
from pipeline.orchestration.daily_run import run_steps
from pipeline.orchestration.span_run import SpanRun
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from tests.components import span_example_gen_ingest
from tests.components.span_transform_days import folders, run_beam
from tests.pipeline.backtest.backtest_shop import DAYS, deliver_shop, facts, run
from trainer.held_out_parts import held_out_files
from trainer.input_pipeline import read_held_out, read_sequences


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return deliver_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def spans(shop: Config, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedSpan]:
    return prepare(shop, read_deliveries(shop), tmp_path_factory.mktemp("prepared") / "spans", lambda name: None)


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The spans that each update learns."""
    calls: list[list[int]] = []

    def noting(real):
        def learn(spec, days, *args, **kwargs):
            calls.append([day.span.number for day in days])
            return real(spec, days, *args, **kwargs)

        return learn

    for name in ("catch_up", "learn_at_once"):
        monkeypatch.setattr(policy_run, name, noting(getattr(policy_run, name)))
    return calls


# The spans.


def test_the_spans_are_those_of_the_pipeline(shop, tmp_path):
    """Against the real executor of SpanExampleGen and the Beam pipeline of SpanTransform, in several shards."""
    settings = dataclasses.replace(GraphParameters.of(shop).transform, rows_per_shard=64)
    yesterday = None
    for span in list(read_deliveries(shop))[:3]:
        events = span_example_gen_ingest.ingest(
            shop.data.path, tmp_path / "events" / str(span), span=span,
            eval_fraction=shop.split.eval_fraction, **GraphParameters.of(shop).data,
        )  # fmt: skip
        with_beam, without = (folders(tmp_path / name, span, yesterday) for name in ("beam", "backtest"))
        files = {split: [str(path) for path in events.files(split)] for split in ("train", "eval")}
        shards = 2 if yesterday is None else 4
        run_beam(files, shards, span, with_beam, settings)
        transform(ingest(shop, span, tmp_path / "refused"), span, without, settings)
        sequences, held_out, vocabularies = zip(*(_made(where) for where in (with_beam, without)), strict=True)
        np.testing.assert_equal(dataclasses.asdict(sequences[0]), dataclasses.asdict(sequences[1]))
        np.testing.assert_equal(held_out[0], held_out[1])
        assert vocabularies[0] == vocabularies[1]
        assert sequences[0].new_events > 50
        yesterday = span


def _made(where):
    sequences = read_sequences(_files(where.sequences, "train"))
    positions, slices = read_held_out(held_out_files(where.held_out))
    vocabularies = vocabulary_growth.Vocabularies.load(where.vocabulary, 1)
    prints = (vocabularies.items.fingerprint, vocabularies.keys.fingerprint, vocabularies.items.recent.tolist())
    return sequences, {**dataclasses.asdict(positions), **slices}, prints


def _files(folder: str, split: str) -> list[str]:
    return sorted(str(path) for path in (Path(folder) / f"Split-{split}").glob("*.gz"))


def test_spans_are_made_once_and_again_from_the_first_that_changed(tmp_path):
    shop = deliver_shop(tmp_path, days=3)
    made = prepare(shop, read_deliveries(shop), tmp_path / "spans", lambda name: None)
    times = [span.folder.stat().st_mtime_ns for span in made]
    second = shop.data.path / DAYS[1] / "more.csv"
    same = prepare(shop, read_deliveries(shop), tmp_path / "spans", lambda name: None)
    assert [span.folder.stat().st_mtime_ns for span in same] == times
    line = (shop.data.path / DAYS[1] / "events.csv").read_text().splitlines()
    second.write_text(f"{line[0]}\n{line[1].replace(line[1].split(',')[1], 'brand_new', 1)}\n")
    changed = prepare(shop, read_deliveries(shop), tmp_path / "spans", lambda name: None)
    assert [before.fingerprint == after.fingerprint for before, after in zip(made, changed, strict=True)] == [
        True,
        False,
        False,
    ]
    assert [span.folder.stat().st_mtime_ns == time for span, time in zip(changed, times, strict=True)] == [
        True, False, False,
    ]  # fmt: skip
    assert changed[1].sequences.new_events == same[1].sequences.new_events + 1 or len(changed[1].held_out)


def test_a_span_that_the_pipeline_would_refuse_stops_the_backtest(tmp_path):
    shop = deliver_shop(tmp_path, days=2)
    path = shop.data.path / DAYS[1] / "events.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(line if i % 2 else "," * line.count(",") for i, line in enumerate(lines))]))
    with pytest.raises(SpanError, match=r"(?s)2024-05-02 was refused.*no_key"):
        prepare(shop, read_deliveries(shop), tmp_path / "out" / "spans", lambda name: None)
    assert (tmp_path / "out" / "refused" / "2024-05-02.csv").read_text().startswith("file,line,reason,value\n")
    assert [folder.name for folder in (tmp_path / "out" / "spans").iterdir()] == ["2024-05-01"]


# What is learned, and when.


def test_each_policy_learns_what_it_says(shop, spans, tmp_path, trained_on):
    numbers = [span.number for span in spans[:3]]
    learned = {}
    for name in ("fine-tune", "retrain", "never"):
        trained_on.clear()
        rows = run(shop, spans[:3], name, tmp_path / name)
        learned[name] = list(trained_on)
        assert [row.events > 0 for row in rows] == [False, True, True], "the first span has nothing to be tested by"
    assert learned["fine-tune"] == [[number] for number in numbers]
    assert learned["retrain"] == [numbers[:1], numbers[0:2], numbers[1:3]]
    assert learned["never"] == [numbers[:1]]
    assert [row.action for row in rows] == ["cold_start", "skip", "skip"]


def test_every_event_of_a_span_is_tested(shop, spans, tmp_path):
    rows = run(shop, spans[:2], "never", tmp_path)
    with (shop.data.path / DAYS[1] / "events.csv").open(newline="") as file:
        assert rows[1].events == len(list(csv.DictReader(file)))


def test_a_span_is_tested_before_it_is_learned(shop, spans, tmp_path):
    """What is learned of a span, and how, does not show in its own test but in the next one's."""
    first = run(shop, spans[:3], "fine-tune", tmp_path / "one")
    second = run(shop, spans[:3], "never", tmp_path / "other")
    assert first[1].metrics == second[1].metrics
    assert first[2].metrics != second[2].metrics


def test_a_span_too_small_to_judge_is_owed_and_learned_with_the_next(tmp_path, trained_on):
    shop = deliver_shop(tmp_path, days=3)
    path = shop.data.path / DAYS[1] / "events.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))
    spans = prepare(shop, read_deliveries(shop), tmp_path / "spans", lambda name: None)
    rows = run(shop, spans, "fine-tune", tmp_path / "fine-tune")
    assert [row.action for row in rows] == ["cold_start", "skip", "fine_tune"]
    assert rows[1].just_learned is not None, "tested when it was learned at last"
    assert trained_on == [[spans[0].number], [spans[1].number, spans[2].number]]


def test_a_backtest_that_was_stopped_goes_on_at_the_span_where_it_was(shop, spans, tmp_path, trained_on):
    (policy,) = find_policies(["fine-tune+replay"], shop)
    whole = PolicyRun(policy, 1, spans, tmp_path / "whole").run()
    trained_on.clear()

    def stop(span: PreparedSpan) -> None:
        if span.number == spans[2].number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PolicyRun(policy, 1, spans, tmp_path / "stopped").run(stop)
    rows = PolicyRun(policy, 1, spans, tmp_path / "stopped").run()
    assert facts(rows) == facts(whole)
    assert trained_on == [[span.number] for span in spans]
    assert PolicyRun(policy, 1, spans, tmp_path / "stopped").run() == rows
    fewer = PolicyRun(policy, 1, spans[:2], tmp_path / "stopped").run()
    assert fewer == [dataclasses.replace(row, retained=None) for row in rows[:2]], "fewer spans are a part of it"
    assert len(trained_on) == 4
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == [DAYS[3]]


def test_another_setting_or_seed_starts_anew(shop, spans, tmp_path, trained_on):
    run(shop, spans[:2], "fine-tune", tmp_path)
    run(shop, spans[:2], "fine-tune", tmp_path, {"update": dataclasses.replace(shop.update, batch_size=32)})
    assert len(trained_on) == 4


# The whole, and what goes wrong.


@pytest.mark.slow
def test_one_table_and_one_csv_of_all_policies_and_seeds(shop, tmp_path):
    console = Console(record=True, width=160, quiet=False, file=(tmp_path / "out.txt").open("w"))
    policies = find_policies(["fine-tune", "retrain"], shop)
    third = list(read_deliveries(shop))[2]
    rows = backtest(shop, policies, console, last=third, seeds=2, folder=tmp_path / "kept").rows
    console.file.close()
    with (tmp_path / "kept" / "backtest.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(rows) == 2 * 3 + 2 * 2 * 3
    assert [line["recall"] != "" for line in lines[:3]] == [False, True, True]
    assert {(line["policy"], line["seed"]) for line in lines[6:]} == {
        (name, seed) for name in ("fine-tune", "retrain") for seed in "12"
    }
    text = (tmp_path / "out.txt").read_text()
    for part in ("most popular, 7 spans", "recall@5", "mrr@5", "±", "100%", "2024-05-01 to 2024-05-03"):
        assert part in text
    assert "\x1b" not in text, "quiet when not a terminal"


def test_the_table_is_the_mean_over_spans_and_the_spread_over_seeds():
    def row(policy: str, seed: int, span: str, recall: float | None, seconds: float) -> Row:
        metrics = {} if recall is None else {"recall": recall}
        return Row(policy, seed, span, "fine_tune", 0 if recall is None else 9, metrics, 100, 1, seconds)

    rows = [row("slow", 1, "a", None, 4), row("slow", 1, "b", 0.5, 6)]
    for seed, recalls in ((1, (0.1, 0.3)), (2, (0.3, 0.5))):
        rows += [row("quick", seed, "a", None, 1.0)]
        rows += [row("quick", seed, span, recall, 1.0) for span, recall in zip("bc", recalls, strict=True)]
    table = comparison(summarize(rows, ["recall"], retrain="slow"), ["recall"], 20)
    cells = [list(column.cells) for column in table.columns]
    assert cells == [
        ["slow", "quick"],
        ["0.5000", "0.3000 ± 0.1414"],
        ["10.0", "3.0"],
        ["200", "300"],
        ["100%", "30%"],
        ["100%", "150%"],
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"first": 0, "last": 1}, "at least two spans"),
        ({"seeds": 0}, "`seeds` must be at least 1"),
        ({"retention_spans": -1}, "`retention-spans` must be at least 0"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(shop, tmp_path, asked, message):
    with pytest.raises(BacktestError, match=message):
        backtest(shop, find_policies(["never"], shop), Console(quiet=True), folder=tmp_path, **asked)


def test_policies_of_a_file_change_the_settings(shop, tmp_path):
    file = tmp_path / "policies.yaml"
    file.write_text(
        "gentle: {update: {learning_rate: 0.02, stability: {proximal: {strength: 0.5}}}}\n"
        "weekly: {learn: retrain, update: {retrain_spans: 7}}\n"
        "as it is:\n"
    )
    gentle, weekly, same = find_policies([], shop, file)
    assert (gentle.learn, gentle.config.update.learning_rate) == ("fine_tune", 0.02)
    assert gentle.config.update.stability.proximal.strength == 0.5
    assert gentle.config.update.batch_size == shop.update.batch_size
    assert (weekly.learn, weekly.config.update.retrain_spans) == ("retrain", 7)
    assert same.config == shop
    assert [policy.name for policy in find_policies(["never", "gentle"], shop, file)] == ["never", "gentle"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: {update: {epoch: 3}}", "`update.epoch` is not a setting. Did you mean `epochs`?"),
        ("x: {update: {stability: {replay: {budgets: 3}}}}", "Did you mean `budget`?"),
        ("x: {learn: always}", "must be one of fine_tune, retrain, never. Received: 'always'"),
        ("x: {data: {path: elsewhere}}", "must hold `learn`, `update`, `model` or `policy`"),
        ("../x: {}", "text without a slash"),
        ("- x", "must map names to policies"),
        ("x: {update: [", "must be a YAML file that can be read"),
    ],
)
def test_a_policy_that_cannot_be_used_is_a_sentence(shop, tmp_path, text, message):
    file = tmp_path / "policies.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        find_policies([], shop, file)
    assert message in str(raised.value)


def test_an_unknown_policy_is_named_with_the_known_ones(shop):
    with pytest.raises(ConfigError, match=r"one of fine-tune, fine-tune\+replay, .*Received: 'tune'"):
        find_policies(["tune"], shop)


def test_the_command_ends_in_a_sentence(shop, capfd):
    config = ["--config", str(shop.root.parent / "warmspan.yaml")]
    for asked, said in (
        (["--policy", "tune"], "A policy must be one of"),
        (["--from", "May"], "`span` must be a date"),
        (["--from", "2030-01-01"], "at least two spans"),
    ):
        result = CliRunner().invoke(app, ["backtest", *config, *asked])
        assert result.exit_code == 1
        assert said in result.output + getattr(result, "stderr", "") + capfd.readouterr().err


SEQUENCES = {
    "model": {"type": "sasrec", "params": {"dimension": 8, "negatives": 20, "neighbours": 8}},
    "update": {"optimizer": "adam", "learning_rate": 0.01, "watch": "recall", "cold_epochs": 3},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_numbers_are_those_of_the_pipeline(three_days, tmp_path):
    compare_numbers(three_days, tmp_path)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default")
def test_the_numbers_are_those_of_the_pipeline_with_all_that_comes_through_artifacts(make_shop, tmp_path):
    """With stability parts on, so that the replay memory must have come the same way."""
    parts = {"replay": {"budget": 40}, "proximal": {"strength": 0.01}}
    settings = with_settings(make_shop(3), {"update": {"stability": parts, "schedule": {"slots": "decay"}}}, "the test")
    shop = with_settings(settings, SEQUENCES, "the test")
    *steps, last = make_plan([], read_deliveries(shop), Naming(dated=True))
    run_steps(shop, steps, Console(quiet=True))
    third = SpanRun(shop, last.span, last.revision)
    for node in NODES[: NODES.index("UpdateDecider") + 1]:  # what the second day's model is worth is known by then
        third.run_node(node)
    compare_numbers(shop, tmp_path)


def compare_numbers(shop: Config, tmp_path: Path) -> None:
    """Of a shop whose three days were run, the last to the decision at least."""
    deliveries, ledger = read_deliveries(shop), read_ledger(shop)
    assert [run.action for run in ledger] == ["cold_start", "fine_tune", "fine_tune"]
    rows = PolicyRun(
        find_policies(["settings"], shop)[0],
        shop.update.seed,
        prepare(shop, deliveries, tmp_path / "backtest" / "spans", lambda name: None),
        tmp_path / "backtest" / "run",
    ).run()
    for ledger_run, row in zip(ledger, rows, strict=True):
        assert row.metrics == pytest.approx(ledger_run.next_span, abs=1e-6)
