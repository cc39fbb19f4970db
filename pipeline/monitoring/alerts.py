"""Tells a person what the night brought, once each.

A failure, a refused candidate, a held span, a gap, drift, a figure far from what it was.

What has been told is kept in ML Metadata, a context of type `WarmspanAlert` an event. Its name says what happened to
which run, so that a retry or a rerun finds it there. It is written before the alert is sent, and the channels that have
it are struck off one by one: what could not be sent is sent by the next run. A process that is killed between a
receiver's answer and the note of it sends that one again, under the same `id`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ml_metadata
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config
from pipeline.config.alerts import Alerts, What
from pipeline.ledger.runs import Run, held_sentence, read_ledger
from pipeline.metadata_store.connection import connect
from pipeline.monitoring.outliers import unusual

TYPE = "WarmspanAlert"
_log = logging.getLogger("warmspan.alerts")


@dataclasses.dataclass(frozen=True)
class Alert:
    """Something to tell.

    Attributes:
      what: its kind.
      span: the span's name, empty where it is of none.
      of: what makes it the same event when it is met again, beside `what` and `span`.
      sentence: the message.
    """

    what: What
    span: str
    of: str
    sentence: str


class DeliveryError(RuntimeError):
    """An alert did not arrive; the message says why."""


def alerts_of(run: Run, before: Sequence[Run] = ()) -> list[Alert]:
    """What of a run is worth an alert: a hold, a refusal, drift, a figure far from those of the runs `before`."""
    if run.state == "held":
        return [Alert("held", run.name, f"r{run.revision:02d}", held_sentence(run))]
    alerts = []
    if run.verdict and run.pushed is None:
        alerts.append(Alert("refused", run.name, f"r{run.revision:02d}", run.verdict))
    if run.drift:
        alerts.append(Alert("drift", run.name, f"r{run.revision:02d}", run.drift))
    if sentences := unusual(run, before):
        alerts.append(Alert("unusual", run.name, f"r{run.revision:02d}", " ".join(sentences)))
    return alerts


def send_alerts_of(config: Config, run: Run) -> None:
    """Tells what of a run is worth an alert, beside the runs of the spans before it."""
    # Only who has somebody to tell pays for reading the whole ledger.
    before = [earlier for earlier in read_ledger(config) if earlier.span < run.span] if _channels(config.alerts) else []
    send_alerts(config, alerts_of(run, before))


def send_alerts(config: Config, events: Sequence[Alert] = ()) -> None:
    """Sends `events` that were not told before, and what an earlier run could not send.

    Never fails: what goes wrong is logged, and tried again by the next call.
    """
    settings = config.alerts
    channels = _channels(settings)
    wanted = [event for event in events if event.what in settings.on]
    # Without an event there is something to do only where an earlier run has left a store.
    if not channels or not (wanted or config.metadata is not None or (config.root / "metadata.sqlite").exists()):
        return
    try:
        with _one_at_a_time(config.root):
            store = connect(config)
            kind = store.put_context_type(metadata_store_pb2.ContextType(name=TYPE), can_add_fields=True)
            for event in wanted:
                _note(store, kind, config.name, event, list(channels))
            _send(store, config.name, channels)
    except Exception:
        _log.exception("The alerts could not be looked up or kept; the next run tries again.")


def _note(store: metadata_store.MetadataStore, kind: int, pipeline: str, event: Alert, channels: Sequence[str]) -> None:
    """Keeps an event that is to be told; one that is kept already stays as it is."""
    key = ".".join(part for part in (pipeline, event.what, event.span, event.of) if part)
    context = metadata_store_pb2.Context(type_id=kind, name=key)
    body = {"id": key, "pipeline": pipeline, "what": event.what, "span": event.span, "sentence": event.sentence}
    _set(context, pipeline=pipeline, body=json.dumps(body, ensure_ascii=False), left=json.dumps(channels), error="")
    # ML Metadata refuses a second context of that name, also where two processes come at once.
    with contextlib.suppress(ml_metadata.errors.AlreadyExistsError):
        store.put_contexts([context])


def _send(store: metadata_store.MetadataStore, pipeline: str, channels: dict[str, Callable[[bytes], None]]) -> None:
    failed: set[str] = set()
    for context in sorted(store.get_contexts_by_type(TYPE), key=lambda context: context.id):
        properties = {name: value.string_value for name, value in context.custom_properties.items()}
        left = json.loads(properties["left"])
        if properties["pipeline"] != pipeline:
            continue
        # A channel that is no longer in the settings is not waited for, and one that is down is asked once a run.
        for name in [name for name in left if name in channels and name not in failed]:
            try:
                channels[name](properties["body"].encode())
            except DeliveryError as error:
                failed.add(name)
                _log.warning("%s was not told by %s: %s The next run tries again.", context.name, name, error)
                _set(context, error=str(error))
            else:
                left.remove(name)
                _set(context, left=json.dumps(left))
            store.put_contexts([context])


def _set(context: metadata_store_pb2.Context, **properties: str) -> None:
    for name, value in properties.items():
        context.custom_properties[name].string_value = value


def _channels(settings: Alerts) -> dict[str, Callable[[bytes], None]]:
    channels: dict[str, Callable[[bytes], None]] = {}
    if settings.argv:
        channels["command"] = lambda body: _run(settings.argv, body, settings.timeout)
    if settings.webhook is not None:
        address = settings.webhook
        channels["webhook"] = lambda body: _post(address, body, settings.timeout)
    return channels


def _run(argv: Sequence[str], body: bytes, timeout: float) -> None:
    try:
        done = subprocess.run(argv, input=body, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeliveryError(f"{error}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DeliveryError(f"{argv[0]} ended with {done.returncode}{': ' if said else ''}{''.join(said)}.")


def _post(address: str, body: bytes, timeout: float) -> None:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout):
            pass
    except (OSError, ValueError) as error:  # URLError, HTTPError and a timeout are OSErrors
        # The address may hold a token and stays out of the log.
        raise DeliveryError(f"{error}.") from None


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Holds a lock, so that two processes do not send the same; the system drops it with the process."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "alerts.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
