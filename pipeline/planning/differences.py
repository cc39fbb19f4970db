"""The ledger beside the data folder: what `run` and `plan` both go by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from pipeline.ledger.runs import Run


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What lies in the data folder for one span.

    Attributes:
      version: the newest.
      fingerprint: of what is in its files.
      by_times: what runs of earlier versions went by: bytes and times of change.
    """

    version: int | None
    fingerprint: str
    by_times: Callable[[], str] = dataclasses.field(default=lambda: "", compare=False)


@dataclasses.dataclass(frozen=True)
class Differences:
    """Spans by what is to be said of them, oldest first.

    Attributes:
      runs: the latest run of each span.
      delivered: what lies in the data folder.
      done: run to the end.
      changed: of those, the ones whose files are not those that were run.
      earlier: with files, before the first that is done.
      held: the guard holds them, and neither a person nor other files have let them in since: not run, and no gap.
      late: with files and not done, between the first and the last that are.
      ahead: with files, after the last that is done.
    """

    runs: Mapping[int, Run]
    delivered: Mapping[int, Delivery]
    done: tuple[int, ...]
    changed: tuple[int, ...]
    held: tuple[int, ...]
    earlier: tuple[int, ...]
    late: tuple[int, ...]
    ahead: tuple[int, ...]

    @classmethod
    def between(cls, ledger: Sequence[Run], delivered: Mapping[int, Delivery]) -> Differences:
        """Compares the latest run of each span with what lies in the data folder."""
        runs = {run.span: run for run in ledger}
        done = sorted(span for span, run in runs.items() if run.state == "done")
        held = sorted(span for span, run in runs.items() if _is_held(run, delivered.get(span)))
        files = sorted({*delivered} - {*held})
        return cls(
            runs,
            delivered,
            done=tuple(done),
            changed=tuple(span for span in done if span in delivered and _changed(runs[span], delivered[span])),
            held=tuple(held),
            earlier=tuple(span for span in files if done and span < done[0]),
            late=tuple(span for span in files if done and done[0] < span < done[-1] and span not in done),
            ahead=tuple(span for span in files if not done or span > done[-1]),
        )

    def missing(self, first: int, last: int) -> list[int]:
        """Spans from `first` to `last`, both included, that have no files and were not run."""
        there = {*self.delivered, *self.done, *self.held}
        return [span for span in range(first, last + 1) if span not in there]

    def after(self, span: int) -> list[int]:
        """Spans that are done and stand on `span`."""
        return [later for later in self.done if later > span]

    def next_revision(self, span: int) -> int:
        """The revision to run a span under: that of a run that was cut off, unless it must not be taken up."""
        run = self.runs.get(span)
        if run is None:
            return 1
        return run.revision + 1 if run.void or run.state in ("done", "held") else run.revision


def _is_held(run: Run, delivery: Delivery | None) -> bool:
    """Whether a span is to be let be. Other files than those that were judged are judged by themselves."""
    return run.state == "held" and not run.released and (delivery is None or not _changed(run, delivery))


def _changed(run: Run, delivery: Delivery) -> bool:
    if run.delivery != delivery.version:
        return True
    return run.fingerprint != delivery.fingerprint and run.fingerprint != delivery.by_times()
