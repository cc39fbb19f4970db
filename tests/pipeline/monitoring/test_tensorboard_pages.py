"""TensorBoard's pages beyond the curves: slices, health, cards, the first page, the projector, a backtest's table."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups
from typer.testing import CliRunner

from components.surroundings import Surroundings
from pipeline.backtest.policies import Policy
from pipeline.backtest.results import Row
from pipeline.backtest.tensorboard import differences, write_events, write_experiment
from pipeline.cli.app import app
from pipeline.config import Config
from pipeline.monitoring.tensorboard.axis import POPULARITY
from pipeline.monitoring.tensorboard.decision_card import card
from pipeline.monitoring.tensorboard.projector import ITEMS, write_projector
from pipeline.monitoring.tensorboard.run_details import Details
from pipeline.monitoring.tensorboard.span_writer import write_details
from tests.pipeline.hand_made_ledger import DAYS, failed_run, make_run, refused_run, skipped_run
from tests.pipeline.tensorboard_pages import Pages, read_projector, tags_of
from trainer.diagnostics import Diagnostics
from trainer.vocabulary import Vocabulary

pytestmark = pytest.mark.filterwarnings("default")

SLICES_OF = ("new", "cold", "warm")
SLICES = {
    "item_slice:new": {"recall": 0.1, "events": 7.0},
    "key_slice:warm": {"recall": 0.4, "events": 9.0},
}
HEALTH = Diagnostics(
    {
        "neighbours/churn": 0.125,
        "recommended/coverage": 0.5,
        "recommended/gini": 0.75,
        "recommended/popularity_percentile": 0.9,
        "held_out/popularity_percentile": 0.8,
        "held_out/median_rank": 12.0,
        **{f"norms/{name}/{part}/p50": 1.5 for name in ("items", "keys") for part in ("old", "new")},
    },
    {"norms/items": [[0.0, 1.0, 3.0], [1.0, 2.0, 5.0]], "held_out/log10_rank": []},
)
DETAILS = Details(
    verdict={
        "metrics": {
            "overall": {"recall": {"candidate": 0.3, "baseline": 0.25}},
            "item_slice:new": {"recall": {"candidate": 0.2, "baseline": 0.1}},
            "key_slice:cold": {"recall": {"candidate": 0.4}},
            "key_slice:warm": {"recall": {"candidate": 0.4, "baseline": 0.3}},
        },
        "events": {"overall": 300, "item_slice:new": 20, "key_slice:cold": 8},
        "intervals": {"overall": {"recall": [-0.01, 0.11]}},
    },
    next_span=SLICES,
    health=HEALTH,
    drift={"item_jensen_shannon": 0.25},
    anomalies=1,
    owed=2,
    update={"loss": 3.5, "held_out": 4.5, "examples": 900.0, "epochs": 2.0},
    bytes={"SpanTransform": 1000, "IncrementalTrainer": 3000},
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    data = {"path": "events", "columns": {"key": "user_id", "item": "item_id", "timestamp": "timestamp"}}
    settings = {"name": "shop", "root": tmp_path / "run", "data": data}
    return Config.model_validate(settings)


def test_what_the_ledger_has_no_room_for_is_written_too(config):
    surroundings = Surroundings(
        popularity={"recall": (0.15, 0.1, 0.2)}, served_lists={"coverage": 0.3}, shelf={"recall": 0.5, "size": 40.0}
    )
    run = make_run("2024-05-03", candidate={"recall": 0.3}, champion={"recall": 0.25}, surroundings=surroundings)
    folder = write_details(config, run, DETAILS)
    span, new, warm, cold = (Pages(folder / name).scalars for name in ("span", "new", "warm", "cold"))
    scalars = {tag: values[0] for tag, values in span.items()}
    wanted = {
        "drift/item_jensen_shannon": 0.25,
        "data/anomalies": 1,
        "tables/owed_spans": 2,
        "update/loss": 3.5,
        "bytes/IncrementalTrainer": 3000,
        "bytes/total": 4000,
        "decision/pushed": 1,
        "gate_difference/recall/value": 0.05,
        "gate_difference/recall/lower": -0.01,
        "gate_difference/recall/upper": 0.11,
        "served_lists/coverage": 0.3,
        "shelf/recall": 0.5,
        "shelf/size": 40,
        **HEALTH.numbers,
    }
    assert {tag: scalars[tag] for tag in wanted} == pytest.approx(wanted)
    assert new["next_span_slices/recall/item"] == {0: pytest.approx(0.1)}
    assert warm["next_span_slices/events/key"] == {0: 9}
    assert new["gate_slices/recall/item/candidate"] == {0: pytest.approx(0.2)}
    assert new["gate_slices/recall/item/champion"] == {0: pytest.approx(0.1)}
    assert new["gate_slices/recall/item/difference"] == {0: pytest.approx(0.1)}
    assert set(cold) == {"gate_slices/recall/key/candidate"}
    assert Pages(folder / POPULARITY).scalars == {"next_span/recall": {0: pytest.approx(0.15)}}
    ((step, buckets),) = Pages(folder / "span").of("histograms")["histograms/norms/items"]
    assert (step, buckets.tolist()) == (0, [[0.0, 1.0, 3.0], [1.0, 2.0, 5.0]])
    assert "histograms/held_out/log10_rank" not in Pages(folder / "span").of("histograms")
    assert Pages(folder / "span").days == [(run.span + 0.5) * 86_400]


def test_every_chart_of_the_first_page_finds_a_curve(config):
    surroundings = Surroundings(served_lists={"coverage": 0.3, "recommended": 0.9, "taken": 0.7})
    folder = write_details(config, make_run("2024-05-03", surroundings=surroundings), DETAILS)
    layout = Pages(folder / "span").layout
    titles = ["Quality: step 0 = 2024-05-03", "Data", "Tables", "Health", "Cost"]
    assert [category.title for category in layout.category] == titles
    tags = [tag for path in folder.iterdir() for tag in Pages(path).scalars]
    for expression in tags_of(layout):
        assert any(re.match(expression, tag) for tag in tags), expression
    assert sorted(path.name for path in (folder / "span").iterdir())[0] == "events.out.tfevents.-layout"


def test_with_a_catalogue_the_first_page_shows_how_new_items_fare(config):
    slices = {f"item_events:{before}": {"recall": 0.1, "events": 9.0} for before in ("0", "1-4", "5-19", "20-99")}
    surroundings = Surroundings(slices=slices, shelf={"recall": 0.5, "chance": 0.25, "size": 40.0, "events": 12.0})
    folder = write_details(config, make_run("2024-05-03", surroundings=surroundings), DETAILS)
    tags = [tag for path in folder.iterdir() for tag in Pages(path).scalars]
    charts = {chart.title: chart.multiline.tag for chart in Pages(folder / "span").layout.category[0].chart}
    of_new = [of for heading, of in charts.items() if "before" in heading or "shelf" in heading]
    assert len(of_new) == 6
    for (expression,) in of_new:
        assert len([tag for tag in tags if re.match(expression, tag)]) == 1, expression
    assert "next-span recall@20 on items with no events before" in charts


def test_lines_that_share_a_chart_are_runs_of_their_own(config):
    """TensorBoard gives a colour to a run, not to a tag."""
    slices = {f"{column}_slice:{label}": {"recall": 0.1} for column in ("item", "key") for label in SLICES_OF}
    folder = write_details(config, make_run("2024-05-03", surroundings=Surroundings(slices=slices)), Details())
    for column in ("item", "key"):
        tag = f"next_span_slices/recall/{column}"
        assert {path.name for path in folder.iterdir() if tag in Pages(path).scalars} == set(SLICES_OF)
    assert max("candidate", "champion", "span", *SLICES_OF, POPULARITY) == POPULARITY, "the last is pale"


def test_a_span_without_any_model_has_a_first_page_when_the_next_one_comes(config):
    folder = write_details(config, skipped_run("2024-05-01"), Details())
    write_details(config, make_run("2024-05-02"), DETAILS)
    assert Pages(folder / "span").layout.category


def test_a_card_says_what_was_decided_and_what_the_gate_said_of_each_slice():
    text = card(make_run("2024-05-03", reason="One | two\nthree."), DETAILS)
    assert "### 2024-05-03" in text
    assert "**Why:** One \\| two three." in text
    assert "| fine-tune | 2024050301 | 2 spans |" in text
    assert "| overall | 300 | 0.3000 / 0.2500 |" in text
    assert "| key: cold | 8 | 0.4000 |" in text
    refused = card(refused_run("2024-05-03"), Details())
    assert "**Verdict:** Refused on 300" in refused
    assert "| fine-tune | no |" in refused
    assert card(failed_run("2024-05-03"), Details()).startswith("### 2024-05-03: failed")


def made(config: Config, titles: list[str]) -> tuple[Path, Path, Config]:
    """A model's table and the vocabulary of as many items as there are titles, the last the most popular."""
    ids = [f"i{number}" for number in range(len(titles))]
    base = config.root.parent
    vocabulary, model = base / "vocabulary", base / "model"
    for folder in (vocabulary, model / "state"):
        folder.mkdir(parents=True)
    counts = np.arange(1, len(ids) + 1)
    Vocabulary.empty(1).grow(ids, 1, min_count=1, half_life=7.0, counts=counts).save(vocabulary, "items")
    table = np.arange(2.0 * (len(ids) + 2), dtype=np.float32).reshape(-1, 2)
    np.savez(model / "state" / "weights.npz", **{"slope": np.float32(1), "item_embedding/embeddings": table})
    lines = [f'{item_id},"{title}"\n' for item_id, title in zip(ids, titles, strict=True)]
    (base / "items.csv").write_text("item_id,title\n" + "".join(lines))
    columns = {"key": "u", "item": "item_id", "timestamp": "t"}
    data = {"path": "events", "columns": columns, "items": base / "items.csv"}
    return model, vocabulary, Config.model_validate({"name": "shop", "root": config.root, "data": data})


def test_the_projector_has_the_most_popular_items_with_their_titles(config, tmp_path):
    model, vocabulary, config = made(config, ["One", "Two\nlines\tand a tab", "Three"])
    folder = tmp_path / "span"
    folder.mkdir()
    write_projector(config, make_run("2024-05-02"), folder, model, vocabulary)
    shown, vectors, titles = read_projector(folder)
    assert shown.tensor_name == "items of 2024-05-02"
    named = [["id", "title"], ["i2", "Three"], ["i1", "Two lines and a tab"], ["i0", "One"]]
    assert [row[:2] for row in titles] == named
    assert vectors == [["8", "9"], ["6", "7"], ["4", "5"]]

    write_projector(config, make_run("2024-05-01"), folder, model, vocabulary)
    assert read_projector(folder)[0].tensor_name == "items of 2024-05-02", "a newer table stays"
    write_projector(config, make_run("2024-05-03"), folder, model, vocabulary)
    assert read_projector(folder)[0].tensor_name == "items of 2024-05-03"
    assert len(list(folder.iterdir())) == 3, "nothing of the day before is left"


def test_the_projector_is_bounded_and_does_without_titles(config, tmp_path):
    model, vocabulary, config = made(config, ["x"] * (ITEMS + 5))
    config.data.items.unlink()
    write_projector(config, make_run("2024-05-02"), tmp_path, model, vocabulary)
    _, vectors, titles = read_projector(tmp_path)
    assert len(vectors) == ITEMS
    assert titles[1][:2] == [f"i{ITEMS + 4}", ""]


def policies(config: Config) -> list[Policy]:
    quick = config.model_copy(update={"update": dataclasses.replace(config.update, learning_rate=0.5)})
    return [Policy("slow", "fine_tune", config), Policy("quick", "fine_tune", quick), Policy("never", "never", config)]


def test_policies_differ_in_what_they_differ_in(config):
    assert differences(policies(config)) == {
        "slow": {"learn": "fine_tune", "update.learning_rate": 0.05},
        "quick": {"learn": "fine_tune", "update.learning_rate": 0.5},
        "never": {"learn": "never", "update.learning_rate": 0.05},
    }
    assert differences(policies(config)[:1]) == {"slow": {}}


def test_hparams_shows_each_policy_with_its_results(config, tmp_path):
    differences = write_experiment(tmp_path, policies(config), ["recall"])
    for policy, learned in (("slow", 0.2), ("quick", 0.4)):
        for seed in (1, 2):
            tested = {"recall": learned + seed / 100}
            rows = [
                Row(policy, seed, f"2024-05-0{day}", "fine_tune", 10 * (day > 1), tested, 30, 1, 2.0)
                for day in (1, 2, 3)
            ]
            write_events(tmp_path, rows, ["recall"], DAYS, differences)
    baseline = [Row("most popular", 0, "2024-05-02", "count", 10, {"recall": 0.1}, 0, 0, 0.0)]
    write_events(tmp_path, baseline, ["recall"], DAYS)

    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    context, request_context = backend_context.Context(base_plugin.TBContext(data_provider=provider)), RequestContext()
    experiment = get_experiment.Handler(request_context, context, "", api_pb2.GetExperimentRequest()).run()
    assert {hparam_info.name for hparam_info in experiment.hparam_infos} == {"policy", "learn", "update.learning_rate"}
    metrics = [metric_info.name for metric_info in experiment.metric_infos]
    assert metrics[0].tag == "result/recall"
    request = api_pb2.ListSessionGroupsRequest(
        col_params=[api_pb2.ColParams(metric=name) for name in metrics],
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        aggregation_type=api_pb2.AGGREGATION_AVG,
        slice_size=10,
    )
    groups = list_session_groups.Handler(request_context, context, "", request).run().session_groups
    shown = {
        group.hparams["policy"].string_value: {
            metric_value.name.tag: metric_value.value for metric_value in group.metric_values
        }
        for group in groups
    }
    assert set(shown) == {"slow", "quick", "most popular"}
    assert shown["slow"]["result/recall"] == pytest.approx(0.215)
    assert shown["quick"]["result/recall"] == pytest.approx(0.415)
    assert shown["quick"]["result/seconds"] == pytest.approx(6.0)
    assert shown["most popular"]["result/recall"] == pytest.approx(0.1)


def test_without_logs_or_a_free_port_tensorboard_says_so(tmp_path):
    folder = tmp_path / "logs"
    result = CliRunner().invoke(app, ["tensorboard", "--logs", str(folder)])
    assert result.exit_code == 1
    assert "must hold TensorBoard's files. Received: none in" in result.output
    (folder / "spans").mkdir(parents=True)
    (folder / "spans" / "events.out.tfevents.1").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["tensorboard", "--logs", str(folder), "--port", str(port)])
    assert result.exit_code == 1
    assert f"`--port` must be free. Received: {port}" in result.output


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_command_serves_the_first_page_and_goes_when_it_is_ended(config, tmp_path):
    model, vocabulary, config = made(config, ["One", "Two", "Three"])
    details = dataclasses.replace(DETAILS, model=model, vocabulary=vocabulary)
    for day in (1, 2):
        write_details(config, make_run(f"2024-05-0{day}"), details)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = "import sys; from pipeline.cli import main; main()"
    arguments = ["tensorboard", "--logs", str(config.logs_path), "--port", str(port)]
    root = Path(__file__).resolve().parents[3]
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command, *arguments], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        layout = ask(port, "custom_scalars/layout", lambda reply: "category" in reply)
        assert layout["category"][0]["title"] == "Quality: step 0 = 2024-05-01, step 1 = 2024-05-02"
        link = server.stdout.readline()
        assert link.startswith(f"http://127.0.0.1:{port}/start shows ")
        with urllib.request.urlopen(link.split()[0], timeout=30) as response:
            start = response.read().decode()
        assert 'location.replace("/#custom_scalars&_smoothingWeight=0")' in start
        assert '"_ignoreYOutliers": "false"' in start
        asked = "custom_scalars/scalars?run=days%20since%202024-05-01%2Fchampion&tag=%5Enext_span%2Frecall%24"
        curve = ask(port, asked, lambda reply: reply)
        assert [point[1] for point in curve["tag_to_events"]["next_span/recall"]] == [0, 1]
        assert ask(port, "text/tags", lambda reply: reply) == {"days since 2024-05-01/span": ["decision"]}
        assert ask(port, "projector/runs", lambda reply: reply) == ["days since 2024-05-01/span"]
        info = ask(port, "projector/info?run=days%20since%202024-05-01%2Fspan", lambda reply: reply)
        assert info["embeddings"][0]["tensorShape"] == [3, 2]
    finally:
        server.terminate()
        server.communicate(timeout=30)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def ask(port: int, path: str, answered: Callable[[Any], Any], seconds: float = 120.0) -> Any:
    """What TensorBoard says once it has read the files."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{port}/data/plugin/{path}"
            with urllib.request.urlopen(url, timeout=30) as response:
                reply = json.load(response)
                if answered(reply):
                    return reply
        time.sleep(0.5)
    raise AssertionError(f"no answer to {path} in {seconds} s")
