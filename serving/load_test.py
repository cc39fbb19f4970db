"""A small load tester: requests at a fixed rate, rising rates up to saturation, or as fast as some clients can ask.

At a fixed rate (open loop) requests leave whether or not the server keeps up, and a latency is counted from the moment
a request was due, so that waiting in a queue is seen; a tester that waits for each answer before it sends the next one
would slow down together with the server and report good numbers. Clients that do wait (closed loop) measure throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.load_test_connection import Connections

# A rate counts as kept up with when this share of its requests was answered in its time.
KEPT_UP = 0.95


@dataclass(frozen=True)
class LoadReport:
    """What a run gave. Latencies in milliseconds, of the requests answered with status 200.

    `rate` is what was asked for a second, in an open loop; NaN in a closed one.
    """

    rate: float
    seconds: float
    sent: int
    answered: int
    p50: float
    p95: float
    p99: float
    slowest: float
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """Requests answered a second."""
        return self.answered / self.seconds

    @property
    def kept_up(self) -> bool:
        """Whether the server answered nearly all, at the rate at which they were sent."""
        return self.answered >= KEPT_UP * self.sent and self.throughput >= KEPT_UP * self.rate

    def __str__(self) -> str:
        errors = ", ".join(f"{count} x {what}" for what, count in self.errors.items()) or "none"
        rate = self.throughput if math.isnan(self.rate) else self.rate
        return (
            f"{rate:.4g} requests/s for {self.seconds:.1f} s: {self.answered} of {self.sent} answered, "
            f"p50 {self.p50:.1f} ms, p95 {self.p95:.1f} ms, p99 {self.p99:.1f} ms, slowest {self.slowest:.1f} ms, "
            f"errors: {errors}"
        )


@dataclass(frozen=True)
class Saturation:
    """Runs at rising rates; the last one is the first that the server did not keep up with, if it was reached."""

    reports: Sequence[LoadReport]

    @property
    def rate(self) -> float:
        """The most requests a second that were answered."""
        return max(report.throughput for report in self.reports)

    @property
    def reached(self) -> bool:
        return not self.reports[-1].kept_up


def run_load_test(url: str, bodies: Sequence[Any], rate: float, seconds: float, *, timeout: float = 10.0) -> LoadReport:
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
    _check(bodies, rate=rate, seconds=seconds)
    return asyncio.run(_open_loop(url, _encoded(bodies), rate, seconds, timeout))


def run_clients(url: str, bodies: Sequence[Any], clients: int, seconds: float, *, timeout: float = 30.0) -> LoadReport:
    """Lets `clients` clients ask at once for `seconds`, each sending its next request when the last is answered.

    Raises:
      ValueError: there is nothing to send, or `clients` or `seconds` is not positive.
    """
    _check(bodies, clients=clients, seconds=seconds)
    return asyncio.run(_closed_loop(url, _encoded(bodies), clients, seconds, timeout))


def find_saturation(
    url: str,
    bodies: Sequence[Any],
    *,
    first: float = 50.0,
    factor: float = 1.5,
    seconds: float = 5.0,
    most: float = 20_000.0,
    timeout: float = 10.0,
    tell: Callable[[LoadReport], None] = lambda report: None,
) -> Saturation:
    """Open-loop runs at rates from `first` on, each `factor` times the last, until the server does not keep up.

    `tell` is called with each report as it comes; beyond the rate `most` it is given up.

    Raises:
      ValueError: there is nothing to send, or a number is out of its range.
    """
    if factor <= 1:
        raise ValueError(f"`factor` must be more than 1. Received: {factor}.")
    reports: list[LoadReport] = []
    rate = first
    while not reports or (reports[-1].kept_up and rate <= most):
        reports.append(run_load_test(url, bodies, rate, seconds, timeout=timeout))
        tell(reports[-1])
        rate *= factor
    return Saturation(reports)


class _Tally:
    """Sends requests and keeps what came of them."""

    def __init__(self, url: str, timeout: float) -> None:
        self.connections = Connections(url)
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self._timeout = timeout

    async def send(self, body: bytes, due: float) -> None:
        try:
            status, _ = await self.connections.post(body, self._timeout)
            if status == 200:
                self.latencies.append((time.perf_counter() - due) * 1e3)
            else:
                self.errors[f"status {status}"] += 1
        except (OSError, asyncio.TimeoutError) as error:
            self.errors[type(error).__name__] += 1

    def report(self, rate: float, seconds: float, sent: int) -> LoadReport:
        self.connections.close()
        shares = np.percentile(self.latencies, [50, 95, 99, 100]).tolist() if self.latencies else [math.nan] * 4
        p50, p95, p99, slowest = shares
        return LoadReport(rate, seconds, sent, len(self.latencies), p50, p95, p99, slowest, dict(self.errors))


async def _open_loop(url: str, bodies: Sequence[bytes], rate: float, seconds: float, timeout: float) -> LoadReport:
    tally = _Tally(url, timeout)
    began = time.perf_counter()
    tasks = []
    for number, body in zip(range(round(rate * seconds)), itertools.cycle(bodies)):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.create_task(tally.send(body, due)))
    await asyncio.gather(*tasks)
    return tally.report(rate, time.perf_counter() - began, len(tasks))


async def _closed_loop(url: str, bodies: Sequence[bytes], clients: int, seconds: float, timeout: float) -> LoadReport:
    tally = _Tally(url, timeout)
    began = time.perf_counter()
    turn = itertools.cycle(bodies)
    sent = 0

    async def client() -> None:
        nonlocal sent
        while (now := time.perf_counter()) < began + seconds:
            sent += 1
            await tally.send(next(turn), now)

    await asyncio.gather(*(client() for _ in range(clients)))
    return tally.report(math.nan, time.perf_counter() - began, sent)


def _check(bodies: Sequence[Any], **numbers: float) -> None:
    if not bodies or min(numbers.values()) <= 0:
        names, received = " and ".join(f"`{name}`" for name in numbers), ", ".join(map(str, numbers.values()))
        raise ValueError(
            f"`bodies` must not be empty, {names} must be positive. Received: {len(bodies)} bodies, {received}."
        )


def _encoded(bodies: Sequence[Any]) -> list[bytes]:
    return [json.dumps(body).encode() for body in bodies]


def main() -> int:
    """`python -m serving.load_test URL BODY`: one line a rate; the exit status tells whether there were errors."""
    parser = argparse.ArgumentParser(prog="python -m serving.load_test", description=main.__doc__)
    parser.add_argument("url", help="as http://127.0.0.1:8501/v1/models/shop:predict")
    parser.add_argument("body", help="the JSON to send, or @file with one JSON a line")
    parser.add_argument("--rate", type=float, nargs="+", default=[50.0], help="requests a second; several run in turn")
    parser.add_argument(
        "--saturate", action="store_true", help="go on from the first rate, half as fast again each time, to the limit"
    )
    parser.add_argument("--clients", type=int, help="instead of a rate: so many clients, each asking as fast as it can")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--timeout", type=float, default=10.0)
    args = parser.parse_args()

    def tell(report: LoadReport) -> None:
        print(report, flush=True)

    try:
        if args.body.startswith("@"):
            with open(args.body[1:], encoding="utf-8") as lines:
                bodies = [json.loads(line) for line in lines if line.strip()]
        else:
            bodies = [json.loads(args.body)]
        timing = {"seconds": args.seconds, "timeout": args.timeout}
        if args.saturate:
            saturation = find_saturation(args.url, bodies, first=args.rate[0], tell=tell, **timing)
            how = "" if saturation.reached else ", and the server kept up"
            print(f"At most {saturation.rate:.0f} requests/s were answered{how}.")
            return 0
        if args.clients is not None:
            reports = [run_clients(args.url, bodies, args.clients, **timing)]
            tell(reports[0])
        else:
            reports = []
            for rate in args.rate:
                reports.append(run_load_test(args.url, bodies, rate, **timing))
                tell(reports[-1])
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if any(report.errors for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
