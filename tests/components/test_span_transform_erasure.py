"""Users leave a vocabulary, and nothing of anybody else changes."""

from __future__ import annotations

from pathlib import Path

from components.span_transform.erasure import erase_in_vocabulary
from trainer.vocabulary import Vocabulary

GONE, STAND_IN = b"user-4711", b"forgotten-abc"


def test_a_row_keeps_its_place_and_is_never_given_away(tmp_path: Path) -> None:
    seen = [b"a", GONE, GONE, b"b", b"a", b"once"]
    before = Vocabulary.empty(2).grow(seen, span=7, min_count=2, half_life=7.0).grow([b"b"], 8, 2, 7.0)
    before.save(tmp_path, "keys")
    assert erase_in_vocabulary(tmp_path, "keys", {GONE: STAND_IN}) == 1
    after = Vocabulary.load(tmp_path, "keys")
    assert before.ids.to_pylist() == [b"a", GONE, b"b"]
    assert after.ids.to_pylist() == [b"a", STAND_IN, b"b"]
    assert after.lookup([b"a", b"b"]).tolist() == before.lookup([b"a", b"b"]).tolist()
    assert after.lookup([GONE])[0] < after.first_row
    assert after.trained_counts([GONE, STAND_IN]).tolist() == [0, 0]
    assert (after.counts[[0, 2]] == before.counts[[0, 2]]).all()
    grown = after.grow([b"c", b"c", b"a"], 9, 2, 7.0)
    assert grown.lookup([b"c"])[0] == before.size, "new ids come after all rows"
    assert erase_in_vocabulary(tmp_path, "keys", {GONE: STAND_IN}) == 0


def test_who_waits_for_admission_is_dropped(tmp_path: Path) -> None:
    Vocabulary.empty(1).grow([GONE, b"b"], span=7, min_count=3, half_life=7.0).save(tmp_path, "keys")
    assert erase_in_vocabulary(tmp_path, "keys", {GONE: STAND_IN}) == 1
    assert Vocabulary.load(tmp_path, "keys").pending["id"].to_pylist() == [b"b"]
