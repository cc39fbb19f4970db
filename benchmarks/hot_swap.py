"""New versions pushed under load: which requests fail, and whether every answer comes from one version.

    python -m benchmarks.hot_swap [--versions 20] [--seconds 60] [--rate 50] [--items 10000] [--batching]

The versions differ in the word before each title. Each is written beside under a name that is no number, then renamed.
A request asks for two users at once, and the titles of all its answers must carry the same word.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.serving_model import requests, write_model
from benchmarks.serving_process import ServerProcess
from serving.load_test_connection import Connections


async def ask(url: str, bodies: list[bytes], rate: float, seconds: float) -> Counter[str]:
    """Sends `rate` requests a second; counts answers by version, `mixed` ones, and failures by what they are."""
    connections, seen = Connections(url), Counter[str]()

    async def send(body: bytes) -> None:
        try:
            status, answer = await asyncio.wait_for(connections.post(body), 10)
        except (OSError, asyncio.TimeoutError) as error:
            seen[f"failed: {type(error).__name__}"] += 1
            return
        if status != 200:
            seen[f"failed: status {status} {answer[:200]!r}"] += 1
            return
        titles = [title for row in json.loads(answer)["predictions"] for title in row["titles"] if title]
        words = {title.split()[0] for title in titles}
        seen[words.pop() if len(words) == 1 else "mixed"] += 1

    began, tasks = time.perf_counter(), []
    for number, body in zip(range(round(rate * seconds)), itertools.cycle(bodies)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(send(body)))
    await asyncio.gather(*tasks)
    connections.close()
    return seen


def push(staged: Path, version: Path) -> None:
    """Copies a version beside its place under a name that is no number, and renames it."""
    beside = version.with_name(f"tmp-{version.name}")
    shutil.copytree(staged, beside)
    os.rename(beside, version)


async def swap(folder: Path, url: str, versions: int, seconds: float, rate: float, items: int) -> Counter[str]:
    """Pushes the staged versions 2, 3, ... evenly over the run."""
    bodies = requests(items, 200)
    pairs = [{"instances": _even(body["instances"] + other["instances"])} for body, other in itertools.pairwise(bodies)]
    load = asyncio.create_task(ask(url, [json.dumps(pair).encode() for pair in pairs], rate, seconds))
    for version in range(2, versions + 1):
        await asyncio.sleep(seconds / (versions + 1))
        await asyncio.to_thread(push, folder / "staged" / str(version), folder / "shop" / str(version))
    return await load


def _even(rows: list[dict]) -> list[dict]:
    """Two histories of one request are one tensor: the shorter one is filled up."""
    longest = max(len(row["history"]) for row in rows)
    return [{**row, "history": row["history"] + [""] * (longest - len(row["history"]))} for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--batching", action="store_true")
    arguments = parser.parse_args()
    flags = ["--file_system_poll_wait_seconds=0.2", *(["--enable_batching"] if arguments.batching else [])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for version in range(1, arguments.versions + 1):
            write_model(folder / "staged" / str(version), arguments.items, title=f"v{version} ", seed=version)
        (folder / "shop").mkdir()
        push(folder / "staged" / "1", folder / "shop" / "1")
        with ServerProcess("shop", folder / "shop", *flags) as server:
            before = server.memory
            seen = asyncio.run(
                swap(folder, server.predict, arguments.versions, arguments.seconds, arguments.rate, arguments.items)
            )
            after = server.memory
    failed = sum(count for what, count in seen.items() if what.startswith("failed") or what == "mixed")
    print(
        f"{sum(seen.values())} requests, {failed} failed or mixed; answered by "
        + ", ".join(
            f"{what} {count}" for what, count in sorted(seen.items(), key=lambda entry: (len(entry[0]), entry[0]))
        )
    )
    print(f"memory of the server: {before >> 20} MiB before, {after >> 20} MiB after")
    return 1 if failed or len(seen) < arguments.versions else 0


if __name__ == "__main__":
    raise SystemExit(main())
