"""A day's decision and verdict as a card in Markdown, for TensorBoard's page `Text`."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.ledger.runs import Run
from pipeline.monitoring.tensorboard.run_details import Details


def card(run: Run, details: Details) -> str:
    """What came in and what was done in a row, why in sentences, what the gate said of each slice in a table."""
    revision = "" if run.revision == 1 else f" (revision {run.revision})"
    state = "" if run.state == "done" else f": {run.state}"
    done = run.state == "done"
    row = {
        "events": _count(run.events),
        "new items": _count(run.new_items),
        "new keys": _count(run.new_keys),
        "decision": run.action.replace("_", "-"),
        "trained from": _count(run.base_version, plain=True),
        "pushed": _count(run.pushed, plain=True) or ("no" if done else ""),
        "owes": "" if details.owed is None else f"{details.owed} span{'s' * (details.owed != 1)}",
        "seconds": f"{sum(run.seconds.values()):.1f}" if run.seconds else "",
    }
    sentences = {
        "Balance": "" if run.balance is None else str(run.balance),
        "Held" if run.state == "held" else "Let in although": run.doubts,
        "Why": run.reason,
        "The policy had decided to": run.overruled.replace("_", "-"),
        "Learning": run.learning,
        "Drift": run.drift,
        "Verdict": run.verdict,
        "Revoked": run.revoked_reason,
    }
    known = {name: value for name, value in row.items() if value}
    parts = [
        f"### {run.name}{revision}{state}",
        _table(known, [tuple(known.values())]) if known else "",
        *(f"**{name}:** {_cell(text)}" for name, text in sentences.items() if text),
        _slices(details),
    ]
    return "\n\n".join(part for part in parts if part)


def _count(value: int | None, plain: bool = False) -> str:
    return "" if value is None else str(value) if plain else f"{value:,}"


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
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: str) -> str:
    """One cell, whatever is in it."""
    return value.replace("|", "\\|").replace("\n", " ")
