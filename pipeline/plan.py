"""Which spans are run next, and what stands against it: gaps, late days, changed days."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from pipeline.ledger import Run
from pipeline.spans import Naming


class PlanError(ValueError):
    """The spans asked for can't be run as asked; the message says which, why, and what to do."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One span to run under one revision; a revision above 1 replaces an earlier run."""

    span: int
    revision: int


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What lies in the data folder for one span: its newest version, and a fingerprint of the files."""

    version: int | None
    fingerprint: str


def make_plan(
    ledger: Sequence[Run],
    delivered: Mapping[int, Delivery],
    naming: Naming,
    first: int | None = None,
    last: int | None = None,
    allow_gaps: bool = False,
    redo: bool = False,
) -> list[Step]:
    """Plans the spans from `first` to `last`, both included; without them every span that is not done.

    A span that is done and unchanged is left out. A run that was cut off is taken up under its own revision.

    Raises:
      PlanError: a span is missing, came late, or changed after later spans were trained on it.
    """
    runs = {run.span: run for run in ledger}
    done = [span for span, run in runs.items() if run.state == "done"]
    newest = max(done, default=None)
    wanted = [
        span
        for span in delivered
        if (first is None or span >= first) and (last is None or span <= last)
    ]
    if not wanted:
        between = " to ".join(naming.format(span) for span in (first, last) if span is not None)
        raise PlanError(f"There must be files for the spans asked for. Received: none for {between or 'any span'}.")
    if redo:
        return _redo(wanted, runs, newest, naming)

    changed = [span for span in wanted if span in done and _changed(runs[span], delivered[span])]
    late = [span for span in wanted if span not in done and newest is not None and span < newest]
    stale = sorted({*changed, *late} - ({newest} if newest is not None else set()))
    if stale and (first is not None or last is not None or changed):
        raise PlanError(_stale(stale, late, done, naming))
    steps = [Step(span, runs[span].revision if span in runs else 1) for span in wanted if span not in done and span not in late]
    if newest in changed:
        steps.insert(0, Step(newest, runs[newest].revision + 1))
    if late:
        raise PlanError(_stale(late, late, done, naming))
    if not allow_gaps and steps:
        _refuse_gaps(steps, delivered, newest, first, last, naming)
    return steps


def _redo(wanted: Sequence[int], runs: Mapping[int, Run], newest: int | None, naming: Naming) -> list[Step]:
    if newest is not None and max(wanted) < newest:
        raise PlanError(
            f"A redo must go on to the last span that was run, because each day stands on the one before. Received: "
            f"{naming.format(wanted[0])} to {naming.format(max(wanted))}, last run {naming.format(newest)}. Leave "
            "`--to` out."
        )
    return [Step(span, _next_revision(runs.get(span))) for span in wanted]


def _next_revision(run: Run | None) -> int:
    if run is None:
        return 1
    return run.revision + 1 if run.state == "done" else run.revision


def _changed(run: Run, delivery: Delivery) -> bool:
    if run.delivery is not None and delivery.version is not None and run.delivery != delivery.version:
        return True
    return bool(delivery.fingerprint) and bool(run.fingerprint) and run.fingerprint != delivery.fingerprint


def _stale(stale: Sequence[int], late: Sequence[int], done: Sequence[int], naming: Naming) -> str:
    lines = []
    for span in stale:
        after = sorted(one for one in done if one > span)
        what = "came after later spans were run" if span in late else "was delivered again after later spans were run on it"
        lines.append(
            f"{naming.format(span)} {what} ({', '.join(naming.format(one) for one in after[:5])}"
            f"{', …' if len(after) > 5 else ''})."
        )
    return (
        "\n".join(lines) + f"\nNothing was done. To bring it in, the days from it on must be run again: `warmspan run "
        f"--from {naming.format(min(stale))} --redo` (pushes each under its next revision)."
    )


def _refuse_gaps(
    steps: Sequence[Step],
    delivered: Mapping[int, Delivery],
    newest: int | None,
    first: int | None,
    last: int | None,
    naming: Naming,
) -> None:
    begin = first if first is not None and newest is None else (newest + 1 if newest is not None else steps[0].span)
    end = last if last is not None else steps[-1].span
    missing = [span for span in range(begin, end + 1) if span not in delivered]
    skipped = [span for span in delivered if begin <= span < steps[0].span]
    if missing:
        raise PlanError(
            f"Every span in between must have been delivered. Received: no files for "
            f"{', '.join(naming.format(span) for span in missing[:10])}{', …' if len(missing) > 10 else ''}. Wait for "
            "them, or pass `--allow-gaps` if there is nothing to come."
        )
    if skipped:
        raise PlanError(
            f"Spans must be run in order. Received: {naming.format(steps[0].span)} while "
            f"{', '.join(naming.format(span) for span in skipped[:10])} have not been run. Start with "
            f"`warmspan run --from {naming.format(skipped[0])}`, or pass `--allow-gaps` to leave them out for good."
        )
