"""What was known on a span's day, read from its artifacts as the trainer is told it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from tfx.types import artifact

from components.artifacts import split_files
from components.incremental_trainer.catalogue_items import read_catalogue, told_features
from components.incremental_trainer.query_features import query_state
from components.incremental_trainer.settings import Settings
from components.resolvers import span_of
from trainer.catch_up import Day
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures
from trainer.held_out_parts import SELECT, held_out_files
from trainer.input_pipeline import Positions, read_held_out, read_sequences
from trainer.models.base import TableSizes
from trainer.row_numbers import Numbering
from trainer.update import Span
from trainer.vocabulary import Vocabulary

Inputs = Mapping[str, Sequence[artifact.Artifact]]


@dataclasses.dataclass(frozen=True)
class SpanInputs:
    """One span's vocabulary, catalogue and held-out part.

    Attributes:
      items, keys: the vocabularies, today's ids included.
      known: words and statistics of features of key and context.
      catalogue: of the span; None without one.
      features: what the model is told of items; None for a model, or a settings file, without any.
      held_out: where the held-out part lies.
    """

    items: Vocabulary
    keys: Vocabulary
    known: FeatureState
    catalogue: pa.Table | None
    features: ItemFeatures | None
    held_out: str
    settings: Settings

    @classmethod
    def read(
        cls,
        held_out: artifact.Artifact,
        vocabulary: artifact.Artifact,
        catalogue: artifact.Artifact | None,
        encodings: Sequence[artifact.Artifact],
        settings: Settings,
    ) -> SpanInputs:
        items, keys = Vocabulary.load(vocabulary.uri, "items"), Vocabulary.load(vocabulary.uri, "keys")
        sold, features = None, None
        if catalogue is not None:
            sold = read_catalogue(catalogue.uri)
            features = told_features(sold, items, vocabulary.uri, settings, [of.uri for of in encodings])
        return cls(items, keys, query_state(vocabulary.uri, settings), sold, features, held_out.uri, settings)

    @classmethod
    def of_today(cls, inputs: Inputs, settings: Settings) -> SpanInputs:
        """From the inputs of a component that trains on the span."""
        catalogue = next(iter(inputs.get("catalogue") or []), None)
        (held_out,), (vocabulary,) = inputs["held_out"], inputs["vocabulary"]
        return cls.read(held_out, vocabulary, catalogue, inputs.get("encodings") or [], settings)

    @property
    def sizes(self) -> TableSizes:
        asked = self.known.sizes(self.settings.model.query_features or ())
        words = (*(() if self.features is None else self.features.sizes), *asked)
        return TableSizes(self.items.size, self.keys.size, self.items.first_row, words, self.numbering)

    @property
    def numbering(self) -> Numbering:
        """What the rows are called in the files of a span."""
        return Numbering(self.items.row_numbers, self.keys.row_numbers)

    @property
    def popularity(self) -> np.ndarray:
        """float64 [items], see `Recommender.set_popularity`."""
        return np.concatenate([np.zeros(self.items.first_row), self.items.recent])

    @functools.cached_property
    def select(self) -> Positions:
        """The held-out positions that choose epochs."""
        return read_held_out(held_out_files(self.held_out, SELECT))[0].in_rows(self.numbering)

    def day(self, number: int, sequences: artifact.Artifact) -> Day:
        """What the update of span `number` is given."""
        return Day(
            Span(number, read_sequences(split_files(sequences, "train")).in_rows(self.numbering)),
            self.sizes,
            self.select,
            self.popularity,
            self.features,
            {name: numbers.knots() for name, numbers in self.known.numbers.items()},
        )


def days_as_of(today: SpanInputs, numbers: Sequence[int], inputs: Inputs) -> list[Day]:
    """The spans `numbers`, all amid what is known today."""
    sequences = _by_span(inputs, "past_sequences", "sequences")
    return [today.day(number, sequences[number]) for number in numbers]


def days_as_they_were(today: SpanInputs, numbers: Sequence[int], inputs: Inputs) -> tuple[list[Day], tuple[str, ...]]:
    """The spans `numbers`, each amid what was known on its day, and what could not be so; the last of them is today.

    Texts are those of today's encodings: a day that was not trained on has encoded nothing. A day of which that is no
    longer there is taken for one that knew what is known today.
    """
    sequences, held_out = _by_span(inputs, "past_sequences", "sequences"), _by_span(inputs, "past_held_out")
    vocabularies, catalogues = _by_span(inputs, "past_vocabularies"), _by_span(inputs, "past_catalogues")
    there = held_out.keys() & vocabularies.keys()
    if today.catalogue is not None:
        there &= catalogues.keys()
    known = {
        number: SpanInputs.read(
            held_out[number],
            vocabularies[number],
            catalogues.get(number),
            inputs.get("encodings") or [],
            today.settings,
        )
        for number in there & set(numbers[:-1])
    }
    notes = tuple(
        f"Span {number} was learned amid what span {numbers[-1]} knows: what was known on its day is not there."
        for number in numbers[:-1]
        if number not in known
    )
    return [known.get(number, today).day(number, sequences[number]) for number in numbers], notes


def _by_span(inputs: Inputs, *names: str) -> dict[int, artifact.Artifact]:
    return {span_of(of): of for name in names for of in inputs.get(name) or []}
