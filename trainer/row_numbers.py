"""Numbers that stand for ids in a span's files, and the rows that they have in today's tables.

An id has the number of the row that it was admitted to, and keeps it. Where ids have left a vocabulary and the tables
were compacted, a row lies before its number. Numbers ascend with the rows and are never given a second time, so that
what an earlier span wrote can be read for good.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

OUT_OF_VOCABULARY = 1  # the row of what a vocabulary no longer knows, of whatever id it was


@dataclasses.dataclass(frozen=True, eq=False)
class RowNumbers:
    """The numbers of a vocabulary's rows.

    Attributes:
      first_row: the first row of an id; what lies before, padding and out-of-vocabulary rows, are their own numbers.
      numbers: int64 [n], of the ids' rows, ascending; None where each row is its own number.
    """

    first_row: int = 2
    numbers: npt.NDArray[np.int64] | None = None

    def rows_of(self, numbers: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The rows of int64 numbers of any shape; `OUT_OF_VOCABULARY` for an id that left, or came later.

        Where each row is its own number, one that came later stays as it is: no table has it.
        """
        numbers = np.asarray(numbers, np.int64)
        if self.numbers is None:
            return numbers
        place = np.searchsorted(self.numbers, numbers)
        here = np.append(self.numbers, -1)[place] == numbers
        return np.where(numbers < self.first_row, numbers, np.where(here, place + self.first_row, OUT_OF_VOCABULARY))

    def of_rows(self, rows: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The numbers of int64 rows of any shape."""
        rows = np.asarray(rows, np.int64)
        if self.numbers is None:
            return rows
        return np.concatenate([np.arange(self.first_row), self.numbers])[rows]

    def every(self, size: int) -> npt.NDArray[np.int64]:
        """The numbers of the rows of a table of `size`."""
        return self.of_rows(np.arange(size))

    def moved(self, rows: npt.ArrayLike, to: RowNumbers) -> npt.NDArray[np.int64]:
        """Where int64 rows lie under other numbers: `OUT_OF_VOCABULARY` for an id that has no row there."""
        return to.rows_of(self.of_rows(rows))


@dataclasses.dataclass(frozen=True)
class Numbering:
    """Of the rows of items and of keys."""

    items: RowNumbers
    keys: RowNumbers


PLAIN = Numbering(RowNumbers(), RowNumbers())  # of vocabularies that nothing has left
