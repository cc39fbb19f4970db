"""The report says what the ledger says, needs nothing from outside, and takes ids for text."""

from __future__ import annotations

import base64
import csv
import datetime
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.span_pusher.verdict import Verdict
from pipeline.cli.app import app
from pipeline.ledger.runs import Run, read_ledger
from pipeline.monitoring.report import NIGHTLY, ReportError, write_report
from pipeline.monitoring.report.incidents import rounded
from pipeline.monitoring.report.page import render
from pipeline.monitoring.report.report_data import Rejects, ReportData, Served, count_rejects
from pipeline.operations.rollback import carry_out, make_rollback
from pipeline.orchestration.callbacks import ReportCallback
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from tests.pipeline.hand_made_ledger import DAYS, failed_run, make_run, refused_run, skipped_run

WRITTEN = datetime.datetime(2024, 5, 22, 3, 0, tzinfo=datetime.timezone.utc)


class Page(HTMLParser):
    """A page's tags with their attributes, and its tables' cells as text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._in_cell = self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = self._in_style or tag == "style"
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"
        if tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            return
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data.strip()

    def spans(self, name: str) -> list[str]:
        """A day's row in the table of spans, which is the first."""
        return next(row for row in self.rows if row[0] == name and len(row) == 9)

    def row(self, first: str, cells: int | None = None) -> list[str]:
        """The one row that begins so, of those with so many cells."""
        (texts,) = (row for row in self.rows if row[0] == first and len(row) == (cells or len(row)))
        return texts


def data(runs: Sequence[Run], rejects: Sequence[Rejects] = (), verdict: Verdict | None = None) -> ReportData:
    served = [Served(run.pushed, run.span, None, 1, run.candidate) for run in reversed(runs) if run.pushed]
    return ReportData("shop", runs, runs[-1] if verdict else None, verdict, rejects, served)


def page(*args: object) -> Page:
    return Page(render(data(*args), DAYS, WRITTEN))


def test_every_day_of_the_ledger_stands_in_the_tables_as_it_is():
    run = make_run("2024-05-03", events=12_345, rejects=6, new_items=7, new_keys=8, revision=2, pushed=2024050302)
    report = page([make_run("2024-05-02"), run])
    assert report.row("2024-05-03 r2") == [
        *("2024-05-03 r2", "fine-tune", f"{run.next_span['recall']:.3f}", "-"),
        *(f"{of['recall']:.3f}" for of in (run.candidate, run.champion)),
        *("blessed", "2024050302", run.reason),
    ]
    assert report.row("2024-05-03") == [
        *("2024-05-03", f"{12_345 + 6 + run.duplicates:,}", "12,345", "6", str(run.duplicates), "0", "7", "8"),
        f"{sum(run.seconds.values()):.1f}",
    ]


def test_refused_skipped_held_and_failed_days_say_so_and_why():
    held = make_run(
        "2024-05-04", state="held", doubts="item ids 0.0%: usual 100.0%; and 4 more", verdict="", pushed=None
    )
    report = page([refused_run("2024-05-01"), skipped_run("2024-05-02"), failed_run("2024-05-03"), held])
    assert report.spans("2024-05-01")[-3:] == ["refused", "-", "recall is 0.100"]
    assert report.spans("2024-05-02")[1] == "skip"
    assert report.spans("2024-05-02")[4:] == [*["-"] * 4, "3 held-out events, 5 are asked."]
    assert report.spans("2024-05-03") == ["2024-05-03", "failed", *["-"] * 6, "its log says why"]
    assert report.spans("2024-05-04")[1] == "held"
    assert report.spans("2024-05-04")[-1] == "item ids 0.0%: usual 100.0%, and 4 more"
    assert "2024-05-04 is held" in report.text


def test_a_day_that_was_learned_more_carefully_says_why():
    learning = "learns at half the rate: 2024-05-02 was refused, retention"
    shown = page([refused_run("2024-05-02"), make_run("2024-05-03", learning=learning)])
    assert learning in shown.spans("2024-05-03")[1]
    assert "learns" not in shown.spans("2024-05-02")[1]


def test_a_model_that_was_taken_back_says_so_with_its_reason():
    bad = make_run("2024-05-01", revoked=True, revoked_reason="bots <b>")
    report = page([bad, make_run("2024-05-02", base_version=2024043001)])
    assert report.spans("2024-05-01")[-3].startswith("revoked")
    assert report.spans("2024-05-01")[-1] == "bots <b>"
    assert report.spans("2024-05-02")[-3] == "blessed"
    assert report.spans("2024-05-02")[1] == "fine-tunefrom 2024043001"
    assert "revoked: Blessed and pushed, and taken back since" in report.text


@pytest.mark.parametrize("days", [[failed_run("2024-05-01")], [skipped_run("2024-05-01")], [make_run("2024-05-01")]])
def test_a_single_day_of_any_kind_makes_a_page(days):
    assert page(days).text.startswith("\n")


def test_the_verdict_is_shown_by_slice_with_the_sense_of_each_change():
    metrics = {
        "overall": {"recall": {"candidate": 0.3, "baseline": 0.2}, "rmse": {"candidate": 1.5, "baseline": 1.0}},
        "item_slice:new": {"recall": {"candidate": 0.1}, "rmse": {"candidate": 1.0, "baseline": 1.0}},
    }
    verdict = Verdict(True, "Blessed on 300 held-out events.", metrics, {"overall": 300, "item_slice:new": 20})
    report = page([make_run("2024-05-03")], (), verdict)
    assert report.row("overall", 5) == ["overall", "300", "0.300", "0.200", "+0.100 better"]
    assert report.row("item: new", 5) == ["item: new", "20", "0.100", "-", "-"]
    better, worse = "champion 0.200+0.100 better", "champion 1.000+0.500 worse"
    assert report.row("overall", 4) == ["overall", "300", f"0.300{better}", f"1.500{worse}"]
    assert report.row("item: new", 4) == ["item: new", "20", "0.100", "1.000champion 1.000same"]
    few = [attributes.get("class") for tag, attributes in report.tags if tag == "tr" and attributes.get("class")]
    assert few[:4] == ["mark", "faint"] * 2


def test_what_comes_from_the_data_is_text_and_never_markup():
    evil = "<script>alert('1')</script>&\"'><img src=http://example.com/x>"
    run = make_run("2024-05-03", reason=evil, verdict=evil)
    html = render(data([run], [Rejects(evil, 1, 2, evil)]), DAYS, WRITTEN)
    report = Page(html)
    assert not {tag for tag, _ in report.tags} & {"script", "iframe", "object", "link", "base", "form"}
    assert evil in report.text
    assert "<script" not in html


def test_the_page_asks_for_nothing_from_outside():
    runs = [make_run(f"2024-05-{day:02d}") for day in range(1, 9)]
    html = render(data(runs), DAYS, WRITTEN)
    for tag, attributes in Page(html).tags:
        assert (attributes.get("src") or "data:").startswith("data:"), tag
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert "default-src 'none'" in html


def test_the_plots_are_whole_pictures_with_their_numbers_in_words():
    run = make_run("2024-05-03", events=12_345)
    images = [attributes for tag, attributes in page([make_run("2024-05-02"), run]).tags if tag == "img"]
    assert len(images) == 7
    for image in images:
        source = str(image["src"]).removeprefix("data:image/svg+xml;base64,")
        assert ET.fromstring(base64.b64decode(source)).tag.endswith("svg")
    words = " ".join(str(image["alt"]) for image in images)
    assert "events 12,345" in words
    assert f"candidate {run.candidate['recall']:.4g}" in words


def test_every_footnote_that_is_named_is_there():
    report = page([make_run("2024-05-02"), make_run("2024-05-03")])
    named = {attributes["href"] for tag, attributes in report.tags if tag == "a"}
    there = {f"#{attributes['id']}" for tag, attributes in report.tags if tag == "li" and "id" in attributes}
    assert named == there
    assert len(there) > 10


def test_the_same_facts_make_the_same_page():
    runs = [make_run("2024-05-02"), refused_run("2024-05-03")]
    assert render(data(runs), DAYS, WRITTEN) == render(data(runs), DAYS, WRITTEN)


def test_rejects_are_counted_by_reason(tmp_path):
    for day, rows in {"one": [("no_item", "a"), ("no_item", "b")], "two": [("no_time", 'x,\n"y')]}.items():
        (tmp_path / day).mkdir()
        with (tmp_path / day / "rejects.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file", "line", "reason", "value"), *(("f", 1, *row) for row in rows)])
    folders: list[Path | None] = [tmp_path / "one", None, tmp_path / "two"]
    assert count_rejects(folders) == [Rejects("no_item", 0, 2, "b"), Rejects("no_time", 1, 1, 'x,\n"y')]


def test_without_a_span_there_is_a_sentence_and_no_file(make_shop, tmp_path):
    config = make_shop(1)
    with pytest.raises(ReportError, match="must have at least one span"):
        write_report(config, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_night_goes_on_without_its_report(make_shop):
    config = make_shop(1)
    said: list[str] = []
    ReportCallback(config, said.append).on_exit()
    (sentence,) = said
    assert "The report was not written (ReportError: A report must have at least one span." in sentence
    assert not (config.root / NIGHTLY).exists()


def test_the_page_is_shown_where_there_is_a_browser(make_shop, tmp_path, monkeypatch):
    make_shop(1)
    opened = []
    monkeypatch.setattr("pipeline.monitoring.report.write_report", lambda config, out, days: out.write_text("a page"))
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    out, settings = tmp_path / "a page.html", str(tmp_path / "one" / "warmspan.yaml")
    asked = ["report", "--config", settings, "--out", str(out), "--open"]
    assert "There is no browser" not in CliRunner().invoke(app, asked).output
    assert "There is no browser" in CliRunner().invoke(app, asked).output
    assert opened == [out.as_uri()] * 2


def agrees(report: Page, ledger: Sequence[Run]) -> None:
    """Whether the page says what the ledger says, number by number."""
    for run in ledger:
        assert run.balance is not None
        balance = (run.balance.rows, run.events, run.rejects, run.duplicates, run.balance.late + run.balance.early)
        counts = [f"{count:,}" for count in (*balance, run.new_items, run.new_keys)]
        start = f"from {run.base_version}" if run.base_version else ""
        popular = run.surroundings.popularity.get("recall", [None])[0]
        measured = [run.next_span.get("recall"), popular, run.candidate.get("recall"), run.champion.get("recall")]
        row, rows = [of_day for of_day in report.rows if of_day[0] == run.name and len(of_day) == 9]
        assert row[1] == run.action.replace("_", "-" if run.action == "fine_tune" else " ") + start
        assert row[2:6] == ["-" if value is None else f"{value:.3f}" for value in measured]
        assert row[6].startswith("revoked" if run.revoked else "blessed")
        assert row[7:] == [str(run.pushed), run.revoked_reason if run.revoked else run.reason]
        assert rows == [run.name, *counts, f"{sum(run.seconds.values()):.1f}"]
    last = ledger[-1]
    assert rounded(last.verdict) in report.text
    assert last.reason in report.text


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("default")
def test_a_real_run_its_report_and_the_ledger_agree_before_a_rollback_and_after(make_shop, tmp_path):
    config = make_shop(2)
    (file,) = config.data.path.glob("2024-05-02/*.csv")
    file.write_text(file.read_text() + "u1,,1714608000,1\n")
    run_steps(config, make_plan(read_ledger(config), read_deliveries(config), DAYS), Console(quiet=True))

    # What the night has written, and what the command writes.
    nightly, ledger = Page((config.root / NIGHTLY).read_text()), read_ledger(config)
    agrees(nightly, ledger)
    first, last = (run.pushed for run in ledger)
    assert f"Version {last} is served. 2024-05-02 was learned, and its model pushed." in nightly.text
    assert "The night's training, 2024-05-02" in nightly.text
    assert "Coverage of the catalogue" in nightly.text
    assert ledger[-1].surroundings.popularity["recall"][0] < ledger[-1].next_span["recall"]
    assert nightly.row("no_item")[1:3] == ["1", "1"]
    assert nightly.row(f"{last} (served)")[1:4] == ["2024-05-02", str(first), "2"]
    (lineage,) = (row for row in nightly.rows if row[0] == str(last) and row[-1] == "served")
    assert lineage[1:3] == [str(first), "2"]
    assert f"Version {first}" in nightly.text
    assert "The bounds" in nightly.text
    cost = nightly.row("2024-05-02", cells=6)
    assert int(cost[1].replace(",", "")) < int(cost[2].replace(",", ""))

    settings, out = str(tmp_path / "one" / "warmspan.yaml"), tmp_path / "new" / "report.html"
    result = CliRunner().invoke(app, ["report", "--config", settings, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.parent.iterdir()) == ["report.html"]
    agrees(Page(out.read_text()), ledger)

    # What the page says of a user's first item, the command says too.
    (title,) = (text for text in re.findall(r"for user (\S+): ", nightly.text)[:1])
    item = next(row for row in explain_rows(out) if title in row)[title]
    asked = ["explain", "--config", settings, "--user", title, "--item", item, "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    explanation = json.loads(result.output)
    assert (explanation["version"], explanation["learned"], explanation["bases"]) == (
        last,
        ["2024-05-01", "2024-05-02"],
        [first],
    )
    assert explanation["method"] == "linear"
    total = sum(event["share"] for event in explanation["events"]) + sum(explanation["rest"].values())
    assert total == pytest.approx(explanation["score"], abs=1e-4)
    for wrong, message in ((["--user", "nobody"], "Received: 'nobody', of whom there is none"),):
        result = CliRunner().invoke(app, ["explain", "--config", settings, *wrong, "--item", item])
        assert result.exit_code == 1
        assert message in result.output

    carry_out(config, make_rollback(config, bad=last), "bots")
    write_report(config, config.root / NIGHTLY)
    after, ledger = Page((config.root / NIGHTLY).read_text()), read_ledger(config)
    agrees(after, ledger)
    assert f"Version {first} is served." in after.text
    assert f"{last} went into service and was revoked since: bots" in after.text
    assert [re.sub(r"\d+:", ":", row[-1]) for row in after.rows if row[0] == str(last)] == ["revoked: bots"]
    assert after.row(f"{first} (served)")[1] == "2024-05-01"


def explain_rows(out: Path) -> list[dict[str, str]]:
    """User to the id of the item that is explained for it."""
    html = out.read_text()
    headings = re.findall(r'<h3>(?:<span title="([^"]+)">[^<]*</span>|([^<]+)) for user ([^:]+):', html)
    return [{user: titled or plain} for titled, plain, user in headings]
