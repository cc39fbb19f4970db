"""Lets a span in that the guard holds: the ledger is told, and the next run takes it up."""

from __future__ import annotations

import datetime

from pipeline.config import Config
from pipeline.ledger.releases import mark_released
from pipeline.ledger.runs import Run, read_ledger, read_run
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.differences import Differences
from pipeline.planning.run_plan import named
from pipeline.spans import Naming


class ReleaseError(ValueError):
    """The span can't be released; the message says why. Nothing was changed."""


def release(config: Config, name: str, reason: str) -> list[str]:
    """Lets the span called `name` in, with the files that were judged; others are judged anew.

    One property of the span's profile in ML Metadata, written at once: cut off before it, nothing has happened, and
    repeated, nothing changes.

    Returns:
      What comes of it, in lines of text.

    Raises:
      SpanNameError: it is no span's name.
      ReleaseError: it is not held.
      LockedError: a run is going on.
    """
    naming = Naming(config.data.dated)
    span = naming.parse(name)
    with exclusive(config):
        run = read_run(config, span)
        if run is None or run.state != "held":
            raise ReleaseError(_not_held(name, run, config))
        if not run.released:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            mark_released(open_store(config), config.name, run, reason, now)
    return [f"{name} is released: {run.doubts}.", _what_follows(config, span, naming)]


def _what_follows(config: Config, span: int, naming: Naming) -> str:
    name, delivered = naming.format(span), read_deliveries(config)
    if span not in delivered:
        return f"Its files are gone: put them back, then `warmspan run --span {name}`."
    after = Differences.between(read_ledger(config), delivered).after(span)
    if not after:
        return "The next `warmspan run` takes it up."
    return (
        f"Run since, without it: {named(after, naming)}. To bring it in, they are run again after it: "
        f"`warmspan run --from {name} --redo`, or `warmspan run --plan`."
    )


def _not_held(name: str, run: Run | None, config: Config) -> str:
    state = "which was never run" if run is None else f"which is {run.state}"
    held = [other.name for other in read_ledger(config) if other.state == "held" and not other.released]
    return (
        f"`DAY` must be a span that is held. Received: {name}, {state}. Held: {', '.join(held) or 'none'}. `warmspan "
        "status` shows all."
    )
