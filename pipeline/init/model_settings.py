"""Which model fits: keys that come back, or sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.init.column_roles import plain
from pipeline.init.guess import Guess

# As many keys of a span tell something, and so few of them come back where they are sessions that straddle two spans.
LEAST_KEYS = 20
# A column of this name holds who comes back, be it ever so seldom.
_PEOPLE = ("user", "customer", "member", "account", "visitor", "client", "person", "profile", "reviewer")
FEW = 0.01
SESSION_HOURS = 24  # without an event, after which a session is over whatever its shop calls one
# As in examples/diginetica.yaml, where they were chosen on the sessions of a shop.
_OF_SESSIONS = {
    "history.length": (20, "sessions are short"),
    "model.type": ("sasrec", ""),
    "model.params": (
        {"dimension": 128, "dropout": 0.2, "item_dropout": 0.3},
        "as examples/diginetica.yaml has them, which was tuned on sessions of a shop",
    ),
    **{
        f"update.{name}": (value, "goes with sasrec on sessions, as in examples/diginetica.yaml")
        for name, value in {
            "epochs": 4,
            "cold_epochs": 6,
            "batch_size": 200,
            "optimizer": "adam",
            "learning_rate": 0.003,
            "schedule.row_boost": 7.0,
            "clip_norm": None,
            "patience": 9,
            "watch": "recall",
            "new_rows": "random",
        }.items()
    },
    "push.exclude_seen": (False, "within a session people come back to an item"),
}


def guess_model(key: str, keys: Sequence[Counter[str]]) -> list[Guess]:
    """Nothing for keys that come back, which the defaults are made for.

    Args:
      key: the name of the key's column.
      keys: those of two neighbouring spans, with their events.
    """
    if "session" in plain(key):
        why = f"{key} is a session by its name"
    elif not any(word in plain(key) for word in _PEOPLE) and len(keys) == 2 and _are_sessions(*keys):
        back = len(keys[0].keys() & keys[1].keys())
        why = f"of {len(keys[0]):,} values of {key} in a span, {back} come back in the next: sessions"
    else:
        return []
    rows = Guess("history.keys_end_after", SESSION_HOURS, f"{why}, which do not come back: nothing is kept of them")
    model = f"{why}; its order of items says what comes next. With keys that come back: two_tower"
    return [rows, *(Guess(name, value, reason or model) for name, (value, reason) in _OF_SESSIONS.items())]


def _are_sessions(first: Counter[str], second: Counter[str]) -> bool:
    fewer = min(len(first), len(second))
    if fewer < LEAST_KEYS or first.total() + second.total() < 2 * (len(first) + len(second)):
        return False
    return len(first.keys() & second.keys()) < FEW * fewer
