"""What a backtest leaves: the table as CSV, the picture, TensorBoard's curves, and a bar with the time left."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import struct
from pathlib import Path

import pytest
from matplotlib import image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from pipeline.backtest import backtest, find_policies
from pipeline.backtest.comparison import Result
from pipeline.backtest.plots import draw_curves, spans_to_name
from pipeline.backtest.progress import Bar, make_progress
from pipeline.backtest.results import Row
from pipeline.backtest.summary import Measure, summarize, write_summary
from pipeline.backtest.tensorboard import write_events
from pipeline.config import Config
from pipeline.spans import Naming
from tests.pipeline.backtest.backtest_shop import deliver_shop
from trainer import catch_up

pytestmark = pytest.mark.filterwarnings("default")
NAMING = Naming(dated=True)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return deliver_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def result(shop: Config) -> Result:
    """Kept in `<root>/backtest`."""
    policies = find_policies(["fine-tune", "retrain"], shop)
    with (shop.root.parent / "said.txt").open("w") as file:
        return backtest(shop, policies, Console(width=200, file=file))


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Each tag's steps and values, as TensorBoard finds them."""
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(point.step, float(make_ndarray(point.tensor_proto))) for point in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def make_rows(policy: str, seed: int, recalls: list[float], seconds: float = 1.0) -> list[Row]:
    return [
        Row(policy, seed, NAMING.format(19_000 + day), "fine_tune", 9 if day else 0,
            {"recall": recall, "mrr": recall / 2} if day else {}, 100, 1, seconds)
        for day, recall in enumerate(recalls)
    ]  # fmt: skip


def test_the_table_and_the_sentences_say_what_was_found(shop, result):
    said = (shop.root.parent / "said.txt").read_text()
    for part in ("retention recall@5", "backward transfer", "3 spans tested", "recall@5", "mrr@5", "ndcg@5"):
        assert part in said
    assert " ".join(result.winner.why.split()) in " ".join(said.split())


def test_the_summary_is_the_table(shop, result):
    with (shop.root / "backtest" / "summary.csv").open(newline="") as file:
        lines = {line["policy"]: line for line in csv.DictReader(file)}
    assert list(lines) == ["most popular, 7 spans", "most popular, half-life 2 days", "fine-tune", "retrain"]
    baseline, _, tuned, full = lines.values()
    rows = [row for row in result.rows if row.policy == "fine-tune"]
    assert float(tuned["recall"]) == pytest.approx(sum(row.metrics["recall"] for row in rows[1:]) / 3, abs=1e-6)
    assert float(tuned["retention"]) == pytest.approx(rows[1].retained, abs=1e-6)
    assert float(tuned["backward_transfer"]) == pytest.approx(rows[1].retained - rows[1].just_learned, abs=2e-6)
    assert float(full["seconds_share"]) == 1.0
    assert 0.0 < float(tuned["examples_share"]) < 1.0
    assert baseline["retention"] == baseline["seconds"] == tuned["recall_spread"] == ""


def test_the_lines_of_all_spans_hold_what_was_tested_again(shop, result):
    with (shop.root / "backtest" / "backtest.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["policy"] == "fine-tune"]
    assert [line["retained"] != "" for line in lines] == [False, True, False, False]
    assert [line["just_learned"] != "" for line in lines] == [False, True, True, True]


def test_tensorboard_finds_the_curves_of_each_policy_and_seed(shop, result):
    folder, first = shop.root / "backtest" / "tensorboard", result.rows[0].span
    assert sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("events*")) == [
        ".",  # what the columns of HParams are
        f"fine-tune/seed-1, days since {first}",
        f"most popular, 7 spans/seed-0, days since {first}",
        f"most popular, half-life 2 days/seed-0, days since {first}",
        f"retrain/seed-1, days since {first}",
    ]
    for policy, seed in (("fine-tune", 1), ("most popular, 7 spans", 0)):
        rows = [row for row in result.rows if row.policy == policy]
        curves = scalars(folder / policy / f"seed-{seed}, days since {first}")
        for metric in ("recall", "mrr", "ndcg"):
            expected = [
                (NAMING.parse(row.span) - NAMING.parse(first), pytest.approx(row.metrics[metric])) for row in rows[1:]
            ]
            assert curves[f"next_span/{metric}"] == expected
    curves = scalars(folder / "fine-tune" / f"seed-1, days since {first}")
    rows = [row for row in result.rows if row.policy == "fine-tune"]
    assert curves["training/seconds_so_far"][-1][1] == pytest.approx(sum(row.seconds for row in rows), rel=1e-5)
    assert curves["retained/recall"] == [
        (NAMING.parse(rows[1].span) - NAMING.parse(first), pytest.approx(rows[1].retained))
    ]


def test_a_second_writing_replaces_the_curves(tmp_path):
    for recalls in ([0.0, 0.1, 0.2], [0.0, 0.3]):
        write_events(tmp_path / "tensorboard", make_rows("a", 1, recalls), ["recall", "mrr"], NAMING)
    (run,) = (tmp_path / "tensorboard" / "a").iterdir()
    (_, value), = scalars(run)["next_span/recall"]  # fmt: skip
    assert value == pytest.approx(0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]


def test_the_picture_can_be_looked_at(shop, result):
    picture = image.imread(shop.root / "backtest" / "backtest.png")
    assert picture.shape[0] > 800
    assert picture.shape[1] > 800
    assert picture.std() > 0.01, "not an empty sheet"


def test_every_policy_and_the_spread_over_seeds_is_in_the_picture(tmp_path):
    rows = make_rows("a", 1, [0.0, 0.3, 0.2])
    pictures = {}
    for name, more in {
        "one": [],
        "two policies": make_rows("b", 1, [0.0, 0.1, 0.1]),
        "two seeds": make_rows("a", 2, [0.0, 0.2, 0.3]),
        "an error": [dataclasses.replace(row, metrics={"rmse": 1.0}) for row in rows],
    }.items():
        metrics = ["rmse"] if name == "an error" else ["recall", "ndcg", "mrr"]
        draw_curves(tmp_path / f"{name}.png", [*rows, *more], metrics, 20, NAMING)
        pictures[name] = (tmp_path / f"{name}.png").read_bytes()
    assert len(set(pictures.values())) == 4
    heights = {name: struct.unpack(">I", picture[20:24])[0] for name, picture in pictures.items()}
    assert heights["an error"] < heights["one"], "two panels, not three"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(3, 3, [3]), (3, 6, [3, 4, 5, 6]), (0, 9, [1, 3, 5, 7, 9]), (0, 16, [1, 4, 7, 10, 13, 16])],
)
def test_the_last_span_and_some_before_it_have_their_names_at_the_axis(first, last, expected):
    assert spans_to_name(first, last) == expected


def test_what_an_earlier_run_did_does_not_count_in_the_time_left():
    now = 0.0
    with make_progress(Console(quiet=True), lambda: now) as progress:
        bar = Bar(progress, total=100.0, done=90.0)
        (task,) = progress.tasks
        for _ in range(3):
            # Longer than the half minute that rich looks back.
            now += 60.0
            bar.advance()
        assert task.percentage == pytest.approx(93.0)
        assert task.time_remaining == pytest.approx(7 * 60.0)


def test_the_bar_of_a_backtest_starts_where_it_was_and_ends_full(shop, result, monkeypatch, tmp_path):
    bars: list[tuple[float, float, list[float]]] = []

    class Noting(Bar):
        def __init__(self, progress, total, done=0.0):
            super().__init__(progress, total, done)
            bars.append((total, done, []))

        def advance(self, units=1.0):
            super().advance(units)
            bars[-1][2].append(units)

    monkeypatch.setattr("pipeline.backtest.comparison.Bar", Noting)
    policies = find_policies(["fine-tune", "never"], shop)
    shutil.copytree(shop.root / "backtest", tmp_path / "kept")
    backtest(shop, policies, Console(quiet=True), folder=tmp_path / "kept")
    total, done, steps = bars[-1]
    assert done == pytest.approx(4 * 4.0), "four spans of fine-tune, a test and one training each"
    assert len(steps) == 4
    assert done + sum(steps) == pytest.approx(total)


def test_run_again_nothing_is_trained_and_all_is_the_same(shop, result, monkeypatch):
    monkeypatch.setattr(catch_up, "update", None)
    again = backtest(shop, find_policies(["fine-tune", "retrain"], shop), Console(quiet=True))
    assert again == result


def test_a_line_has_the_mean_and_the_spread_over_seeds(tmp_path):
    rows = [*make_rows("a", 1, [0.0, 0.1, 0.3]), *make_rows("a", 2, [0.0, 0.3, 0.5], seconds=3.0)]
    (line,) = summarize(rows, ["recall"], retrain=None)
    assert line.metrics == {"recall": Measure(pytest.approx(0.3), pytest.approx(0.1414, abs=1e-4))}
    assert (line.seeds, line.spans, line.seconds, line.examples) == (2, 2, 6.0, 300.0)
    assert line.seconds_share is line.retention is line.backward_transfer is None
    write_summary(tmp_path / "summary.csv", [line], ["recall"])
    head, values = (tmp_path / "summary.csv").read_text().splitlines()
    assert head.startswith("policy,seeds,spans,recall,recall_spread,retention,")
    assert values == "a,2,2,0.300000,0.141421,,,,,6.000000,300.000000,,"
