"""What stands between the ledger and the data folder, span by span, and what is run to mend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pipeline.ledger.runs import Run, held_sentence
from pipeline.planning.differences import Delivery, Differences
from pipeline.planning.run_plan import Step, named
from pipeline.spans import Naming

Kind = Literal[
    "backfill", "retry", "late", "re-delivered", "changed", "outdated", "gap", "gone", "owed", "earlier", "held"
]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One span, or several in a row without files, and what is done about it.

    Attributes:
      span, name: which; of several in a row the first, and both ends.
      kind: `backfill` was never run; `retry` failed or was cut off; `late` came after later spans were run;
        `re-delivered` and `changed` have other files than were run, with nothing or with later spans standing on them;
        `outdated` stands on an earlier span that was run again since; `gap` has no files; `gone` has none any more,
        but would have to be run again; `owed` is not learned by the champion; `earlier` lies before the first run;
        `held` does not look like those before it.
      sentence: why.
      run: what is run because of it, in order.
      waits: whether a person has to do something first.
      missing: of a gap, the spans without files.
    """

    span: int
    name: str
    kind: Kind
    sentence: str
    run: tuple[Step, ...] = ()
    waits: bool = False
    missing: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reconciliation:
    """All findings in order of their spans, and the steps that mend what can be mended without a person."""

    findings: tuple[Finding, ...]
    steps: tuple[Step, ...]

    @property
    def waiting(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.waits)

    def as_dict(self, naming: Naming) -> dict[str, Any]:
        """For a machine: names of spans as the user writes them."""

        def plain(steps: Iterable[Step]) -> list[dict[str, Any]]:
            return [{"span": naming.format(step.span), "revision": step.revision} for step in steps]

        findings = [
            {
                "span": finding.name,
                "kind": finding.kind,
                "why": finding.sentence,
                "run": plain(finding.run),
                "waits": finding.waits,
            }
            for finding in self.findings
        ]
        return {"findings": findings, "steps": plain(self.steps)}


def reconcile(
    ledger: Sequence[Run],
    delivered: Mapping[int, Delivery],
    naming: Naming,
    order: Mapping[int, tuple[int, int]] | None = None,
    owed: Sequence[int] = (),
    allow_gaps: bool = False,
) -> Reconciliation:
    """Finds every span that is not as it should be, and plans what mends it. Steps stop before what needs a person.

    Args:
      ledger: the latest run of each span.
      delivered: what lies in the data folder.
      naming: how spans are written.
      order: the first and the last execution of each span's latest run, as `read_order` returns them.
      owed: spans that the champion has not learned.
      allow_gaps: run although days in between have no files.
    """
    return _Reconciler(ledger, delivered, naming, order or {}, owed, allow_gaps).reconciliation()


class _Reconciler:
    def __init__(
        self,
        ledger: Sequence[Run],
        delivered: Mapping[int, Delivery],
        naming: Naming,
        order: Mapping[int, tuple[int, int]],
        owed: Sequence[int],
        allow_gaps: bool,
    ) -> None:
        self._differences = Differences.between(ledger, delivered)
        self._naming, self._owed, self._allow_gaps = naming, owed, allow_gaps
        # What has changed itself is said rather than that something before it has.
        self._past = self._outdated(order) | self._late() | self._changed()

    def reconciliation(self) -> Reconciliation:
        gone = self._gone()
        again = [] if gone else [self._step(span) for span in self._to_redo()]
        gaps = self._gaps([*self._differences.done[-1:], *self._differences.ahead], past=False)
        stop = min((gap.span for gap in gaps if gap.waits), default=None)
        # A redo that can't be done leaves later spans nothing sound to stand on.
        ahead = self._differences.ahead
        steps = [] if gone else [self._step(span) for span in ahead if stop is None or span < stop]
        findings = [
            *self._of_the_past(again),
            *gone,
            *self._gaps(self._differences.done, past=True),
            *self._earlier(),
            *self._held(),
            *gaps,
            *self._of_the_owed(),
            *(self._of_what_is_ahead(span, steps, stop) for span in ahead),
        ]
        return Reconciliation(tuple(sorted(findings, key=lambda finding: finding.span)), (*again, *steps))

    def _changed(self) -> dict[int, tuple[Kind, str]]:
        changed: dict[int, tuple[Kind, str]] = {}
        for span in self._differences.changed:
            after = self._differences.after(span)
            run, delivery = self._differences.runs[span], self._differences.delivered[span]
            what = "The files have changed"
            if delivery.version is not None and delivery.version != run.delivery:
                what = f"Version {delivery.version} has come; version {run.delivery} was trained on"
            stands = f", and {named(after, self._naming)} stand on it" if after else ", and nothing stands on it"
            changed[span] = "changed" if after else "re-delivered", f"{what}{stands}."
        return changed

    def _late(self) -> dict[int, tuple[Kind, str]]:
        late: dict[int, tuple[Kind, str]] = {}
        for span in self._differences.late:
            after = named(self._differences.after(span), self._naming)
            if span in self._differences.runs:
                late[span] = "retry", f"{self._broken(span)}, and {after} were run since."
            else:
                late[span] = "late", f"It came after {after} had been run."
        return late

    def _outdated(self, order: Mapping[int, tuple[int, int]]) -> dict[int, tuple[Kind, str]]:
        outdated_spans: dict[int, tuple[Kind, str]] = {}
        latest, of = -1, 0
        for span in self._differences.done:
            if span not in order:
                continue
            first, last = order[span]
            if first < latest:
                outdated_spans[span] = "outdated", f"It stands on {self._naming.format(of)}, which was run again since."
            if last > latest:
                latest, of = last, span
        return outdated_spans

    def _to_redo(self) -> list[int]:
        if not self._past:
            return []
        return sorted({*(done for done in self._differences.done if done >= min(self._past)), *self._past})

    def _step(self, span: int) -> Step:
        return Step(span, self._differences.next_revision(span))

    def _gone(self) -> list[Finding]:
        because = self._naming.format(min(self._past)) if self._past else ""
        return [
            Finding(
                span,
                self._naming.format(span),
                "gone",
                f"It must be run again because of {because}, but its files are gone. Put them back into the data "
                "folder. To leave the change out and go on: `warmspan run --from` the next new span.",
                waits=True,
            )
            for span in self._to_redo()
            if span not in self._differences.delivered
        ]

    def _of_the_past(self, again: Sequence[Step]) -> list[Finding]:
        return [
            Finding(span, self._naming.format(span), kind, why, tuple(later for later in again if later.span >= span))
            for span, (kind, why) in self._past.items()
        ]

    def _gaps(self, spans: Sequence[int], past: bool) -> list[Finding]:
        rows: list[list[int]] = []
        for span in self._differences.missing(spans[0], spans[-1]) if spans else ():
            if rows and rows[-1][-1] == span - 1:
                rows[-1].append(span)
            else:
                rows.append([span])
        return [self._gap(row, past) for row in rows]

    def _gap(self, row: Sequence[int], past: bool) -> Finding:
        name = " to ".join(dict.fromkeys(self._naming.format(span) for span in (row[0], row[-1])))
        if past:
            why = "No files have come; the spans after it were run without it."
            return Finding(row[0], name, "gap", why, missing=tuple(row))
        if self._allow_gaps:
            why = "No files have come; it is left out, as allowed."
            return Finding(row[0], name, "gap", why, missing=tuple(row))
        why = "No files have come. Wait for them, or pass `--allow-gaps` if there is nothing to come."
        return Finding(row[0], name, "gap", why, waits=True, missing=tuple(row))

    def _earlier(self) -> list[Finding]:
        before = self._differences.earlier
        if not before:
            return []
        first = self._naming.format(before[0])
        why = (
            f"The ledger begins with {self._naming.format(self._differences.done[0])}. Left out, unless you run "
            f"everything again: `warmspan run --from {first} --redo`."
        )
        name = " to ".join(dict.fromkeys((first, self._naming.format(before[-1]))))
        return [Finding(before[0], name, "earlier", why)]

    def _held(self) -> list[Finding]:
        findings = []
        for span in self._differences.held:
            why = f"{held_sentence(self._differences.runs[span])} Other files are judged anew."
            findings.append(Finding(span, self._naming.format(span), "held", why, waits=True))
        return findings

    def _of_the_owed(self) -> list[Finding]:
        redo = min(self._past, default=None)
        findings = []
        for span in self._owed:
            if redo is not None and span >= redo:
                continue  # it is run again in any case, and decided upon anew
            run = self._differences.runs.get(span)
            why = "its model was taken back" if run and run.revoked else "it was skipped"
            if run is not None and run.action != "skip" and not run.pushed:
                why = "its candidate was refused"
            ahead = self._differences.ahead
            learns = f"{self._naming.format(ahead[0])} learns it" if ahead else "the next span learns it"
            sentence = f"The champion has not learned it, because {why}; {learns} on the way."
            findings.append(Finding(span, self._naming.format(span), "owed", sentence))
        return findings

    def _of_what_is_ahead(self, span: int, ahead: Sequence[Step], stop: int | None) -> Finding:
        kind: Kind = "retry" if span in self._differences.runs else "backfill"
        why = f"{self._broken(span)}." if kind == "retry" else "It has come and was never run."
        steps = tuple(step for step in ahead if step.span == span)
        if not steps:
            why += f" It waits for {self._naming.format(stop)}." if stop is not None else " It waits."
        return Finding(span, self._naming.format(span), kind, why, steps)

    def _broken(self, span: int) -> str:
        run = self._differences.runs[span]
        if run.state == "held":
            return "It was held, and has been released" if run.released else "It was held, and has other files now"
        if run.void:
            return "Its run was killed, and the model that it began with was taken back since"
        return "Its run failed" if run.state == "failed" else "Its run was killed"
