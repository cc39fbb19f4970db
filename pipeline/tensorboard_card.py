"""A day's decision and verdict as a card in Markdown, for TensorBoard's page `Text`."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.ledger import Run
from pipeline.tensorboard_details import Details


def card(run: Run, details: Details) -> str:
    """One table of what came in, what was decided, what the gate said; one more of the slices."""
    rows: list[tuple[str, str]] = [("state", run.state)] if run.state != "done" else []
    rows += [
        ("events", _counts(run)),
        ("decision", run.action.replace("_", "-")),
        ("why", run.reason),
        ("the policy had decided", run.overruled.replace("_", "-")),
        ("drift", run.drift),
        ("trained from", str(run.base_version or "")),
        ("verdict", run.verdict),
        ("pushed", str(run.pushed) if run.pushed else "no" if run.state == "done" else ""),
        ("revoked", run.revoked_reason),
        ("owes", "" if details.owed is None else f"{details.owed} span{'s' * (details.owed != 1)}"),
        ("seconds", f"{sum(run.seconds.values()):.1f}" if run.seconds else ""),
    ]
    revision = "" if run.revision == 1 else f" (revision {run.revision})"
    head = f"### {run.name}{revision}"
    return "\n\n".join(part for part in (head, _table(("", ""), rows), _slices(details)) if part)


def _counts(run: Run) -> str:
    counts = {"": run.events, "rejects": run.rejects, "new items": run.new_items, "new keys": run.new_keys}
    return ", ".join(f"{value:,} {name}".strip() for name, value in counts.items() if value is not None)


def _slices(details: Details) -> str:
    metrics, events = details.verdict.get("metrics", {}), details.verdict.get("events", {})
    names = list(dict.fromkeys(name for of in metrics.values() for name in of))
    rows = []
    for where in sorted(metrics, key=lambda where: (where != "overall", where)):
        cells = [_pair(metrics[where].get(name, {})) for name in names]
        rows.append((where.replace("_slice:", ": "), str(events.get(where, "")), *cells))
    return _table(("gate, candidate / champion", "events", *names), rows) if rows else ""


def _pair(values: dict[str, float]) -> str:
    return " / ".join(f"{values[of]:.4f}" for of in ("candidate", "baseline") if of in values)


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([_cell(one) for one in row] for row in rows if row[1])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: str) -> str:
    """One cell, whatever is in it."""
    return value.replace("|", "\\|").replace("\n", " ")
