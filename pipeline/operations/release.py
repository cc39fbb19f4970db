"""Lets a span in that the guard holds: the ledger is told, and the next run takes it up."""

from __future__ import annotations

import datetime

from pipeline.config import Config
from pipeline.ledger.reader import LedgerReader, newest_of
from pipeline.ledger.runs import HELD, RELEASED, SPAN_PROFILE, Run, read_ledger, read_run, run_id
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.differences import Differences
from pipeline.planning.run_plan import named
from pipeline.spans import Naming

RELEASE_REASON, RELEASE_TIME = "released_reason", "released_at"


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
            _mark(config, run, reason)
    return [f"{name} is released: {run.doubts}.", _what_follows(config, span, naming)]


def _mark(config: Config, run: Run, reason: str) -> None:
    store = open_store(config)
    reader = LedgerReader(store, config.name)
    made = reader.artifacts(reader.run(run_id(config.name, run.name, run.revision)))
    profile = newest_of(made, SPAN_PROFILE, run.span, HELD)
    assert profile is not None, "a run that is held has a profile"
    assert store is not None
    (stored,) = store.get_artifacts_by_id([profile.id])
    stored.custom_properties[RELEASED].int_value = 1
    stored.custom_properties[RELEASE_REASON].string_value = reason
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    stored.custom_properties[RELEASE_TIME].string_value = now
    store.put_artifacts([stored])


def _what_follows(config: Config, span: int, naming: Naming) -> str:
    name, delivered = naming.format(span), read_deliveries(config)
    if span not in delivered:
        return f"Its files are gone: put them back, then `warmspan run --span {name}`."
    after = Differences.between(read_ledger(config), delivered).after(span)
    if not after:
        return "The next `warmspan run` takes it up."
    return (
        f"{named(after, naming)} were run since, without it. To bring it in, they are run again after it: "
        f"`warmspan run --from {name} --redo`, or `warmspan run --plan`."
    )


def _not_held(name: str, run: Run | None, config: Config) -> str:
    state = "which was never run" if run is None else f"which is {run.state}"
    held = [other.name for other in read_ledger(config) if other.state == "held" and not other.released]
    return (
        f"`DAY` must be a span that is held. Received: {name}, {state}. Held: {', '.join(held) or 'none'}. `warmspan "
        "status` shows all."
    )
