"""Sends mutated requests to the embedded server and looks at whether it stays whole.

    python -m benchmarks.fuzz_serving [--requests 100000] [--seed 1] [--batching]

Every request must get an HTTP answer within ten seconds, none of which says that the server itself failed; afterwards
a good request must get the answer that it got before, and the process must not have grown. Then come the awkward
clients: a body of 100 MB, lists nested 10,000 deep, headers sent a byte at a time, and paths out of the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.mutated_requests import Mutator
from benchmarks.serving_model import item_id, requests, write_model
from benchmarks.serving_process import ServerProcess
from serving.load_test_connection import Connections

ITEMS = 1000
SLOW_CLIENTS = 300
# The server says this of itself alone: see `serving.server.rest_api`.
_OWN_FAULT = b"The server failed at this request"


def valid_bodies() -> list[dict]:
    """Requests for each of the benchmark model's signatures."""
    ranked = {"user_id": "u1", "history": [item_id(1)], "candidates": [item_id(2), item_id(3)]}
    row = {"key": 1, "history": [2, 3], "item": 4, "weight": 1.0}
    return [
        *requests(ITEMS, 20),
        {"inputs": {"user_id": ["u1", "u2"], "history": [[item_id(1)], [item_id(2)]]}},
        {"signature_name": "rank", "instances": [ranked, ranked]},
        {"signature_name": "evaluate_rows", "instances": [row]},
        {"signature_name": "evaluate", "instances": [{"b64": "CgA="}]},
        {"signature_name": "evaluate", "examples": [{"history": [1, 2], "weight": 1.0}], "context": {"item_row": 3}},
    ]


async def fuzz(predict: str, mutator: Mutator, count: int, clients: int = 16) -> Counter[str]:
    """Sends `count` requests to the server at `predict`; counts answers by status, and what went wrong by name."""
    connections, seen = Connections(predict), Counter[str]()
    left = count

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            request = mutator.request()
            try:
                try:
                    status, answer = await asyncio.wait_for(connections.send(request), 10)
                except ConnectionResetError:
                    # After an answer to what is no HTTP the server hangs up, as this request may find out.
                    seen["sent again"] += 1
                    fresh = Connections(predict)
                    status, answer = await asyncio.wait_for(fresh.send(request), 10)
                    fresh.close()
            except (OSError, asyncio.TimeoutError) as error:
                seen[f"wrong: {type(error).__name__}"] += 1
                print("wrong:", type(error).__name__, request[:300], flush=True)
                continue
            if _OWN_FAULT in answer:
                seen["wrong: the server failed"] += 1
                print("wrong:", answer, request[:300], flush=True)
            seen[str(status)] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    connections.close()
    return seen


async def ask(predict: str, body: bytes) -> tuple[int, bytes]:
    """One POST on a connection of its own."""
    connections = Connections(predict)
    answer = await connections.post(body)
    connections.close()
    return answer


async def awkward(server: ServerProcess) -> dict[str, str]:
    """What came of each awkward client."""
    came: dict[str, str] = {}
    connections = Connections(server.predict)

    async def post(what: str, body: bytes) -> None:
        began = time.perf_counter()
        try:
            status, _ = await asyncio.wait_for(connections.post(body), 60)
            came[what] = f"status {status} after {time.perf_counter() - began:.2f} s"
        except OSError as error:
            # A body that is refused is not read to its end: the connection may close under the client.
            came[what] = f"{type(error).__name__} after {time.perf_counter() - began:.2f} s"

    await post("a body of 100 MB", b'{"instances": [' + b"1," * 50_000_000 + b"1]}")
    await post("a body of 15 MB", b'{"instances": [' + b"1," * 7_500_000 + b"1]}")
    await post("lists nested 10,000 deep", b'{"instances": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    await post("objects nested 10,000 deep", b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
    for path in ("/v1/models/../../../etc/passwd", "/v1/models/..%2F..%2Fetc%2Fpasswd", "/v1/models/%2e%2e:predict"):
        status, answer = await connections.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        came[path] = f"status {status}" + (" and a file" if b"root:" in answer else "")
    port = int(server.url.rpartition(":")[2])
    slow = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(SLOW_CLIENTS)]
    for letter in b"POST /v1/mod":
        for writer in slow:
            writer.write(bytes([letter]))
        await asyncio.sleep(0.05)
    good = json.dumps(valid_bodies()[0]).encode()
    await post(f"a good request beside {SLOW_CLIENTS} clients that send a byte at a time", good)
    for writer in slow:
        writer.close()
    connections.close()
    return came


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batching", action="store_true")
    arguments = parser.parse_args()
    mutator = Mutator("shop", valid_bodies(), arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "shop" / "1", ITEMS)
        flags = ["--enable_batching"] if arguments.batching else []
        with ServerProcess("shop", Path(folder) / "shop", *flags) as server:
            good = json.dumps(valid_bodies()[0]).encode()
            answer = asyncio.run(ask(server.predict, good))
            # Buffers and pools find their size first.
            first = max(1, arguments.requests // 10)
            seen = asyncio.run(fuzz(server.predict, mutator, first))
            before = server.memory
            began = time.perf_counter()
            seen += asyncio.run(fuzz(server.predict, mutator, arguments.requests - first))
            took, after = time.perf_counter() - began, server.memory
            print(
                f"{arguments.requests} requests, the last nine tenths in {took:.0f} s: "
                + ", ".join(f"{count} x {what}" for what, count in sorted(seen.items()))
            )
            print(f"memory of the server: {before >> 20} MiB after a tenth of them, {after >> 20} MiB after all")
            for what, result in asyncio.run(awkward(server)).items():
                print(f"{what}: {result}")
            same = asyncio.run(ask(server.predict, good)) == answer
            print(f"a good request gets the answer that it got before: {same}")
            print(f"memory of the server at the end: {server.memory >> 20} MiB")
            alive = server.process.poll() is None
    whole = same and alive and not any(what.startswith("wrong") for what in seen) and after < before * 1.1
    print("The server stayed whole." if whole else "The server did NOT stay whole.")
    return 0 if whole else 1


if __name__ == "__main__":
    raise SystemExit(main())
