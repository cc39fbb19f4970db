"""A small open-loop load tester: requests leave at a fixed rate, whether or not the server keeps up.

A latency is counted from the moment a request was due, so that waiting in a queue is seen; a tester that waits for each
answer before it sends the next one would slow down together with the server and report good numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np


@dataclass(frozen=True)
class LoadReport:
    """What a run gave. Latencies in milliseconds, of the requests answered with status 200."""

    rate: float
    seconds: float
    sent: int
    answered: int
    p50: float
    p95: float
    p99: float
    slowest: float
    errors: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        errors = ", ".join(f"{count} x {what}" for what, count in self.errors.items()) or "none"
        return (
            f"{self.rate:g} requests/s for {self.seconds:.1f} s: {self.answered} of {self.sent} answered, "
            f"p50 {self.p50:.1f} ms, p95 {self.p95:.1f} ms, p99 {self.p99:.1f} ms, slowest {self.slowest:.1f} ms, "
            f"errors: {errors}"
        )


def run_load_test(
    url: str, bodies: Sequence[Any], rate: float, seconds: float, *, timeout: float = 10.0
) -> LoadReport:
    """Posts `bodies` in turn to `url`, `rate` a second for `seconds`, and waits for the last answers.

    Args:
      url: the whole address, as `http://127.0.0.1:8501/v1/models/shop:predict`.
      bodies: JSON values; the next one with each request, from the start again after the last.
      rate: requests a second.
      seconds: for how long.
      timeout: a request that takes longer counts as an error.

    Raises:
      ValueError: there is nothing to send, or `rate` or `seconds` is not positive.
    """
    if not bodies or rate <= 0 or seconds <= 0:
        raise ValueError(
            "`bodies` must not be empty, `rate` and `seconds` must be positive. Received: "
            f"{len(bodies)} bodies, {rate} a second, {seconds} s."
        )
    return asyncio.run(_run(url, [json.dumps(body).encode() for body in bodies], rate, seconds, timeout))


async def _run(url: str, bodies: Sequence[bytes], rate: float, seconds: float, timeout: float) -> LoadReport:
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(timeout)) as session:

        async def send(body: bytes, due: float) -> None:
            try:
                async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                    await response.read()
                    if response.status == 200:
                        latencies.append((time.perf_counter() - due) * 1e3)
                    else:
                        errors[f"status {response.status}"] += 1
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                errors[type(error).__name__] += 1

        began = time.perf_counter()
        tasks = set()
        for number, body in zip(range(round(rate * seconds)), itertools.cycle(bodies)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.add(asyncio.create_task(send(body, due)))
        await asyncio.gather(*tasks)
        took = time.perf_counter() - began
    p50, p95, p99, slowest = np.percentile(latencies, [50, 95, 99, 100]).tolist() if latencies else [float("nan")] * 4
    return LoadReport(rate, took, len(tasks), len(latencies), p50, p95, p99, slowest, dict(errors))


def main() -> int:
    """`python -m serving.load_test URL BODY`: one line a rate; the exit status tells whether there were errors."""
    parser = argparse.ArgumentParser(prog="python -m serving.load_test", description=main.__doc__)
    parser.add_argument("url", help="as http://127.0.0.1:8501/v1/models/shop:predict")
    parser.add_argument("body", help="the JSON to send, or @file with one JSON a line")
    parser.add_argument("--rate", type=float, nargs="+", default=[50.0], help="requests a second; several run in turn")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--timeout", type=float, default=10.0)
    args = parser.parse_args()
    try:
        if args.body.startswith("@"):
            with open(args.body[1:], encoding="utf-8") as lines:
                bodies = [json.loads(line) for line in lines if line.strip()]
        else:
            bodies = [json.loads(args.body)]
        reports = []
        for rate in args.rate:
            reports.append(run_load_test(args.url, bodies, rate, args.seconds, timeout=args.timeout))
            print(reports[-1], flush=True)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if any(report.errors for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
