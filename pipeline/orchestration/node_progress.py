"""How far a node is that takes its time: a line below the day's bar on a terminal, and lines in the run's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from rich.progress import Progress

LONG = 2.0  # seconds, from which on it is said how far a node is
EVERY = 10.0  # seconds between two lines of the log

_log = logging.getLogger(__name__)


class NodeProgress:
    """Listens to `trainer.progress` while nodes run one after the other.

    Args:
      bars: those of a terminal; None, or bars that are disabled, for none.
      clock: seconds, from anywhere.
    """

    def __init__(self, bars: Progress | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._bars, self._clock = bars, clock
        self._task = None if bars is None else bars.add_task("", total=None, visible=False, span="")
        self._node = ""
        self.begin("")

    def begin(self, node: str) -> None:
        """The next node begins."""
        self._node, self._since, self._logged = node, self._clock(), float("-inf")
        if self._bars is not None and self._task is not None:
            self._bars.reset(self._task, visible=False)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        if now - self._since < LONG:
            return
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, total=total, description=f"  {what}", visible=True)
        if now - self._logged >= EVERY:
            self._logged = now
            _log.info("%s: %s %s of %s", self._node, what, f"{done:,}", f"{total:,}")
