"""What an erasure is about to do is on the disk, until it was done."""

from __future__ import annotations

from pipeline.erasure.journal import Journal, journal_path
from pipeline.erasure.pending import pending_lines, read_pending
from tests.pipeline.made_store import MadeStore


def test_a_journal_is_read_back_and_joined_with_the_next(made: MadeStore) -> None:
    journal = Journal((b"a", "ü".encode()), {4: (7,)}, (100,), (11,))
    journal.save(made.config)
    assert Journal.load(made.config) == journal
    assert "One was cut off" in pending_lines(read_pending(made.config), made.config)[0]
    other = Journal((b"b",), {4: (9,), 5: (1,)}, (200,), (12,))
    assert other.joined(Journal.load(made.config)) == Journal(
        (b"a", b"b", "ü".encode()), {4: (7, 9), 5: (1,)}, (100, 200), (11, 12)
    )
    Journal.remove(made.config)
    assert not journal_path(made.config).exists()
    assert Journal.load(made.config) is None
