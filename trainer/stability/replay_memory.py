"""The replay memory: training sequences of old spans, within a budget, as they travel from span to span."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.atomic_write import atomic_write
from trainer.features.query_values import PREFIX
from trainer.input_pipeline import Sequences, concatenate
from trainer.models.base import TableSizes
from trainer.row_numbers import PLAIN, Numbering, RowNumbers
from trainer.stability.selection import Selection

_COLUMNS = ("items", "timestamps", "weights", "splits", "key", "first_new", "first_today")
_NUMBERS = ("item_numbers", "key_numbers")  # not there where each row is its own


class MemoryFileError(ValueError):
    """A replay memory can't be read, or does not belong to the model; the message says why."""


@dataclasses.dataclass(frozen=True)
class ReplayMemory:
    """Training sequences of the spans that were added, as many as the budget allows, chosen by a `Selection`.

    Each sequence draws a number that depends on the seed, the span and the place in the span alone. So by draw or by
    recency the memory depends neither on the order of the spans nor on how they were batched, and to add a span a
    second time changes nothing. Where items have shares it is a choice from what is still there.

    Attributes:
      budget: most sequences that are kept.
      sequences: the exemplars, oldest span first; items and keys are rows.
      span: int64 [s], the span that each comes from.
      draw: uint64 [s], the number that each has drawn.
      numbering: of the rows.
    """

    budget: int
    sequences: Sequences
    span: np.ndarray
    draw: np.ndarray
    numbering: Numbering = PLAIN

    @classmethod
    def empty(cls, budget: int) -> ReplayMemory:
        none = np.zeros(0, np.int64)
        nothing = Sequences(none, none, np.zeros(0, np.float32), np.zeros(1, np.int64), none, none, none)
        return cls(budget, nothing, none, np.zeros(0, np.uint64))

    def __len__(self) -> int:
        return len(self.span)

    @property
    def labels(self) -> np.ndarray:
        """int64 [s], the last item of each sequence, 0 of one without items."""
        items = np.append(self.sequences.items, 0)
        return np.where(np.diff(self.sequences.splits) > 0, items[self.sequences.splits[1:] - 1], 0)

    def resized(self, budget: int, selection: Selection) -> ReplayMemory:
        """The memory under another budget. A larger one fills from the next spans on."""
        return dataclasses.replace(self, budget=budget)._kept(selection)

    def fitted(self, sizes: TableSizes, budget: int, selection: Selection) -> ReplayMemory:
        """The memory under another budget, for a model of `sizes`; an item that has left is one without a row.

        Raises:
          MemoryFileError: it holds rows that the model's tables do not have.
        """
        sequences = self.sequences.moved(self.numbering, sizes.numbering)
        item, key = sequences.items.max(initial=0), sequences.key.max(initial=0)
        if item >= sizes.items or key >= sizes.keys:
            raise MemoryFileError(
                f"A replay memory must be of this pipeline's vocabulary. Received: rows up to {item} of items and "
                f"{key} of keys for tables of {sizes.items} and {sizes.keys}. Start without the memory."
            )
        moved = dataclasses.replace(self, sequences=sequences, numbering=sizes.numbering)
        return moved.resized(budget, selection)

    def add(self, span: int, sequences: Sequences, seed: int, selection: Selection) -> ReplayMemory:
        """The memory after `span`; sequences of that span that it held before are replaced."""
        others = self._take(np.flatnonzero(self.span != span))
        draw = np.random.default_rng([seed, span]).integers(0, 2**63, len(sequences), dtype=np.uint64)
        return dataclasses.replace(
            self,
            sequences=concatenate([others.sequences, sequences]),
            span=np.concatenate([others.span, np.full(len(sequences), span, np.int64)]),
            draw=np.concatenate([others.draw, draw]),
        )._kept(selection)

    def before(self, span: int) -> Sequences:
        """The exemplars of spans before `span`: those that its training may be mixed with."""
        return self._take(np.flatnonzero(self.span < span)).sequences

    def save(self, path: str | Path) -> None:
        """Writes one file, beside first."""
        columns = {**{name: getattr(self.sequences, name) for name in _COLUMNS}, **self.sequences.query_features}
        with atomic_write(path) as beside, beside.open("wb") as file:
            np.savez(file, budget=np.int64(self.budget), span=self.span, draw=self.draw, **columns, **self._numbers())

    @classmethod
    def load(cls, path: str | Path) -> ReplayMemory:
        """Reads what `save` wrote.

        Raises:
          MemoryFileError: it is not there, or not a replay memory.
        """
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                features = {name: file[name] for name in file.files if name.startswith(PREFIX)}
                sequences = Sequences(**{name: file[name] for name in _COLUMNS}, query_features=features)
                numbering = Numbering(*(_row_numbers(file, name) for name in _NUMBERS))
                return cls(int(file["budget"]), sequences, file["span"], file["draw"], numbering)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise MemoryFileError(
                f"A replay memory must be a file written by warmspan. Received: {path} ({error}). Set "
                "`update.stability.replay.budget` to 0, or start from an older model."
            ) from None

    def _kept(self, selection: Selection) -> ReplayMemory:
        if len(self) <= self.budget:
            chosen = np.arange(len(self))
        elif not self.budget:
            chosen = np.zeros(0, np.int64)
        else:
            chosen = np.sort(np.lexsort((self.draw, selection(self)))[: self.budget])
        # By span, so that the order does not tell in which order the spans were added.
        return self._take(chosen[np.argsort(self.span[chosen], kind="stable")])

    def _take(self, index: np.ndarray) -> ReplayMemory:
        return dataclasses.replace(
            self, sequences=self.sequences.take(index), span=self.span[index], draw=self.draw[index]
        )

    def _numbers(self) -> dict[str, np.ndarray]:
        every = zip(_NUMBERS, (self.numbering.items, self.numbering.keys), strict=True)
        numbers = {name: of.numbers for name, of in every if of.numbers is not None}
        return {**numbers, "first_row": np.array(self.numbering.items.first_row)} if numbers else {}


def _row_numbers(file: Mapping[str, np.ndarray], name: str) -> RowNumbers:
    return RowNumbers(int(file["first_row"]), file[name]) if name in file else RowNumbers()
