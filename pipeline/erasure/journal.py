"""What an erasure is about to do, on the disk before it begins: whoever comes after a kill ends it from here.

It holds the ids themselves, because what is left to be done can't be found by their hashes alone, and is removed at the
end.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from pipeline.config import Config
from trainer.atomic_write import atomic_write

_FORMAT = 1


class JournalError(ValueError):
    """The journal can't be read; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Journal:
    """One erasure of users.

    Attributes:
      users: ids.
      rows: vocabulary artifact's id to the rows that the users have in it.
      times: unix milliseconds of their events.
      learned: ids of the models whose weights learned from them.
    """

    users: tuple[bytes, ...]
    rows: dict[int, tuple[int, ...]]
    times: tuple[int, ...]
    learned: tuple[int, ...]

    def joined(self, other: Journal | None) -> Journal:
        """Both erasures as one."""
        if other is None:
            return self
        rows = {
            version: tuple(sorted({*self.rows.get(version, ()), *other.rows.get(version, ())}))
            for version in {*self.rows, *other.rows}
        }
        return Journal(
            tuple(sorted({*self.users, *other.users})),
            rows,
            tuple(sorted({*self.times, *other.times})),
            tuple(sorted({*self.learned, *other.learned})),
        )

    def save(self, config: Config) -> None:
        path = journal_path(config)
        raw = {
            "format": _FORMAT,
            "users": [user.decode("latin-1") for user in self.users],
            "rows": {str(version): list(rows) for version, rows in self.rows.items()},
            "times": list(self.times),
            "learned": list(self.learned),
        }
        with atomic_write(path, durable=True) as beside:
            beside.write_text(json.dumps(raw))

    @classmethod
    def load(cls, config: Config) -> Journal | None:
        """The one that was not ended; None without.

        Raises:
          JournalError: it is damaged.
        """
        path = journal_path(config)
        if not path.exists():
            return None
        try:
            raw = json.loads(path.read_text())
            return cls(
                tuple(user.encode("latin-1") for user in raw["users"]),
                {int(version): tuple(rows) for version, rows in raw["rows"].items()},
                tuple(raw["times"]),
                tuple(raw["learned"]),
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise JournalError(
                f"{path} must be the journal of an erasure. Received: {error!r}. Remove it, and give `warmspan forget` "
                "the same users again."
            ) from None

    @staticmethod
    def remove(config: Config) -> None:
        for path in config.root.glob(f"{journal_path(config).name}*"):
            path.unlink()


def journal_path(config: Config) -> Path:
    """Where it lies; a root without it has nothing left to be done."""
    return config.root / ".forget-journal.json"
