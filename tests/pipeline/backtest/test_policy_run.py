"""A policy replayed on past spans: the decisions of the pipeline, by the same function, with their reasons."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import tensorflow_data_validation as tfdv
from rich.console import Console
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.types import standard_artifacts

from components.paired_comparison.lesson import Lesson
from components.update_decider import decision
from components.update_decider.drift import distances
from components.update_decider.policy import DriftRule
from pipeline.backtest import backtest, find_policies, policy_run
from pipeline.backtest.next_span import as_signature
from pipeline.backtest.policies import BUILT_IN
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.backtest.results import Row
from pipeline.backtest.statistics import statistics_of
from pipeline.backtest.verdict import Judged, judged
from pipeline.config import Config, ConfigError, with_settings
from pipeline.config.policy import Maintenance
from pipeline.demo.simulator import simulate
from pipeline.parameters.graph_parameters import LOCAL_BEAM, GraphParameters
from pipeline.planning.deliveries import read_deliveries
from tests.components import span_example_gen_ingest
from tests.components.plain_settings import NO_LIMIT
from tests.pipeline.backtest.backtest_shop import DAYS, FIRST_DAY, SETTINGS, deliver_shop, facts, run
from trainer import catch_up
from trainer.keras2 import tf
from trainer.update import update

TURNOVER = 3


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Five days, on the fourth of which everything is exchanged."""
    base = tmp_path_factory.mktemp("shop")
    simulate(
        base / "shop", FIRST_DAY, 5, seed=3, events_per_day=90, users=30, items=25, new_users_per_day=2,
        new_items_per_day=2, turnover=TURNOVER,
    )  # fmt: skip
    (base / "warmspan.yaml").write_text(SETTINGS.replace("quantity}", "quantity, context: [quantity]}"))
    from pipeline.config import load_config

    return load_config(base / "warmspan.yaml")


@pytest.fixture(scope="module")
def spans(shop: Config, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedSpan]:
    return prepare(shop, read_deliveries(shop), tmp_path_factory.mktemp("prepared") / "spans", lambda name: None)


def under(shop: Config, spans: list[PreparedSpan], folder: Path, **policy: object) -> list[Row]:
    return run(with_settings(shop, {"policy": policy}, "It"), spans, "settings", folder)


def actions(rows: list[Row]) -> list[str]:
    return [row.action for row in rows]


def test_a_full_retrain_is_not_repeated_while_the_first_one_is_fresh(shop, spans, tmp_path):
    rows = under(shop, spans[:4], tmp_path, cooldown=3, new_items={"retrain": 0.5})
    assert actions(rows) == ["cold_start", *["fine_tune"] * 3]
    assert "A full retrain was tried 3 days ago and is not tried again yet (policy.cooldown 3)." in rows[3].reason


def test_a_turned_over_catalogue_calls_for_a_full_retrain_by_every_figure_that_sees_it(shop, spans, tmp_path):
    turned = ["cold_start", "fine_tune", "fine_tune", "retrain", "fine_tune"]
    drift = under(shop, spans[:4], tmp_path / "drift", cooldown=0, drift={"columns": {"item": {"retrain": 0.9}}})
    assert actions(drift) == turned[:4]
    far = "`item` is 1.000 (Jensen-Shannon) from the nearest of the spans before (policy.drift retrain 0.9)."
    assert drift[3].reason == far
    items = under(shop, spans, tmp_path / "items", cooldown=0, new_items={"retrain": 0.5})
    assert actions(items) == turned
    assert "of the items are new (policy.new_items retrain 0.5)" in items[3].reason


def test_the_schedule_and_the_age_are_kept(shop, spans, tmp_path):
    thursdays = {"every": 1, "weekday": "thursday"}  # 2024-05-02, the second day
    rows = under(shop, spans[:4], tmp_path / "schedule", schedule=thursdays, max_age=2, cooldown=0)
    assert actions(rows) == ["cold_start", "retrain", "fine_tune", "retrain"]
    assert rows[1].reason == "A full retrain is due by the schedule (every Thursday)."
    assert rows[3].reason == "The last full retrain was 2 days ago (policy.max_age 2)."


def test_what_is_left_for_later_is_learned_later(shop, spans, tmp_path):
    rows = under(shop, spans, tmp_path, rest_spans=1)
    assert actions(rows) == ["cold_start", "skip", "fine_tune", "skip", "fine_tune"]
    always = run(shop, spans, "settings", tmp_path / "always")
    assert sum(row.examples for row in rows) == sum(row.examples for row in always), "each event once"


def test_retention_is_measured_on_the_older_held_out_events(shop, spans, tmp_path):
    rows = under(shop, spans[:4], tmp_path, retention={"spans": 2, "age": 1, "retrain": -10.0}, cooldown=0)
    assert actions(rows) == ["cold_start", *["retrain"] * 3], "any change at all reaches this limit"
    assert "held-out events of 1 older span is" in rows[1].reason
    assert "held-out events of 2 older spans is" in rows[3].reason
    then = f"{(rows[1].held_out + rows[2].held_out) / 2:.4f} when they were new"
    assert then in rows[3].reason
    assert run(shop, spans[:2], "settings", tmp_path / "plain")[1].held_out is None


def test_the_next_span_figure_is_held_against_those_before(shop, spans, tmp_path):
    rows = under(shop, spans[:4], tmp_path, next_span={"at_least": 2, "spans": 2, "retrain": 0.5}, cooldown=0)
    band = [row.metrics["recall"] for row in rows[1:3]]
    assert actions(rows[:3]) == ["cold_start", "fine_tune", "fine_tune"]
    assert f"the mean {sum(band) / 2:.4f} of the last 2 spans" in rows[3].reason
    assert rows[3].metrics["recall"] < min(band), "nobody can know a new catalogue"
    assert rows[3].action == "retrain"


def test_a_backtest_that_was_cut_off_decides_as_one_that_was_not(shop, spans, tmp_path):
    policy = {
        "rest_spans": 1,
        "cooldown": 1,
        "retention": {"spans": 1, "age": 1, "fine_tune": 0.5},
        "new_items": {"fine_tune": 0.3, "retrain": 0.5},
        "next_span": {"at_least": 2, "retrain": 9},
    }
    whole = under(shop, spans, tmp_path / "whole", **policy)
    under(shop, spans[:3], tmp_path / "cut", **policy)
    assert facts(under(shop, spans, tmp_path / "cut", **policy)) == facts(whole)
    assert "retrain" in actions(whole)


def test_decisions_and_reasons_stand_in_the_csv_file(shop, tmp_path):
    file = tmp_path / "policies.yaml"
    file.write_text("turned: {policy: {cooldown: 0, new_items: {retrain: 0.5}}}\n")
    console = Console(quiet=True)
    backtest(shop, find_policies([], shop, file), console, folder=tmp_path / "out", retention_spans=0)
    with (tmp_path / "out" / "backtest.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["policy"] == "turned"]
    assert [row["action"] for row in rows] == ["cold_start", "fine_tune", "fine_tune", "retrain", "fine_tune"]
    assert rows[0]["reason"] == "No model is in service yet."
    assert "policy.new_items retrain 0.5" in rows[3]["reason"]


def test_what_is_built_in_knows_nothing_of_the_settings_files_policy(shop, tmp_path):
    config = with_settings(shop, {"policy": {"max_age": 3}}, "It")
    file = tmp_path / "policies.yaml"
    file.write_text("mine: {update: {epochs: 2}}\nother: {policy: {max_age: 5}}\n")
    policies = {
        policy.name: policy.config.policy for policy in find_policies([*BUILT_IN, "mine", "other"], config, file)
    }
    assert policies.pop("settings").max_age == policies.pop("mine").max_age == 3
    assert policies.pop("other").max_age == 5
    assert all(policy == Maintenance() for policy in policies.values())
    for wrong in ("a: {learn: retrain, policy: {max_age: 3}}", "a: {policy: {max_age: 0}}", "a: {gate: {}}"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match="The policy 'a'"):
            find_policies([], config, file)


def test_the_pipeline_and_the_backtest_ask_the_same_function():
    from components.update_decider import component
    from pipeline.backtest import policy_run

    assert component.decide is policy_run.decide is decision.decide


def test_the_statistics_are_those_of_the_pipeline(shop, spans, tmp_path):
    """Against the real executors of SpanExampleGen and StatisticsGen."""
    rules = [DriftRule(name, "jensen_shannon", NO_LIMIT) for name in ("item", "key", "weight", "quantity")]
    rules.append(DriftRule("item", "infinity_norm", NO_LIMIT))
    pipeline_statistics = []
    for span in spans[2:4]:
        events = span_example_gen_ingest.ingest(
            shop.data.path, tmp_path / str(span.number), span=span.number,
            eval_fraction=shop.split.eval_fraction, **GraphParameters.of(shop).data,
        )  # fmt: skip
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / f"statistics-{span.number}")
        context = statistics_gen.Executor.Context(beam_pipeline_args=list(LOCAL_BEAM), tmp_dir=str(tmp_path))
        statistics_gen.Executor(context).Do({"examples": [events.examples]}, {"statistics": [statistics]}, {})
        assert statistics.span == span.number
        pipeline_statistics.append(
            tfdv.load_stats_binary(str(Path(statistics.uri) / "Split-train" / "FeatureStats.pb"))
        )
    backtest_statistics = [statistics_of(shop, span) for span in spans[2:4]]
    both_distances = [distances(today, [before], rules) for before, today in (pipeline_statistics, backtest_statistics)]
    assert [distance[:2] for distance in both_distances[0]] == [distance[:2] for distance in both_distances[1]]
    assert [distance[2] for distance in both_distances[0]] == pytest.approx(
        [distance[2] for distance in both_distances[1]], abs=1e-6
    )
    assert both_distances[0][0][2] == pytest.approx(1.0)


def test_statistics_are_made_once_and_go_with_the_span(tmp_path):
    shop = deliver_shop(tmp_path, days=2)
    made = prepare(shop, read_deliveries(shop), tmp_path / "out" / "spans", lambda name: None)
    statistics_of(shop, made[0])
    time = (made[0].folder / "statistics.pb").stat().st_mtime_ns
    statistics_of(shop, made[0])
    assert (made[0].folder / "statistics.pb").stat().st_mtime_ns == time
    (shop.data.path / DAYS[0] / "more.csv").write_text("user_id,item_id,timestamp,quantity\nu1,i1,1714521600,1\n")
    prepare(shop, read_deliveries(shop), tmp_path / "out" / "spans", lambda name: None)
    assert not (made[0].folder / "statistics.pb").exists()


def test_a_row_from_an_earlier_version_is_read(shop):
    old = {name: value for name, value in dataclasses.asdict(Row("a", 1, "b", "skip", 0, {}, 0, 0, 0.0)).items()
           if name not in ("reason", "held_out")}  # fmt: skip
    assert Row.from_dict(old).reason == ""


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...], bool, bool]]:
    """Of each training its model, its spans by their place, whether from fresh weights, and whether it was taught."""
    every: list[tuple[str, tuple[int, ...], bool, bool]] = []

    def spied(base=None, teacher=None, **given):
        numbers = tuple(span.number for span in given["spans"])
        every.append((given["spec"].type, numbers, base is None, teacher is not None))
        return update(base=base, teacher=teacher, **given)

    monkeypatch.setattr(catch_up, "update", spied)
    return every


def test_a_backtests_teacher_learns_every_so_often_also_where_it_was_cut_off(shop, spans, tmp_path, trained):
    teacher = {"type": "two_tower", "params": {"dimension": 4}, "every": 2}
    taught = with_settings(shop, {"update": {"teacher": teacher}}, "It")
    rows = run(taught, spans[:2], "settings", tmp_path / "cut off")
    rows = run(taught, spans[:3], "settings", tmp_path / "cut off")
    small, first = shop.model.type, spans[0].number
    assert trained == [
        ("two_tower", (first,), True, False),
        (small, (first,), True, True),
        (small, (first + 1,), False, True),
        ("two_tower", (first + 1, first + 2), False, False),
        (small, (first + 2,), False, True),
    ]
    assert facts(run(taught, spans[:3], "settings", tmp_path / "whole")) == facts(rows)
    alone = run(shop, spans[:3], "settings", tmp_path / "alone")
    assert [row.examples > untaught.examples for row, untaught in zip(rows, alone, strict=True)] == [True, False, True]
    assert rows[2].metrics != alone[2].metrics
    trained.clear()
    run(taught, spans[:1], "fine-tune", tmp_path / "built in")
    assert [of[0] for of in trained] == [small]


def test_a_backtest_learns_more_carefully_after_a_verdict_and_goes_back(shop, spans, tmp_path, monkeypatch):
    said = [Lesson("not worse", ""), Lesson("refused", "retention"), *[Lesson("not worse", "")] * 3]
    rates: list[float] = []

    def spied(**given):
        rates.append(given["policy"].learning_rate)
        return update(**given)

    monkeypatch.setattr(policy_run, "judged", lambda *given: Judged(said[len(rates) - 1], {}))
    monkeypatch.setattr(catch_up, "update", spied)
    own = shop.update.learning_rate
    rows = run(shop, spans[:4], "settings", tmp_path / "whole")
    assert rates == [own, own, own / 2, own]
    assert [row.learning for row in rows] == ["", "", f"learns at half the rate: {DAYS[1]} was refused, retention", ""]
    rates.clear()
    run(shop, spans[:2], "settings", tmp_path / "parts")
    assert facts(run(shop, spans[:4], "settings", tmp_path / "parts")) == facts(rows), "cut off after the refusal"
    rates.clear()
    off = with_settings(shop, {"update": {"after_refusal": {"max_refusals": 0}}}, "It")
    assert not any(row.learning or row.verdict for row in run(off, spans[:4], "settings", tmp_path / "off"))
    assert rates == [own] * 4


@pytest.mark.parametrize(("candidate", "lesson"), [(0.0, "refused"), (1.0, "not worse")])
def test_the_verdict_of_a_backtest_is_the_paired_comparison(shop, spans, candidate, lesson):
    def always(recall: float):
        return as_signature(lambda key, history, item, weight: {"recall": tf.fill(tf.shape(key), recall)})

    past = [(span, {"recall": 1.0}) for span in spans[:2]]
    said, levels = judged(shop, always(candidate), always(1.0 - candidate), spans[3], past, False)
    assert levels == {"recall": candidate}
    assert said.lesson == lesson
    assert ("worse than the champion" in said.against, "retention" in said.against) == (lesson == "refused",) * 2
    assert judged(shop, always(candidate), None, spans[3], [], False) == (("not worse", ""), {"recall": candidate})
