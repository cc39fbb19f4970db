"""What the report answers before anything else and in which order; its plots of quality, losses and lists."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import re

import numpy as np
import pytest

from components.span_pusher.verdict import Verdict
from components.surroundings import Surroundings
from pipeline.ledger.runs import Run
from pipeline.monitoring.report.incidents import incidents, reason, rounded
from pipeline.monitoring.report.lineage_plot import draw_lineage
from pipeline.monitoring.report.model_lineage import Version
from pipeline.monitoring.report.page import render
from pipeline.monitoring.report.plots import draw_data
from pipeline.monitoring.report.quality_plots import draw_losses, draw_quality, draw_slices, draw_slices_over_time
from pipeline.monitoring.report.report_data import ReportData, Served
from pipeline.monitoring.report.summary import summarize
from tests.pipeline.hand_made_ledger import DAYS, failed_run, make_run, refused_run
from trainer.training_log import Losses

WRITTEN = datetime.datetime(2024, 6, 1, tzinfo=datetime.timezone.utc)
LOSSES = Losses([1, 2, 3], [5.0, 4.0, 3.0], [(3, 1, 1, 3.5)], "loss")


def measured(name: str, recall: float, popular: float = 0.1, **given) -> Run:
    slices = {
        f"{column}_slice:{label}": {"recall": recall, "events": float(events)}
        for column in ("item", "key")
        for label, events in (("new", 7), ("warm", 2_000))
    }
    surroundings = Surroundings(
        *({"recall": (value, value - 0.02, value + 0.02)} for value in (recall, popular, recall - popular)),
        slices,
        {"coverage": 0.4, "recommended": 0.9, "taken": 0.7},
    )
    return make_run(name, events=3_000, next_span={"recall": recall}, surroundings=surroundings, **given)


def month(begin: float, end: float) -> list[Run]:
    noise = np.random.default_rng(1).normal(0, 0.003, 20)
    values = np.linspace(begin, end, 20) + noise
    return [measured(f"2024-05-{day + 1:02d}", float(value)) for day, value in enumerate(values)]


def data(runs, **given) -> ReportData:
    served = [Served(run.pushed, run.span, None, 1, run.candidate) for run in reversed(runs) if run.pushed]
    slices = {run.span: run.surroundings.slices for run in runs}
    return ReportData("shop", runs, None, None, (), served, **{"slices": slices, "losses": ("x", LOSSES), **given})


def drawn(plot) -> str:
    return base64.b64decode(plot.source.partition("base64,")[2]).decode()


def test_the_four_questions_come_first_and_in_this_order():
    html = render(data(month(0.2, 0.2)), DAYS, WRITTEN)
    questions = ("is served good?", "getting better or worse?", "held or refused, and why?", "What to do?")
    places = [html.index(question) for question in questions]
    assert places == sorted(places)
    assert html.index("All is well") < places[0]
    assert places[-1] < html.index("what changed")
    first = html[: html.index("what changed")]
    assert re.search(r"Yes: recall@20 is [.\d]+ over the last 7 spans, 2.0 times the 0.100", first)
    assert "No change that is more than chance" in first
    assert "recall@20 on each span before it is learned, with 95 % bounds" in first
    assert "Nothing in these 20 spans." in first


def test_all_is_not_well_over_a_falling_curve():
    falling = summarize(data(month(0.3, 0.2)), DAYS)
    assert falling.mood == "look"
    assert falling.trend.direction == "worse"
    assert "the model is the cause" in " ".join(falling.todo)
    assert summarize(data(month(0.2, 0.2)), DAYS).mood == "well"
    worse = summarize(data([measured("2024-05-01", 0.05, popular=0.3)]), DAYS)
    assert (worse.mood, worse.level.good) == ("look", False)
    assert "worse than the most popular items" in " ".join(worse.todo)


def test_a_held_day_is_urgent_while_it_is_the_last_and_said_until_it_is_gone():
    held = make_run("2024-05-03", state="held", doubts="ids 0.0%", verdict="", pushed=None)
    urgent = summarize(data([make_run("2024-05-02"), held]), DAYS)
    assert urgent.mood == "act"
    assert "`warmspan release 2024-05-03`" in urgent.todo[0]
    later = summarize(data([held, make_run("2024-05-04")]), DAYS)
    assert later.mood == "look"
    html = render(data([held]), DAYS, WRITTEN)
    assert "<code>warmspan release 2024-05-03</code>" in html
    released = summarize(data([dataclasses.replace(held, released=True)]), DAYS)
    assert "the next run takes it up" in released.todo[0]


def test_each_incident_is_a_sentence():
    runs = [
        make_run(
            "2024-05-01", state="held", doubts="ids 0.0%: usual 100.0% (9 days); and 4 more", verdict="", pushed=None
        ),
        refused_run("2024-05-02"),
        make_run("2024-05-03"),
        failed_run("2024-05-04"),
        make_run("2024-05-05", revoked=True, revoked_reason="bots"),
    ]
    assert [(incident.name[-2:], incident.what, incident.why) for incident in incidents(runs)] == [
        ("05", "taken back", "bots"),
        ("04", "failed", "its log says why"),
        ("02", "refused", "recall is 0.100"),
        ("01", "held", "ids 0.0%: usual 100.0%, and 4 more"),
    ]


@pytest.mark.parametrize(
    ("sentence", "short"),
    [
        (
            "Refused on 264 held-out events: recall on 1 span before -0.1490 (95 % between -0.1932 and -0.1048), "
            "allowed is -0.0300. Against the anchor, version 2024050101: recall +0.1872.",
            "recall changed by -0.149 on 1 span before, allowed is -0.030",
        ),
        (
            "Refused on 1,030 held-out events: recall on overall is 0.2810 against the champion's 0.3000 (-0.0190), "
            "allowed is -0.0100; ndcg on overall is 0.1000, at least 0.9000 is asked.",
            "recall is 0.281 against the champion's 0.300, allowed is -0.010, and 1 more",
        ),
    ],
)
def test_a_verdict_in_short(sentence, short):
    assert reason(sentence) == short


def test_decimals_are_three_and_versions_stay():
    assert rounded("is 0.12345 (+0.0004), version 2024050101, 0.25") == "is 0.123 (+0.000), version 2024050101, 0.25"


def test_quality_is_drawn_with_the_most_popular_items_and_a_root_from_before_without():
    runs = month(0.3, 0.2)
    whole = draw_quality(data(runs), DAYS)
    assert "most popular items 0.1" in whole.words
    assert "most popular items" in drawn(whole)
    before = [dataclasses.replace(run, surroundings=Surroundings()) for run in runs]
    bare = draw_quality(data(before), DAYS)
    assert "bounds" not in bare.title
    assert "most popular items" not in drawn(bare)
    assert draw_quality(data([make_run("2024-05-01", next_span={})]), DAYS) is None


def test_a_slice_of_few_events_is_faint_with_its_count():
    items, keys = draw_slices_over_time(data([measured("2024-05-01", 0.2), measured("2024-05-02", 0.3)]), DAYS)
    for plot in (items, keys):
        assert "fewer than 100 events" in drawn(plot)
        assert drawn(plot).count(">7</text>") == 2
        assert "new 0.3 on 7 events" in plot.words
    assert draw_slices_over_time(data([make_run("2024-05-01")], slices={}), DAYS) == []
    values = {"recall": {"candidate": 0.3, "baseline": 0.2}}
    intervals = {"overall": {"recall": (0.05, 0.15)}, "key_slice:cold": {"recall": (-140.0, 140.0)}}
    verdict = Verdict(
        True, "", {"overall": values, "key_slice:cold": values}, {"overall": 900, "key_slice:cold": 6}, intervals
    )
    difference = drawn(draw_slices(verdict, "recall", {}, 100))
    assert "key_slice:cold (6)" in difference
    assert "opacity: 0.35" in difference
    assert "80" not in re.findall(r">\W?([\d.]+)</text>", difference), "a handful of events sets no scale"


def test_the_losses_of_the_night_are_drawn():
    plot = draw_losses("2024-05-01", LOSSES)
    assert plot.words == "training loss 5 to 3, 1 epochs"
    assert "held-out loss" in drawn(plot)
    by_recall = draw_losses("2024-05-01", dataclasses.replace(LOSSES, watch="recall"))
    assert "held-out recall@20 (right)" in drawn(by_recall)
    assert draw_losses("2024-05-01", Losses([], [], [], "loss")) is None


def test_what_has_no_number_gets_no_slot():
    quiet = make_run("2024-05-01", rejects=0, duplicates=0, new_items=0, new_keys=0)
    titles = [plot.title for plot in draw_data(data([quiet]), DAYS)]
    assert titles == ["Events", "Rows in the tables"]
    html = render(data([measured("2024-05-01", 0.2)]), DAYS, WRITTEN)
    assert "Coverage of the catalogue" in html
    assert "Popularity percentile" in html
    bare = render(data([make_run("2024-05-01")], losses=None), DAYS, WRITTEN)
    assert "Coverage of the catalogue" not in bare
    assert "The night's training" not in bare


def test_the_pictures_follow_the_readers_colour_scheme():
    html = render(data([measured("2024-05-01", 0.2)]), DAYS, WRITTEN)
    assert "@media screen and (prefers-color-scheme: dark)" in html
    for source in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html):
        picture = base64.b64decode(source).decode()
        assert "prefers-color-scheme: dark" in picture
        assert "fill: #ffffff" not in picture.partition('<g id="axes_1"')[0], "no white sheet behind it"


def test_the_ring_of_the_legend_is_whole():
    versions = (Version(101, 1, (), 1, "kept", ""), Version(102, 2, (101,), 2, "served", ""))
    picture = drawn(draw_lineage(versions, DAYS))
    legend = picture[picture.index('id="legend_1"') :]
    heights = [float(of) for of in re.findall(r"M 0 ([\d.]+)\s*\nC", legend)]
    assert heights
    assert max(heights) <= 4.5, "a row of 8 points has no room for more"
