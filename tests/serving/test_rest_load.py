from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator

import pytest
from aiohttp import web

from serving import load_test
from serving.load_test import run_load_test
from serving.rest_server import RestServer
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
    assert 0.45 < report.seconds < 5
    assert "50 of 50 answered" in str(report)


def test_errors_are_counted_by_what_they_are(server: RestServer) -> None:
    report = run_load_test(f"{server.url}/v1/models/half:predict", [{}, {"inputs": 1}], 100, 0.1)
    assert (report.answered, report.errors) == (5, {"status 400": 5})
    report = run_load_test("http://127.0.0.1:9/", [{}], 100, 0.05)
    assert report.errors == {"ClientConnectorError": 5}
    assert math.isnan(report.p50)


def test_a_latency_counts_from_when_the_request_was_due(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = RestServer._handle

    async def stall(self: RestServer, request: web.Request) -> web.Response:
        # The whole server stands still, as in a long collection: all that was due meanwhile has waited.
        if b"stall" in await request.read():
            time.sleep(0.5)
        return await answer(self, request)

    monkeypatch.setattr(RestServer, "_handle", stall)
    with RestServer(list(server.manager._configs.values())) as stalling:
        bodies = [{"inputs": 1, "stall": 1}, *[{"inputs": 1}] * 99]
        report = run_load_test(f"{stalling.url}/v1/models/half:predict", bodies, 100, 1.0)
    assert report.errors == {}
    assert report.p50 < 300 < report.slowest
    assert report.p95 > 350


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
    monkeypatch.setattr(sys, "argv", ["load_test", url, "{oops"])
    assert load_test.main() == 2
