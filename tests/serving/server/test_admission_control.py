"""What a request may take before it is computed, without a server around it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Coroutine, Sequence
from unittest import mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from serving.server import admission_control
from serving.server.admission_control import AdmissionControl, HeldBytes, Refused

LARGE = "A request body must be at most 100 bytes."
FULL = "The server holds as many large requests as it can. Try again in a second."


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> AdmissionControl:
    """One request may compute; a body has 100 bytes, all bodies together 200."""
    monkeypatch.setattr(admission_control, "MAX_HELD_BODIES", 2)
    return AdmissionControl(max_pending=1, max_body_bytes=100)


def sent(parts: Sequence[bytes], length: int | None = None, end: bool = True) -> web.Request:
    """A request whose body has come as far as `parts`; in chunks where no length is announced."""
    payload = StreamReader(mock.create_autospec(BaseProtocol, instance=True), 2**16, loop=asyncio.get_running_loop())
    for part in parts:
        payload.feed_data(part)
    if end:
        payload.feed_eof()
    headers = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    return make_mocked_request("POST", "/", headers, payload=payload, client_max_size=100)


def refusal(refused: Refused) -> tuple[int, str]:
    assert refused.answer.content_type == "application/json"
    return refused.answer.status, json.loads(refused.answer.body)["error"]


async def refused_as(control: AdmissionControl, request: web.Request) -> tuple[int, str]:
    held = control.held_bytes
    with pytest.raises(Refused) as raised:
        async with control.admit(request):
            pytest.fail("it was let in")
    assert control.held_bytes == held
    return refusal(raised.value)


def run(test: Coroutine[None, None, None], control: AdmissionControl) -> None:
    asyncio.run(test)
    assert (control.pending, control.held_bytes) == (0, 0)


@pytest.mark.parametrize("length", [60, None], ids=["announced", "in chunks"])
@pytest.mark.parametrize("whole", [True, False])
def test_who_is_let_in_holds_bytes_and_a_place_until_the_end(
    control: AdmissionControl, length: int | None, whole: bool
) -> None:
    async def test() -> None:
        request = sent([b"x" * 40, b"y" * 20], length, end=whole)
        if not whole:
            asyncio.get_running_loop().call_soon(request.content.feed_eof)
        async with control.admit(request) as body:
            assert body == b"x" * 40 + b"y" * 20
            assert (control.pending, control.held_bytes) == (1, 60)
            raise ZeroDivisionError  # computing may fail

    with pytest.raises(ZeroDivisionError):
        asyncio.run(test())
    assert (control.pending, control.held_bytes) == (0, 0)


def test_who_finds_no_place_gives_its_bytes_back(control: AdmissionControl) -> None:
    async def test() -> None:
        async with control.admit(sent([b"x"], 1)):
            for length in (5, None):
                status, reason = await refused_as(control, sent([b"other"], length))
                assert (status, reason) == (503, "1 requests are waiting already. Try again in a second.")
            assert control.pending == 1
        async with control.admit(sent([b"other"], 5)) as body:
            assert body == b"other"

    run(test(), control)


def test_an_announced_body_is_refused_before_it_is_read(control: AdmissionControl) -> None:
    async def test() -> None:
        assert await refused_as(control, sent([], 101, end=False)) == (413, LARGE)
        with HeldBytes(control) as held:
            held.add(150)
            assert await refused_as(control, sent([], 51, end=False)) == (503, FULL)
            # What is no body of its own is too large, however full the server is.
            assert await refused_as(control, sent([], 101, end=False)) == (413, LARGE)
            async with control.admit(sent([b"x" * 50], 50)):
                assert control.held_bytes == 200

    run(test(), control)


def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_large(control: AdmissionControl) -> None:
    async def test() -> None:
        assert await refused_as(control, sent([b"x" * 60, b"y" * 41], end=False)) == (413, LARGE)
        assert await refused_as(control, sent([b"x" * 60, b"y" * 41])) == (413, LARGE)
        with HeldBytes(control) as held:
            held.add(150)
            assert await refused_as(control, sent([b"x" * 51], end=False)) == (503, FULL)

    run(test(), control)


@pytest.mark.parametrize("length", [60, None], ids=["announced", "in chunks"])
def test_a_body_that_does_not_arrive_is_given_up(
    control: AdmissionControl, length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_control, "BODY_SECONDS", 0.05)

    async def test() -> None:
        status, reason = await refused_as(control, sent([b"x" * 40], length, end=False))
        assert (status, reason) == (408, "The request body did not arrive within 0.05 seconds.")

    run(test(), control)


def test_a_client_that_leaves_gives_back_what_it_held(control: AdmissionControl) -> None:
    async def test() -> None:
        async def admit() -> None:
            async with control.admit(sent([b"x" * 40], end=False)):
                pytest.fail("its body never came")

        leaving = asyncio.create_task(admit())
        while control.held_bytes < 40:
            await asyncio.sleep(0)
        assert control.pending == 0, "what is still read takes no place"
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

    run(test(), control)


def test_a_zipped_body_has_the_same_limit(control: AdmissionControl) -> None:
    assert control.unzip(gzip.compress(b"x" * 100)) == b"x" * 100
    assert control.unzip(b"no gzip") == b""
    with pytest.raises(Refused) as raised:
        control.unzip(gzip.compress(b"x" * 101))
    assert refusal(raised.value) == (413, LARGE)
