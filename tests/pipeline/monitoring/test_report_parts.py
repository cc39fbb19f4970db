"""The parts of the report: what to do, what a day cost, which model came from which, what the data were like."""

from __future__ import annotations

import dataclasses

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.span_pusher.verdict import Verdict
from pipeline.ledger.models import Model, ModelLineage
from pipeline.ledger.serving_state import ServingState
from pipeline.monitoring.report.data_quality import Anomaly, Figure, read_anomalies, read_figures
from pipeline.monitoring.report.lineage_plot import draw_lineage
from pipeline.monitoring.report.model_lineage import read_lineage
from pipeline.monitoring.report.quality_plots import draw_slices
from pipeline.monitoring.report.report_data import ReportData
from pipeline.monitoring.report.summary import summarize, what_changed
from pipeline.monitoring.report.training_cost import Cost, Training, estimate
from tests.pipeline.hand_made_ledger import DAYS, failed_run, make_run, refused_run, skipped_run

NOTHING = ServingState(served=None, labels={}, champion=None, owed=(), revoked={}, left=())


def data(*runs, serving_state=NOTHING, **given) -> ReportData:
    return ReportData("shop", runs, None, None, (), (), serving_state=serving_state, **given)


def days(count: int, **last) -> list:
    """Ordinary days; `last` says what was different on the last one."""
    even = {"events": 3_000, "next_span": {"recall": 0.2}}
    runs = [make_run(f"2024-05-{day:02d}", **{**even, "events": 3_000 + day}) for day in range(1, count)]
    return [*runs, make_run(f"2024-05-{count:02d}", **{**even, **last})]


@pytest.mark.parametrize(
    ("report", "mood", "todo"),
    [
        (data(*days(3)), "well", ""),
        (data(*days(2), skipped_run("2024-05-03")), "well", ""),
        (data(*days(2), failed_run("2024-05-03")), "act", "2024-05-03 is failed: see its log, then run it again"),
        (data(refused_run("2024-05-01"), refused_run("2024-05-02")), "look", "That is 2 in a row."),
        (data(make_run("2024-05-01", drift="`item` is far.")), "look", "Drift: `item` is far."),
        (data(*days(1), anomalies=[Anomaly("train", "device", "New column")]), "look", "fit its schema in device"),
        (data(*days(1, revoked=True, revoked_reason="bots")), "look", "was taken back: bots"),
        (data(*days(8, events=90)), "look", "The number of events is"),
        (data(*days(1), serving_state=dataclasses.replace(NOTHING, owed=(19_843,))), "look", "owes 2024-04-30"),
        (data(*days(1), serving_state=dataclasses.replace(NOTHING, learning="learns: Why")), "look", "learns: Why."),
        (data(*days(1), serving_state=dataclasses.replace(NOTHING, left=(7,))), "act", "still in the folder: 7"),
        (data(*days(1), serving_state=dataclasses.replace(NOTHING, problem="The labels.")), "act", "The labels."),
    ],
)
def test_the_head_says_how_urgent_it_is_and_what_to_do(report, mood, todo):
    summary = summarize(report, DAYS)
    assert summary.mood == mood
    assert todo in " ".join(summary.todo)
    assert bool(summary.todo) == (mood != "well")


def test_what_is_new_today_is_told_beside_the_days_before():
    before = make_run("2024-05-01", events=2_000, next_span={"recall": 0.2})
    today = make_run("2024-05-02", events=3_000, next_span={"recall": 0.1}, base_version=before.pushed)
    said = " ".join(what_changed(data(before, today), DAYS))
    assert f"Version {today.pushed} went into service, fine-tuned from {before.pushed}." in said
    assert "3,000 events, 150% of the median day" in said
    assert "next-span recall@20 was 0.100, 0.200 on the span before" in said
    assert "Decided: fine-tune. The champion has learned" in said
    assert "was refused, and nothing changed" in " ".join(what_changed(data(refused_run("2024-05-01")), DAYS))


def test_a_full_retrain_is_estimated_from_the_events_of_all_spans():
    runs = [
        make_run("2024-05-01", action="cold_start", trained_on=(1,)),
        make_run("2024-05-02", trained_on=(2,)),
        skipped_run("2024-05-03"),
        make_run("2024-05-04", trained_on=(3, 4)),
    ]
    runs = [dataclasses.replace(run, span=at) for at, run in enumerate(runs, 1)]
    # Three epochs; two, and as much again was replayed; one a span, of histories that hold two events each.
    trainings = {1: Training(3_000, 30.0, 3), 2: Training(400, 8.0, 2), 4: Training(150, 1.2, 2)}
    new_events = {1: 1_000, 2: 100, 3: 100, 4: 200}
    first, second, last = estimate(runs, trainings, new_events)
    assert first == Cost("2024-05-01", 3_000, 30.0, 3_000, 30.0)
    assert second == Cost("2024-05-02", 400, 8.0, 2_200, pytest.approx(8 + 1_800 * 0.008))
    assert last == Cost("2024-05-04", 150, 1.2, 700, pytest.approx(1.2 + 550 * 0.008))
    assert last.share == pytest.approx(150 / 700)
    assert estimate(runs, {}, new_events) == ()


def model(number: int, *bases: int, pushed: bool = True, reason: str = "") -> Model:
    about = {"verdict": ""} if pushed else None
    return Model(number, 100 + number, number, "/gone", pushed, about, bool(reason), reason, frozenset(bases))


def test_the_lineage_says_what_became_of_each_model():
    lineage = ModelLineage(
        (model(1), model(2, 1), model(3, 2, reason="bots"), model(4, 2, pushed=False), model(5, 2)), ()
    )
    lineage_versions = read_lineage(lineage, [102, 105], first=3)
    fates = {version.version: (version.bases, version.fate, version.reason) for version in lineage_versions}
    assert fates == {
        102: ((101,), "kept", ""),
        103: ((102,), "revoked", "bots"),
        104: ((102,), "refused", ""),
        105: ((102,), "served", ""),
    }
    assert read_lineage(lineage, [105], first=1)[0].fate == "retired"
    assert [version.teacher for version in lineage_versions] == [None] * 4
    taught = dataclasses.replace(model(5, 2), taught_by=(101, 103))
    assert read_lineage(ModelLineage((taught,), ()), [105], first=1)[0].teacher == 103
    plot = draw_lineage(lineage_versions, DAYS)
    assert "105 from 102, served" in plot.words
    assert "103 from 102, revoked" in plot.words
    assert draw_lineage((), DAYS) is None


def test_the_slices_are_drawn_with_their_bounds():
    values = {"recall": {"candidate": 0.3, "baseline": 0.2}}
    verdict = Verdict(True, "", {"overall": values, "item_slice:new": {"recall": {"candidate": 0.1}}}, {"overall": 9})
    plain = draw_slices(verdict, "recall", {})
    assert plain.words == "overall +0.1000"
    bounded = draw_slices(dataclasses.replace(verdict, intervals={"overall": {"recall": (-0.1, 0.3)}}), "recall", {})
    assert bounded.source != plain.source
    assert draw_slices(verdict, "auc", {}) is None


def test_statistics_and_anomalies_are_read_as_tfx_writes_them(tmp_path):
    def folder(name: str, unique: int) -> None:
        statistics = statistics_pb2.DatasetFeatureStatisticsList()
        feature = statistics.datasets.add().features.add(path={"step": ["item"]})
        feature.string_stats.unique = unique
        feature.string_stats.common_stats.num_non_missing = 75
        feature.string_stats.common_stats.num_missing = 25
        feature.string_stats.top_values.add(value="i1", frequency=15)
        (tmp_path / name / "Split-train").mkdir(parents=True)
        (tmp_path / name / "Split-train" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())

    folder("today", 30)
    folder("before", 20)
    assert read_figures(tmp_path / "today", tmp_path / "before") == (
        Figure("item", "missing", 0.25, 0.25),
        Figure("item", "different values", 30.0, 20.0),
        Figure("item", "commonest value", "i1", "i1"),
        Figure("item", "share of the commonest", 0.2, 0.2),
    )
    assert read_figures(tmp_path / "today", None)[1] == Figure("item", "different values", 30.0, None)
    assert read_figures(None, None) == ()
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["device"].description = "A value that the schema does not have."
    (tmp_path / "today" / "Split-train" / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
    assert read_anomalies(tmp_path / "today") == (Anomaly("train", "device", "A value that the schema does not have."),)
    assert read_anomalies(None) == ()
