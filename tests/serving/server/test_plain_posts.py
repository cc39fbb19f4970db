"""Plain requests, which aiohttp does not see, are answered as if it did."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server import plain_posts
from serving.server.plain_posts import plain_head
from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig
from tests.serving import rest_models

PATH = b"/v1/models/half:predict"


@pytest.fixture(scope="module", params=[None, BatchingConfig(num_batch_threads=1)], ids=["alone", "batched"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    root = tmp_path_factory.mktemp("models")
    rest_models.half_plus(root / "half" / "1", 1)
    with RestServer({"half": root / "half"}, batching=request.param, cors=True) as running:
        yield running


def post(value: Any, *headers: bytes, path: bytes = PATH) -> bytes:
    body = json.dumps({"instances": [value]}).encode()
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def answers(connection: socket.socket, count: int) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
    """First lines, headers and bodies of the next answers on a connection."""
    got: list[tuple[bytes, dict[bytes, bytes], bytes]] = []
    reader = connection.makefile("rb")
    while len(got) < count:
        first, headers = reader.readline(), {}
        while line := reader.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name] = value
        got.append((first, headers, reader.read(int(headers[b"Content-Length"]))))
    return got


def connect(server: RestServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=30)


def passed_by(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which requests aiohttp saw from now on, by their paths."""
    seen: list[str] = []
    respond = server._respond

    async def see(request: Any) -> Any:
        seen.append(request.path)
        return await respond(request)

    monkeypatch.setattr(server, "_respond", see)
    return seen


@pytest.mark.parametrize("value", [1.0, "no number"])
@pytest.mark.parametrize("path", [PATH, b"/v1/models/nobody:predict", b"/v1/models/half:regress"])
def test_the_answer_is_the_one_that_aiohttp_would_give(
    server: RestServer, monkeypatch: pytest.MonkeyPatch, path: bytes, value: Any
) -> None:
    seen = passed_by(server, monkeypatch)
    with connect(server) as plain, connect(server) as other:
        plain.sendall(post(value, path=path))
        (first,) = answers(plain, 1)
        assert seen == []
        other.sendall(post(value, b"Connection: upgrade", path=path))
        (second,) = answers(other, 1)
        assert len(seen) == 1
    for _, headers, _ in (first, second):
        assert headers.pop(b"Date").endswith(b" GMT")
    assert first == second


def test_requests_that_do_not_wait_for_their_answers_get_them_in_order(server: RestServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"".join(post(2 * number) for number in range(300)))
        got = [json.loads(body) for _, _, body in answers(connection, 300)]
    assert got == [{"predictions": [number + 1.0]} for number in range(300)]
    assert (server._admission.pending, server._admission.held_bytes) == (0, 0)


def test_a_hundred_refusals_in_a_row_are_no_recursion(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._admission, "max_pending", 0)
    with connect(server) as connection:
        connection.sendall(post(1) * 1000)
        for first, headers, _ in answers(connection, 1000):
            assert (first, headers[b"Retry-After"]) == (b"HTTP/1.1 503 Service Unavailable\r\n", b"1")
    assert (server._admission.pending, server._admission.held_bytes) == (0, 0)


@pytest.mark.parametrize("rest_seconds", [30.0, 0.0], ids=["waited for", "left to aiohttp"])
def test_head_and_body_may_come_apart(server: RestServer, monkeypatch: pytest.MonkeyPatch, rest_seconds: float) -> None:
    monkeypatch.setattr(plain_posts, "_REST_SECONDS", rest_seconds)
    seen = passed_by(server, monkeypatch)
    request = post(4)
    at = request.index(b"\r\n\r\n") + 4
    with connect(server) as connection:
        for _ in range(2):
            connection.sendall(request[:at])
            time.sleep(0.02)  # for a server that would not wait for the rest
            connection.sendall(request[at:])
            assert answers(connection, 1)[0][2] == b'{\n    "predictions": [3.0\n    ]\n}'
    assert bool(seen) == (rest_seconds == 0)


def test_what_is_not_plain_is_left_to_aiohttp_and_all_after_it(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passed_by(server, monkeypatch)
    with connect(server) as connection:
        status = b"GET /v1/models/half HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(post(2) + status + post(6))
        bodies = [json.loads(body) for _, _, body in answers(connection, 3)]
        large = post(8, b"X-Padding: " + b"x" * 2000)
        connection.sendall(large)
        bodies += [json.loads(body) for _, _, body in answers(connection, 1)]
    assert [body["predictions"] for body in bodies if "predictions" in body] == [[2.0], [4.0], [5.0]]
    assert list(bodies[1]) == ["model_version_status"]
    assert len(seen) == 3


def test_a_client_that_leaves_gives_its_place_back(server: RestServer) -> None:
    for _ in range(20):
        with connect(server) as connection:
            connection.sendall(post(1))
    deadline = time.monotonic() + 20
    while server._admission.pending or server._admission.held_bytes or server._idle._busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


FIRST, HOST, LENGTH = b"POST /v1/models/a:predict HTTP/1.1", b"Host: x", b"Content-Length: 12"


def test_a_plain_head_gives_path_and_length() -> None:
    assert plain_head(head(FIRST, HOST, LENGTH)) == ("/v1/models/a:predict", 12)
    assert plain_head(head(FIRST, b"content-length:\t7 ", b"HOST:x", b"Connection: Keep-Alive", b"Accept: */*")) == (
        "/v1/models/a:predict",
        7,
    )
    labelled = b"POST /v1/models/a/labels/b%20c:classify HTTP/1.1"
    assert plain_head(head(labelled, HOST, LENGTH)) == ("/v1/models/a/labels/b%20c:classify", 12)


@pytest.mark.parametrize(
    "lines",
    [
        (b"GET /v1/models/a:predict HTTP/1.1", HOST, LENGTH),
        (b"POST /v1/models/a:predict HTTP/1.0", HOST, LENGTH),
        (b"POST /v1/models/a:predict?x HTTP/1.1", HOST, LENGTH),
        (b"POST http://x/v1/models/a:predict HTTP/1.1", HOST, LENGTH),
        (b"POST /metrics HTTP/1.1", HOST, LENGTH),
        (FIRST, LENGTH),
        (FIRST, HOST),
        (FIRST, HOST, HOST, LENGTH),
        (FIRST, HOST, LENGTH, LENGTH),
        (FIRST, HOST, b"Content-Length: +12"),
        (FIRST, HOST, b"Content-Length: 1 2"),
        (FIRST, HOST, b"Content-Length : 12"),
        (FIRST, HOST, LENGTH, b" folded"),
        (FIRST, HOST, LENGTH, b"X: a\nTransfer-Encoding: chunked"),
        (FIRST, HOST, LENGTH, b"X: \x00"),
        (FIRST, HOST, LENGTH, b"Transfer-Encoding: chunked"),
        (FIRST, HOST, LENGTH, b"Connection: close"),
        (FIRST, HOST, LENGTH, b"Upgrade: websocket"),
        (FIRST, HOST, LENGTH, b"Expect: 100-continue"),
        (FIRST, HOST, LENGTH, b"Content-Encoding: gzip"),
    ],
)
def test_any_other_head_is_not_plain(lines: tuple[bytes, ...]) -> None:
    assert plain_head(head(*lines)) is None


@given(st.integers(0, 60), st.binary(max_size=3))
def test_no_byte_in_a_head_changes_where_the_body_ends(at: int, put: bytes) -> None:
    whole = head(FIRST, HOST, LENGTH)
    at = min(at, len(whole) - 4)
    changed = whole[:at] + put + whole[at:]
    if changed.index(b"\r\n\r\n") != len(changed) - 4 or (plain := plain_head(changed)) is None:
        return
    lengths = [line for line in changed.split(b"\r\n")[1:] if line.lower().startswith(b"content-length:")]
    assert len(lengths) == 1
    assert plain[1] == int(lengths[0].partition(b":")[2])
