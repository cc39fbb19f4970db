"""The server around the API: its queue, its limits, its beginning and its end."""

from __future__ import annotations

import gzip
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import urllib3

from serving.server import admission_control, rest_server
from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig
from tests.serving import rest_models

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose request [n] takes as long as counting to n."""

    def count(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.while_loop(lambda n: n < x[0], lambda n: (n + 1,), (0,))[0][None]}

    root = tmp_path_factory.mktemp("models")
    rest_models.save(root / "slow" / "1", {"serving_default": ({"x": tf.TensorSpec([None], tf.int32)}, count)})
    return root / "slow"


def ask(server: RestServer, count: Any = 1, **options: Any) -> urllib3.BaseHTTPResponse:
    url = f"{server.url}/v1/models/slow:predict"
    return urllib3.request("POST", url, **{"json": {"instances": [count]}, "retries": False, "timeout": 60, **options})


@pytest.fixture
def busy(folder: Path) -> Iterator[RestServer]:
    """A server with one place, and a request in it."""
    with RestServer({"slow": folder}, threads=1, max_pending=1) as server:
        answers: queue.Queue[int] = queue.Queue()
        long = threading.Thread(target=lambda: answers.put(ask(server, 50_000).status))
        long.start()
        while server._admission.pending == 0:
            time.sleep(0.01)
        yield server
        assert answers.get(timeout=60) == 200
        long.join()


def test_a_full_queue_is_an_honest_503(busy: RestServer) -> None:
    response = ask(busy)
    assert response.status == 503
    assert response.json() == {"error": "1 requests are waiting already. Try again in a second."}
    assert response.headers["Retry-After"] == "1"


def test_what_needs_no_model_is_answered_by_a_busy_server(busy: RestServer) -> None:
    assert urllib3.request("GET", f"{busy.url}/v1/models/slow").status == 200
    assert urllib3.request("GET", f"{busy.url}/monitoring/prometheus/metrics").status == 200


def test_requests_in_flight_end_before_the_server_does(folder: Path) -> None:
    answers: list[int] = []
    with RestServer({"slow": folder}) as server:
        long = threading.Thread(target=lambda: answers.append(ask(server, 50_000).status))
        long.start()
        while server._admission.pending == 0:
            time.sleep(0.01)
    long.join()
    assert answers == [200]
    with pytest.raises(urllib3.exceptions.HTTPError):
        ask(server)


def test_a_request_that_computes_too_long_is_a_504(folder: Path) -> None:
    with RestServer({"slow": folder}, timeout_seconds=1.0) as server:
        response = ask(server, 5_000_000)
        assert response.status == 504
        assert list(response.json()) == ["error"]
        assert ask(server).status == 200


@pytest.mark.parametrize("batching", [None, BatchingConfig()], ids=["alone", "batched"])
def test_a_body_has_a_limit_zipped_or_not(folder: Path, batching: BatchingConfig | None) -> None:
    with RestServer({"slow": folder}, max_body_bytes=10_000, batching=batching) as server:
        large = json.dumps({"instances": [1], "more": "x" * 20_000}).encode()
        for body, headers in ((large, {}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
            response = ask(server, json=None, body=body, headers=headers)
            assert response.status == 413
            assert response.json() == {"error": "A request body must be at most 10000 bytes."}
        assert ask(server).status == 200


def test_a_client_that_sends_half_a_body_holds_up_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_control, "BODY_SECONDS", 0.5)
    with (
        RestServer({"slow": folder}, threads=1, max_pending=1) as server,
        socket.create_connection((server.host, server.port)) as connection,
    ):
        connection.sendall(b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert ask(server).status == 200
        assert b" 408 " in connection.recv(1000)


def test_a_large_body_is_refused_before_it_is_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with RestServer({"slow": folder}) as server:
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(head % 100_000_000)
            assert b" 413 " in connection.recv(1000)
        monkeypatch.setattr(server._admission, "max_body_bytes", 1000)
        monkeypatch.setattr(admission_control, "MAX_HELD_BODIES", 1)
        with socket.create_connection((server.host, server.port)) as first:
            first.sendall(head % 900)
            while server._admission.held_bytes == 0:
                time.sleep(0.01)
            refused = ask(server, json=None, body=b" " * 200)
            assert refused.status == 503
            assert "as many large requests as it can" in refused.json()["error"]
        eventually_free(server)
        assert ask(server).status == 200


def test_a_body_in_chunks_is_counted_as_it_comes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (900, b" " * 900)
    monkeypatch.setattr(admission_control, "MAX_HELD_BODIES", 1)
    with RestServer({"slow": folder}, max_body_bytes=1000) as server:
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(head + chunk + chunk)
            assert b" 413 " in connection.recv(1000)
        eventually_free(server)
        with (
            socket.create_connection((server.host, server.port)) as first,
            socket.create_connection((server.host, server.port)) as second,
        ):
            first.sendall(head + chunk)
            while server._admission.held_bytes == 0:
                time.sleep(0.01)
            second.sendall(head + chunk)
            assert b" 503 " in second.recv(1000)
        eventually_free(server)
        assert ask(server).status == 200


def eventually_free(server: RestServer) -> None:
    deadline = time.monotonic() + 20
    while server._admission.held_bytes:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_connections_that_send_nothing_whole_are_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_server, "IDLE_SECONDS", 1.0)
    with RestServer({"slow": folder}, threads=1) as server:
        slow = [socket.create_connection((server.host, server.port)) for _ in range(50)]
        for connection in slow:
            connection.settimeout(20)
            connection.sendall(b"POST /v1/models/slow:predict HTTP/1.1\r\nHost:")
        # Nobody else waits for them, and a request that computes for longer than that is not idle.
        assert ask(server).status == 200
        assert ask(server, 50_000).status == 200
        for connection in slow:
            assert connection.recv(1000) == b""
            connection.close()


def test_what_is_no_http_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RestServer({"slow": folder}) as server:
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.0 400")
        assert caplog.text == ""
        assert ask(server).status == 200


def test_cross_origin_requests_are_a_choice(folder: Path) -> None:
    origin = {"Origin": "http://a.example"}
    with RestServer({"slow": folder}, cors=True, metrics_path=None) as server:
        url = f"{server.url}/v1/models/slow:predict"
        preflight = urllib3.request("OPTIONS", url, headers=origin)
        assert (preflight.status, preflight.data) == (200, b"")
        assert urllib3.request("OPTIONS", url).status == 400
        for response in (preflight, ask(server), ask(server, "x")):
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert urllib3.request("GET", f"{server.url}/monitoring/prometheus/metrics").status == 404
    with RestServer({"slow": folder}) as server:
        assert urllib3.request("OPTIONS", f"{server.url}/v1/models/slow:predict", headers=origin).status == 400
        assert "Access-Control-Allow-Origin" not in ask(server).headers


def test_only_this_machine_can_ask_unless_told_otherwise(folder: Path) -> None:
    with RestServer({"slow": folder}) as server:
        assert server.host == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.port}"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", server.port))


def test_a_taken_port_is_an_error_and_leaves_nothing_running(folder: Path) -> None:
    with RestServer({"slow": folder}) as server:
        second = RestServer({"slow": folder}, port=server.port)
        with pytest.raises(OSError, match="address already in use"):
            second.start()
        assert not [thread for thread in threading.enumerate() if thread is second._thread]
    second.start()
    assert ask(second).status == 200
    with pytest.raises(RuntimeError, match="runs already"):
        second.start()
    second.stop()
    second.stop()


def test_the_server_can_be_imported_without_tensorflow() -> None:
    check = "import sys, serving.server.rest_server, serving.client; print('tensorflow' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("signal_sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_cleanly(folder: Path, signal_sent: signal.Signals) -> None:
    flags = ["--model_name=slow", f"--model_base_path={folder}", "--rest_api_port=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", *flags], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        if "Serving on " in line:
            break
    else:
        pytest.fail("it did not start: " + "".join(log))
    url = line.split()[-1]
    assert urllib3.request("GET", f"{url}/v1/models/slow").status == 200
    os.kill(process.pid, signal_sent)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 0
    assert "Traceback" not in rest


SIGNAL_AS_IT_BEGINS_TO_WAIT = """\
import signal, sys, threading
from serving.server.rest_server import RestServer

def interrupt(frame, event, argument):
    waits = event == "call" and frame.f_code is threading.Condition.wait.__code__
    if waits or (event == "c_call" and getattr(argument, "__name__", "") == "recv"):
        sys.setprofile(None)
        signal.raise_signal(signal.SIGTERM)

RestServer.start = lambda server: sys.setprofile(interrupt)
RestServer({}).serve_forever()
"""


def test_a_signal_at_the_very_moment_of_waiting_is_not_lost() -> None:
    command = [sys.executable, "-c", SIGNAL_AS_IT_BEGINS_TO_WAIT]
    assert subprocess.run(command, cwd=REPOSITORY, timeout=60, check=False).returncode == 0


def test_the_program_says_in_a_sentence_why_it_cannot_start(tmp_path: Path) -> None:
    flags = [f"--model_config_file={tmp_path / 'no.config'}"]
    ran = subprocess.run([sys.executable, "-m", "serving", *flags], cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"{tmp_path / 'no.config'} must be a readable text file.")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_at_once(folder: Path, chunked: bool) -> None:
    body = json.dumps({"instances": [1]}).encode()
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{length}\r\n\r\n"
    with RestServer({"slow": folder}) as server, socket.create_connection(("127.0.0.1", server.port), 30) as client:
        for _ in range(2):  # on one connection
            client.sendall(head.encode())
            assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(sent)
            answer = client.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"predictions": [1]}


def test_a_body_that_is_too_large_is_not_asked_for(folder: Path) -> None:
    head = "POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 999\r\n\r\n"
    with (
        RestServer({"slow": folder}, max_body_bytes=100) as server,
        socket.create_connection(("127.0.0.1", server.port), 30) as client,
    ):
        client.sendall(head.encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
