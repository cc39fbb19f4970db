"""How far a long piece of work is, said to whoever listens in this process; to nobody, as a rule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Listener = Callable[[str, int, int], None]
"""Told what is done, how much of it is, and of how much; from any thread, often."""

_listeners: list[Listener] = []


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Whatever is reported within is said to `listener`."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report(what: str, done: int, total: int) -> None:
    """Says that `done` of `total` are done of what is called `what`, in a few words without the figures."""
    for listener in tuple(_listeners):
        listener(what, done, total)
