"""Who is told what, by a real program and a real receiver: once an event, whatever is tried again."""

from __future__ import annotations

import http.server
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import Config, ConfigError, load_config, with_settings
from pipeline.ledger.runs import read_ledger
from pipeline.monitoring import alerts
from pipeline.monitoring.alerts import Alert, alerts_of, send_alerts
from pipeline.orchestration.callbacks import failure, not_planned
from pipeline.orchestration.span_run import NodeError, RunError
from pipeline.planning.differences import Delivery
from pipeline.planning.run_plan import PlanError, make_plan
from pipeline.spans import Naming
from tests.pipeline.hand_made_ledger import make_run, refused_run, skipped_run

DAYS = Naming(dated=True)
ROOT = Path(__file__).resolve().parents[3]
REFUSED = Alert("refused", "2024-05-02", "r01", "Refused on 300 held-out events: “recall” is 0.1000.")

# What is told is appended to a file, a line an alert.
KEEP = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n')"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted to it, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict] = []
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?token=secret"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        self.server.got.append(body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def settings(tmp_path: Path, **given: object) -> Config:
    path = tmp_path / "warmspan.yaml"
    return Config.model_validate(
        {
            "name": "shop",
            "root": tmp_path / "run",
            "data": {"path": path.parent / "events", "columns": {"key": "u", "item": "i", "timestamp": "t"}},
            "alerts": given,
        }
    )


def keep_in(tmp_path: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", KEEP, str(tmp_path / "told"))


def sent_alerts(tmp_path: Path) -> list[dict]:
    path = tmp_path / "told"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_a_command_and_a_webhook_are_told_once(tmp_path, receiver):
    config = settings(tmp_path, command=keep_in(tmp_path), webhook=receiver.url)
    for _ in range(3):
        send_alerts(config, [REFUSED])
    send_alerts(config)
    body = {
        "id": "shop.refused.2024-05-02.r01",
        "pipeline": "shop",
        "what": "refused",
        "span": "2024-05-02",
        "sentence": REFUSED.sentence,
    }
    assert receiver.got == sent_alerts(tmp_path) == [body]


def test_what_differs_is_another_event(tmp_path, receiver):
    config = settings(tmp_path, webhook=receiver.url)
    events = [
        REFUSED,
        Alert("refused", "2024-05-02", "r02", "Refused again."),
        Alert("refused", "2024-05-03", "r01", "Refused."),
        Alert("drift", "2024-05-02", "r01", "Drifted."),
        *failure("2024-05-02", 1, NodeError("Evaluator", "It failed.")),
        *failure("2024-05-02", 1, NodeError("SpanPusher", "It failed.")),
        *failure("2024-05-02", 1, NodeError("SpanPusher", "It failed in another way.")),
    ]
    send_alerts(config, events)
    send_alerts(config, events)
    assert len(receiver.got) == len({alert["id"] for alert in receiver.got}) == 6
    other = config.model_copy(update={"name": "books"})
    send_alerts(other, [REFUSED])
    assert receiver.got[-1]["pipeline"] == "books", "pipelines that share a store have their own alerts"


def test_what_did_not_arrive_is_logged_and_sent_by_the_next_run(tmp_path, receiver, caplog):
    config = settings(tmp_path, command=keep_in(tmp_path), webhook=receiver.url)
    receiver.status = 503
    with caplog.at_level(logging.WARNING):
        send_alerts(config, [REFUSED])
    assert "shop.refused.2024-05-02.r01 was not told by webhook: HTTP Error 503" in caplog.text
    assert "secret" not in caplog.text
    assert len(sent_alerts(tmp_path)) == 1
    receiver.status = 200
    send_alerts(config)
    send_alerts(config)
    assert len(receiver.got) == 2, "the one that was refused, and the one that arrived"
    assert len(sent_alerts(tmp_path)) == 1, "the command had it already"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/nowhere/at/all",), "No such file"),
        ((sys.executable, "-c", "import sys; sys.exit('no mail today')"), "ended with 1: no mail today"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "timed out"),
    ],
)
def test_a_command_that_fails_never_fails_the_run(tmp_path, caplog, command, said):
    config = settings(tmp_path, command=command, timeout=0.5)
    with caplog.at_level(logging.WARNING):
        send_alerts(config, [REFUSED, Alert("drift", "2024-05-02", "r01", "Drifted.")])
    assert said in caplog.text
    assert len(caplog.records) == 1, "what is down is asked once a run"
    mended = settings(tmp_path, command=keep_in(tmp_path))
    send_alerts(mended)
    assert [alert["what"] for alert in sent_alerts(tmp_path)] == ["refused", "drift"]


def test_nobody_listens_on_the_port(tmp_path, caplog):
    server = Receiver()
    server.server_close()
    with caplog.at_level(logging.WARNING):
        send_alerts(settings(tmp_path, webhook=server.url, timeout=2), [REFUSED])
    assert "Connection refused" in caplog.text


def test_a_store_that_can_not_be_used_is_logged(tmp_path, caplog):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metadata.sqlite").write_text("no database")
    with caplog.at_level(logging.ERROR):
        send_alerts(settings(tmp_path, command=keep_in(tmp_path)), [REFUSED])
    assert "The alerts could not be looked up or kept" in caplog.text
    assert not sent_alerts(tmp_path)


def test_only_what_is_asked_for_is_told(tmp_path):
    config = settings(tmp_path, command=keep_in(tmp_path), on=["gap"])
    send_alerts(config, [REFUSED])
    assert not (tmp_path / "run").exists()
    send_alerts(settings(tmp_path), [REFUSED])
    assert not (tmp_path / "run").exists(), "without a receiver nothing is kept"
    send_alerts(settings(tmp_path, command=keep_in(tmp_path)))
    assert not sent_alerts(tmp_path), "what happened before anybody asked is not told later"


def test_two_processes_at_once_tell_once(tmp_path):
    program = (
        "import sys; from tests.pipeline.monitoring.test_alerts import *; "
        "send_alerts(settings(Path(sys.argv[1]), command=keep_in(Path(sys.argv[1]))), [REFUSED])"
    )
    send_alerts(settings(tmp_path, command=keep_in(tmp_path)), [Alert("gap", "2024-05-01", "", "A gap.")])
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert [alert["what"] for alert in sent_alerts(tmp_path)] == ["gap", "refused"]


# What is an alert.


def test_a_refusal_and_drift_are_worth_an_alert_and_a_good_day_is_not():
    assert alerts_of(make_run("2024-05-02")) == alerts_of(skipped_run("2024-05-02")) == []
    (refused,) = alerts_of(refused_run("2024-05-02"))
    assert (refused.what, refused.span, refused.of) == ("refused", "2024-05-02", "r01")
    assert refused.sentence == "Refused on 300 held-out events: recall is 0.1000."
    (drift,) = alerts_of(make_run("2024-05-02", drift="`item` is far.", revision=2))
    assert (drift.what, drift.of, drift.sentence) == ("drift", "r02", "`item` is far.")
    assert alerts_of(make_run("2024-05-09"), [make_run(f"2024-05-0{day}") for day in range(1, 9)]) == []
    assert failure("2024-05-02", 1, RunError("One run at a time may use a pipeline root.")) == []


def test_a_gap_is_told_until_its_first_day_is_there(tmp_path):
    def events(*names: str) -> list[Alert]:
        delivered = {DAYS.parse(name): Delivery(None, name) for name in names}
        with pytest.raises(PlanError) as caught:
            make_plan([make_run("2024-05-01", fingerprint="2024-05-01")], delivered, DAYS)
        return not_planned(caught.value, DAYS)

    config = settings(tmp_path, command=keep_in(tmp_path))
    send_alerts(config, events("2024-05-01", "2024-05-03"))
    send_alerts(config, events("2024-05-01", "2024-05-03", "2024-05-05"))
    assert [(alert["what"], alert["span"]) for alert in sent_alerts(tmp_path)] == [("gap", "2024-05-02")]
    assert "no files for 2024-05-02" in sent_alerts(tmp_path)[0]["sentence"]
    send_alerts(config, events("2024-05-01", "2024-05-04"))
    assert len(sent_alerts(tmp_path)) == 1, "the same gap, one day longer"


def test_another_reason_for_which_nothing_can_be_planned_is_a_failure_told_once(tmp_path):
    config = settings(tmp_path, command=keep_in(tmp_path))
    for _ in range(2):
        send_alerts(config, not_planned(PlanError("2024-05-02 was delivered again."), DAYS))
    send_alerts(config, not_planned(ValueError("--decide stands alone"), DAYS))
    assert [(alert["what"], alert["span"], alert["sentence"]) for alert in sent_alerts(tmp_path)] == [
        ("failure", "", "2024-05-02 was delivered again.")
    ]


def test_the_command_line_tells_of_a_gap_before_anything_has_run(make_shop, tmp_path):
    config = make_shop(3)
    path = config.root.parent / "warmspan.yaml"
    command = json.dumps(list(keep_in(tmp_path)))
    path.write_text(path.read_text() + f"alerts: {{command: {command}}}\n")
    (config.data.path / "2024-05-02" / "events.csv").unlink()
    for _ in range(2):
        result = CliRunner().invoke(app, ["run", "-c", str(path)])
        assert result.exit_code == 1
    assert [(alert["what"], alert["span"]) for alert in sent_alerts(tmp_path)] == [("gap", "2024-05-02")]
    assert read_ledger(config) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"webhook": "example.com/hook"}, "must be an address like https"),
        ({"webhook": "ftp://example.com"}, "must be an address like https"),
        ({"command": "mail 'me"}, "must be a command line"),
        ({"command": ""}, "must name a program"),
        ({"on": ["rain"]}, "alerts.on"),
        ({"timeout": 0}, "alerts.timeout"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        with_settings(settings(tmp_path), {"alerts": given}, "It")


def test_on_is_a_word_in_the_settings_file(tmp_path):
    path = tmp_path / "warmspan.yaml"
    columns = "columns: {key: u, item: i, timestamp: t}"
    path.write_text(f"name: shop\ndata: {{path: events, {columns}}}\nalerts:\n  on: [gap]\n  command: notify\n")
    assert load_config(path).alerts.on == ("gap",)


def test_a_command_line_is_split_as_a_shell_would():
    assert alerts.Alerts(command="mail -s 'warm span' me").argv == ("mail", "-s", "warm span", "me")
    assert alerts.Alerts().argv == ()
