"""The stream: looks into the folder of spans again and again, and follows the champion."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ml_metadata import errors

from components.span_example_gen.settings import make_settings
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.stream.base import Base, find_base, ledger_stamp
from pipeline.stream.batch import Batches
from pipeline.stream.day import Day
from pipeline.stream.folder import DiscardedError, discard
from pipeline.stream.journal import Entry
from pipeline.stream.landed import Incoming, RedeliveredError
from pipeline.stream.state import StreamState

_log = logging.getLogger("warmspan.stream")
_POLL, _MOST = 0.5, 5.0  # seconds between two looks into the folder, if nothing has landed


class Stream:
    """One stream of one root, in this process.

    Args:
      config: settings.
      on_entry: told of every mini-batch.
    """

    def __init__(self, config: Config, on_entry: Callable[[Entry], None] = lambda entry: None) -> None:
        self._config, self._on_entry = config, on_entry
        self._given = GraphParameters.of(config)
        settings = make_settings(self._given.data, config.data.pattern, config.split.eval_fraction)
        self._batches = Batches(settings, config.stream.batch_events)
        self._incoming = Incoming(config)
        self._stamp: object = None  # of the ledger, when it was read last
        self._seen: object = None  # of the ledger, when it was looked at last
        self._base: Base | None = None
        self._day: Day | None = None

    def run(self, stopping: threading.Event) -> None:
        """Goes on until `stopping` is set; the mini-batch in hand is ended first."""
        while not stopping.is_set():
            began = time.monotonic()
            entry = self.step()
            took = time.monotonic() - began
            # A folder of thousands of spans takes a while to look at: no more than a tenth of a core is spent on it.
            stopping.wait(
                min(_MOST, max(_POLL, 10 * took)) if entry is None else self._config.stream.every_seconds - took
            )

    def step(self) -> Entry | None:
        """One mini-batch of what has landed; None where nothing has."""
        try:
            day = self._today()
            if day is None:
                return None
            journal = day.state.journal
            landed = self._incoming.look(day.base.span, day.base.left_out, journal.read(), journal.unfinished())
            if not landed:
                return None
            entry = day.learn(self._batches.next(landed, journal))
        except RedeliveredError as again:
            _log.warning("%s The stream begins again with the champion.", again)
            discard(self._config)
            self._begin_again()
            return None
        except DiscardedError:
            _log.warning("The stream's state was removed by another command. It begins again with the champion.")
            self._begin_again()
            return None
        self._on_entry(entry)
        return entry

    @property
    def state(self) -> StreamState | None:
        """What it is now; None before there is a champion."""
        return None if self._day is None else self._day.state

    def _today(self) -> Day | None:
        """The day that goes on from the champion of now."""
        base = self._champion()
        if base is None:
            return None
        if self._day is None or self._day.base.identity != base.identity:
            self._batches.forget()
            self._day = Day.begin(self._config, self._given, base)
        else:
            self._day.base = base  # what is left out may be another
        return self._day

    def _champion(self) -> Base | None:
        """What the ledger says, which is read when it has changed; not while it is being written to."""
        stamp = ledger_stamp(self._config)
        quiet, self._seen = stamp == self._seen, stamp
        if self._base is None or stamp is None or (stamp != self._stamp and quiet):
            try:
                self._base, self._stamp = find_base(self._config), stamp
            except errors.StatusError as busy:
                _log.warning("The ledger can't be read now, and is asked again: %s", busy)
        return self._base

    def _begin_again(self) -> None:
        self._day = None
        self._batches.forget()
