"""Who and what must not come back: keyed hashes of users, from which no id can be read, and whole spans."""

from __future__ import annotations

import dataclasses
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.atomic_write import atomic_write

FORGOTTEN = "forgotten"  # the reason of a reject
_FORMAT = 1
# Where a row that can't be parsed may hold an id.
_FIELDS = re.compile(r"""[\s,;|"'\x00]+""")


class SuppressionListError(ValueError):
    """The file can't be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class SuppressionList:
    """What was forgotten.

    Attributes:
      salt: the key of the hashes, random, made once for a root.
      users: HMAC-SHA256 of each user's id, in hexadecimal.
      spans: numbers of spans.
    """

    salt: bytes
    users: frozenset[str] = frozenset()
    spans: frozenset[int] = frozenset()

    @classmethod
    def new(cls) -> SuppressionList:
        return cls(secrets.token_bytes(32))

    @classmethod
    def load(cls, path: str | Path | None) -> SuppressionList | None:
        """Reads what `save` wrote; None if nothing was ever forgotten.

        Raises:
          SuppressionListError: the file is damaged. To go on without it would bring people back.
        """
        if path is None or not Path(path).exists():
            return None
        try:
            raw = json.loads(Path(path).read_text())
            if raw["format"] != _FORMAT:
                raise ValueError(f"format {raw['format']}")
            return cls(bytes.fromhex(raw["salt"]), frozenset(raw["users"]), frozenset(map(int, raw["spans"])))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise SuppressionListError(
                f"{path} must be a file written by `warmspan forget`. Received: {error!r}. Restore it: without it "
                "people who asked to be forgotten would come back."
            ) from None

    def save(self, path: str | Path) -> None:
        """Writes beside, waits for the disk and renames."""
        raw = {"format": _FORMAT, "salt": self.salt.hex(), "users": sorted(self.users), "spans": sorted(self.spans)}
        with atomic_write(path, durable=True) as beside:
            beside.write_text(json.dumps(raw, indent=1))

    def with_users(self, ids: Iterable[bytes]) -> SuppressionList:
        return dataclasses.replace(self, users=self.users | {self.digest(id_) for id_ in ids})

    def with_spans(self, spans: Iterable[int]) -> SuppressionList:
        return dataclasses.replace(self, spans=self.spans | set(spans))

    def digest(self, id_: bytes) -> str:
        return hmac.digest(self.salt, id_, "sha256").hex()

    def holds(self, id_: bytes) -> bool:
        return self.digest(id_) in self.users

    def among(self, keys: pa.Array) -> np.ndarray:
        """Which of `keys` (string or binary, nulls allowed) are forgotten users, bool [n]."""
        if not self.users or not len(keys):
            return np.zeros(len(keys), bool)
        encoded = pc.dictionary_encode(keys.cast(pa.binary()))
        held = np.array([self.holds(value) for value in encoded.dictionary.to_pylist()], bool)
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.where(codes >= 0, held[codes], False) if len(held) else np.zeros(len(keys), bool)

    def mentioned(self, text: str) -> bool:
        """Whether a field of a row that can't be parsed is a forgotten user's id."""
        return bool(self.users) and any(self.holds(word.encode()) for word in _FIELDS.split(text) if word)
