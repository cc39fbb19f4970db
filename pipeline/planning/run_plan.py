"""Which spans are run next, and what stands against it: gaps, late days, changed days."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from pipeline.ledger.runs import Run
from pipeline.planning.differences import Delivery, Differences
from pipeline.spans import Naming

_MOST_NAMED = 10


class PlanError(ValueError):
    """The spans asked for can't be run as asked; the message says which, why, and what to do."""


class GapError(PlanError):
    """Spans in between have no files; `missing` are their numbers."""

    def __init__(self, missing: Sequence[int], message: str) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


@dataclasses.dataclass(frozen=True)
class Step:
    """One span to run under one revision; a revision above 1 replaces an earlier run."""

    span: int
    revision: int


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

    A span that is done and unchanged is left out. A run that was cut off is taken up under its own revision,
    or, when a model that it goes on with was revoked since, begun anew under the next. One that is held is left out,
    and run under the next revision once it is released or has other files.

    Args:
      ledger: the latest run of each span.
      delivered: what lies in the data folder.
      naming: how spans are written.
      first, last: the spans asked for; None for no bound.
      allow_gaps: run although days in between have no files, and leave days that came late out for good.
      redo: run spans again that are done.

    Raises:
      PlanError: nothing was delivered, a span is missing, came late, or changed after later ones were trained on it.
    """
    differences = Differences.between(ledger, delivered)
    wanted = [span for span in delivered if (first is None or span >= first) and (last is None or span <= last)]
    if not wanted:
        asked = " to ".join(dict.fromkeys(naming.format(span) for span in (first, last) if span is not None))
        raise PlanError(
            f"The spans asked for must have files. Received: none for {asked or 'any span'}. Look at `data.path` and "
            "`data.pattern`."
        )
    newest = max(differences.done, default=None)
    if redo:
        if newest is not None and wanted[-1] < newest:
            raise PlanError(
                "A redo must go on to the last span that was run, because each day stands on the one before. Received: "
                f"up to {naming.format(wanted[-1])}, while {naming.format(newest)} has been run. Leave `--to` out."
            )
        return [Step(span, differences.next_revision(span)) for span in wanted]

    late = () if allow_gaps and first is None else (*differences.earlier, *differences.late)
    overtaken = [span for span in wanted if span in late or (span in differences.changed and span != newest)]
    if overtaken:
        raise PlanError(_overtaken(sorted(overtaken), differences, naming))
    if not allow_gaps:
        _refuse_gaps(differences, wanted, first, last, naming)
    # Nothing stands on the last day yet, so a new delivery of it can simply replace it.
    runnable = {*differences.changed, *differences.ahead}
    return [Step(span, differences.next_revision(span)) for span in wanted if span in runnable]


def _overtaken(spans: Sequence[int], differences: Differences, naming: Naming) -> str:
    lines = []
    for span in spans:
        run = differences.runs.get(span)
        what = "was delivered again" if span in differences.changed else "was delivered"
        what = "was released" if run is not None and run.released else what
        after = named(differences.after(span), naming)
        lines.append(f"{naming.format(span)} {what} after later spans were run: {after}.")
    lines.append(
        "Nothing was done. To bring it in, every day from it on must be run again, each under its next revision: "
        f"`warmspan run --from {naming.format(spans[0])} --redo`. To leave late days out for good: `--allow-gaps`."
    )
    if any(span in differences.changed for span in spans):
        ahead = naming.format(differences.ahead[0]) if differences.ahead else "the next new span"
        lines.append(f"To go on without what has changed: `warmspan run --from {ahead}`.")
    return "\n".join(lines)


def _refuse_gaps(
    differences: Differences, wanted: Sequence[int], first: int | None, last: int | None, naming: Naming
) -> None:
    # Nothing is done yet: the first day is the one asked for, or one whose run was cut off before it.
    start = min([wanted[0] if first is None else first, *differences.runs])
    begin = differences.done[-1] + 1 if differences.done else start
    missing = differences.missing(begin, wanted[-1] if last is None else last)
    if missing:
        raise GapError(
            missing,
            f"Every span in between must have been delivered. Received: no files for {named(missing, naming)}. Wait "
            "for them, or pass `--allow-gaps` if there is nothing to come.",
        )
    ahead = [span for span in wanted if span in differences.ahead]
    passed = [
        span for span in differences.delivered if ahead and begin <= span < ahead[0] and span not in differences.held
    ]
    if passed:
        raise PlanError(
            f"Spans must be run in order. Received: {naming.format(ahead[0])}, while {named(passed, naming)} have not "
            f"been run. Start with `--from {naming.format(passed[0])}`, or leave them out for good with `--allow-gaps`."
        )


def named(spans: Sequence[int], naming: Naming) -> str:
    """The spans' names with commas between; of many only the first."""
    named = ", ".join(naming.format(span) for span in spans[:_MOST_NAMED])
    return f"{named}, … ({len(spans)} in all)" if len(spans) > _MOST_NAMED else named
