"""One process at a time may change a pipeline root."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


class LockedError(RuntimeError):
    """Another process uses the root; the message names the lock."""


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Holds the root's lock; the system drops it with the process, also after a kill.

    Raises:
      LockedError: another process holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / "run.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"One run at a time may use a pipeline root. Received: {path} is held by another process. Wait for it "
                "to end and run again."
            ) from None
        yield
