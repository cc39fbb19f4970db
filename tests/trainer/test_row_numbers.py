"""Numbers mean the same ids for good, wherever the rows have moved to."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.bundle.numbered_rows import NumberedRows
from trainer.keras2 import tf
from trainer.row_numbers import RowNumbers
from trainer.vocabulary import Vocabulary, read_header

# Of each day the ids that come, and then those that leave.
days = st.lists(st.tuples(st.lists(st.sampled_from("abcdefgh"), max_size=6), st.sets(st.sampled_from("abcdefgh"))))


def grown(days: list[tuple[list[str], set[str]]]) -> list[Vocabulary]:
    vocabulary, every = Vocabulary.empty(1), []
    for span, (come, leave) in enumerate(days):
        vocabulary = vocabulary.grow(come, span, 1, half_life=7.0)
        stay = np.array([id_.decode() not in leave for id_ in vocabulary.ids.to_pylist()], bool)
        if not stay.all():
            vocabulary = vocabulary.compacted(stay)
        every.append(vocabulary)
    return every


@given(days)
def test_a_number_is_of_one_id_for_good_and_whoever_comes_back_gets_another(days):
    owner: dict[int, bytes] = {}
    for vocabulary in grown(days):
        ids = vocabulary.ids.to_pylist()
        numbers = vocabulary.row_numbers.of_rows(vocabulary.lookup(vocabulary.ids)).tolist()
        assert numbers == sorted(set(numbers))
        assert all(owner.setdefault(number, id_) == id_ for number, id_ in zip(numbers, ids, strict=True))
        assert all(number < vocabulary.given for number in numbers)
        assert vocabulary.size == vocabulary.first_row + len(ids)


@given(days)
def test_a_later_day_reads_what_an_earlier_wrote_and_so_does_a_bundle_and_an_earlier_day_what_a_later_did(days):
    every = grown(days)
    for wrote in every:
        ids = wrote.ids.to_pylist()
        numbers = wrote.row_numbers.every(wrote.size)
        for reads in every:
            rows = reads.row_numbers.rows_of(numbers)
            known = reads.ids_of(np.where(rows < reads.size, rows, 1)).to_pylist()
            assert known[:2] == [None, None]
            for id_, back in zip(ids, known[2:], strict=True):
                assert back in (id_, None)
            # A row of the same stay has the same number; who left in between is another.
            stayed = [id_ for id_, back in zip(ids, known[2:], strict=True) if back == id_]
            shared = set(numbers.tolist()) & set(reads.row_numbers.every(reads.size).tolist())
            assert len(stayed) == len(shared) - 2
            if reads.numbers is not None:
                in_graph = NumberedRows(reads.first_row, reads.numbers).rows(tf.constant(numbers[None]))
                assert in_graph.numpy()[0].tolist() == rows.tolist()


def test_where_nobody_has_left_a_row_is_its_own_number():
    assert RowNumbers().rows_of([0, 1, 2, 99]).tolist() == [0, 1, 2, 99]
    assert RowNumbers().every(3).tolist() == [0, 1, 2]
    assert RowNumbers().moved([2, 3, 4], RowNumbers(2, np.array([2, 4]))).tolist() == [2, 1, 3]


def test_saved_and_loaded_it_goes_on_with_the_next_number(tmp_path):
    vocabulary = Vocabulary.empty(1).grow(["a", "b", "c"], 0, 1, 7.0).compacted(np.array([True, False, False]))
    vocabulary.save(tmp_path, "items")
    loaded = Vocabulary.load(tmp_path, "items")
    assert loaded.header == vocabulary.header == read_header(tmp_path, "items")
    after = loaded.grow(["c"], 1, 1, 7.0).admit(["d"], 1)
    assert after.row_numbers.of_rows(after.lookup(["a", "c", "d"])).tolist() == [2, 5, 6]
    assert after.lookup(["a", "c", "d"]).tolist() == [2, 3, 4]
