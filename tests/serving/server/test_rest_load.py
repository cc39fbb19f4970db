from __future__ import annotations

import asyncio
import json
import math
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving import load_test
from serving.load_test import LoadReport, Saturation, find_saturation, run_clients, run_load_test
from serving.load_test_connection import Connections
from serving.server.rest_server import RestServer
from tests.serving import rest_models


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    root = tmp_path_factory.mktemp("models")
    rest_models.half_plus(root / "half" / "1", 1)
    with RestServer({"half": root / "half"}) as running:
        yield running


def test_every_request_of_a_fixed_rate_is_sent_and_answered(server: RestServer) -> None:
    bodies = [{"instances": [1.0]}, {"instances": [2.0]}]
    report = run_load_test(f"{server.url}/v1/models/half:predict", bodies, 100, 0.5)
    assert (report.sent, report.answered, report.errors) == (50, 50, {})
    assert 0 < report.p50 <= report.p95 <= report.p99 <= report.slowest
    assert report.seconds > 0.45
    assert "50 of 50 answered" in str(report)


def test_errors_are_counted_by_what_they_are(server: RestServer) -> None:
    report = run_load_test(f"{server.url}/v1/models/half:predict", [{}, {"inputs": 1}], 100, 0.1)
    assert (report.answered, report.errors) == (5, {"status 400": 5})
    report = run_load_test("http://127.0.0.1:9/", [{}], 100, 0.05)
    assert report.errors == {"ConnectionRefusedError": 5}
    assert math.isnan(report.p50)


def test_a_latency_counts_from_when_the_request_was_due(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = RestServer._ask

    def stall(self: RestServer, path: str, body: bytes, *more: Any) -> None:
        # The whole server stands still, as in a long collection: all that was due meanwhile has waited.
        if b"stall" in body:
            time.sleep(0.5)
        answer(self, path, body, *more)

    monkeypatch.setattr(RestServer, "_ask", stall)
    with RestServer(list(server.manager._configs.values())) as stalling:
        bodies = [{"inputs": 1, "stall": 1}, *[{"inputs": 1}] * 99]
        report = run_load_test(f"{stalling.url}/v1/models/half:predict", bodies, 100, 1.0)
    assert report.errors == {}
    assert report.slowest > 400
    assert report.p95 > 350


def test_clients_that_wait_measure_throughput(server: RestServer) -> None:
    report = run_clients(f"{server.url}/v1/models/half:predict", [{"instances": [1.0]}], 4, 0.5)
    assert report.errors == {}
    assert report.answered == report.sent >= 4
    assert report.throughput == report.answered / report.seconds
    assert math.isnan(report.rate)
    assert str(report).startswith(f"{report.throughput:.4g} requests/s")


def test_rates_rise_until_the_server_does_not_keep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(url: str, bodies: list[object], rate: float, seconds: float, timeout: float) -> LoadReport:
        answered = min(rate, 300.0) * seconds
        return LoadReport(rate, seconds, round(rate * seconds), round(answered), 1, 2, 3, 4)

    monkeypatch.setattr(load_test, "run_load_test", run)
    reports: list[LoadReport] = []
    saturation = find_saturation("http://127.0.0.1:9/", [{}], first=100, factor=2, seconds=1, tell=reports.append)
    assert [report.rate for report in reports] == [100, 200, 400]
    assert (saturation.rate, saturation.reached) == (300, True)
    short = find_saturation("http://127.0.0.1:9/", [{}], first=100, factor=2, seconds=1, most=150)
    assert (short.rate, short.reached) == (100, False)
    with pytest.raises(ValueError, match="`factor` must be more than 1"):
        find_saturation("http://127.0.0.1:9/", [{}], factor=1)
    # All answered, but long after: that is not keeping up.
    assert Saturation([LoadReport(100, 5.0, 100, 100, 1, 2, 3, 4)]).reached


def test_an_answer_that_is_cut_off_is_an_error() -> None:
    def cut(listener: socket.socket) -> None:
        for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n{}", b""):
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(head)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=cut, args=(listener,))
        thread.start()
        report = run_load_test(f"http://127.0.0.1:{listener.getsockname()[1]}/", [{}], 20, 0.15)
        thread.join()
    assert (report.answered, report.errors) == (0, {"ConnectionResetError": 3})


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(server: RestServer) -> None:
    url = f"{server.url}/v1/models/half:predict"

    async def ask() -> list[object]:
        connections = Connections(url)
        late = asyncio.ensure_future(connections.post(b'{"inputs": 1}'))
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        late.cancel()
        answers = [await connections.post(json.dumps({"inputs": value}).encode()) for value in (2, 3)]
        connections.close()
        return [(status, json.loads(body)["outputs"]) for status, body in answers]

    assert asyncio.run(ask()) == [(200, 2.0), (200, 2.5)]


def test_settings_that_send_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        run_load_test("http://127.0.0.1:9/", [{}], 0, 1)


def test_the_program_prints_a_line_a_rate(
    server: RestServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, body = f"{server.url}/v1/models/half:predict", json.dumps({"inputs": 1})
    monkeypatch.setattr(sys, "argv", ["load_test", url, body, "--rate", "20", "40", "--seconds", "0.2"])
    assert load_test.main() == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("20 requests/s")
    assert second.startswith("40 requests/s")
    monkeypatch.setattr(sys, "argv", ["load_test", url, body, "--clients", "2", "--seconds", "0.2"])
    assert load_test.main() == 0
    assert "errors: none" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["load_test", url, "{oops"])
    assert load_test.main() == 2
