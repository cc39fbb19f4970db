"""What a request may say of the user and of its circumstances: pairs of name and text, looked up in the graph.

A cell of the user's files and the same text in a request come to the same value: what is said here of blanks, of words
that stand for nothing and of numbers is what ingestion does (`components/span_example_gen`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from serving.bundle.id_lookup import IdTable

ROW = "row"  # the key's own row, where a key comes with values
MISSING, UNKNOWN, FIRST_ROW = 1, 2, 3

_SPACE = r"[\pZ\s\x0b\x1c-\x1f\x{85}]+"
_AROUND = f"^{_SPACE}|{_SPACE}$"
_NOTHING = ("null", "none", "nan", "<na>", "\\n")
_LONGEST_NOTHING = 8
_WHOLE_NUMBER = r"^([+-]?\d+)\.0*$"
_NUMBER = r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_MILLISECONDS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_DAY = 86_400_000.0
_FIRST, _LAST = -62_135_596_800_000.0, 253_402_300_799_999.0  # years 1 to 9999, what a calendar can hold


@dataclasses.dataclass(frozen=True)
class RequestFeature:
    """A feature of the user or of the request.

    Attributes:
      name: as requests give it; input: as the model takes it.
      kind: `id`, `category` and `categories` are words; `number` and `time` numbers, a time in `unit`.
      words: of its vocabulary, the first of them of row 3; row 1 is for missing, row 2 for unknown.
      slots: most words of a request.
      separator: between several words in one text.
      whole_ids: whether 17850.0 is the id 17850.
    """

    name: str
    input: str
    kind: str
    words: Sequence[bytes]
    slots: int
    separator: str
    unit: Literal["s", "ms", "us", "ns"]
    whole_ids: bool

    @property
    def of_words(self) -> bool:
        return self.kind not in ("number", "time")


class QueryInputs(tf.Module):
    """Requests and held-out examples to what a model takes with a key.

    By input name: of words their rows, int64 [b, slots], 0 behind; of numbers float32 [b], NaN where it is missing and
    infinite where it can't be read.
    """

    def __init__(self, features: Sequence[RequestFeature]) -> None:
        super().__init__()
        self.features = tuple(features)
        self.tables = {of.input: IdTable(of.words, FIRST_ROW) for of in self.features if of.of_words}

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """Of the values of all features."""
        return [
            tf.TensorSpec([None, None], tf.int64, of.input)
            if of.of_words
            else tf.TensorSpec([None], tf.float32, of.input)
            for of in self.features
        ]

    @property
    def parsing(self) -> dict[str, Any]:
        """How the values are parsed from a held-out example."""
        number = tf.io.FixedLenFeature([], tf.float32, np.nan)
        return {of.input: tf.io.RaggedFeature(tf.int64) if of.of_words else number for of in self.features}

    def parsed(self, example: dict[str, Any]) -> list[tf.Tensor]:
        """The values in a batch of parsed examples, in the order of `specs`; what is not there is missing."""
        return [_filled(example[of.input].to_tensor()) if of.of_words else example[of.input] for of in self.features]

    def named(self, values: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Values in the order of `specs`, by input name."""
        return {of.input: value for of, value in zip(self.features, values, strict=True)}

    def read(self, pairs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The values in string [b, f, 2] pairs of name and text.

        A feature that no pair names is missing, a name that is no feature's is passed over, and '' pads. Of a name that
        is there more than once the first counts, or for `categories` all.
        """
        pairs = tf.concat([pairs, tf.fill([tf.shape(pairs)[0], 1, 2], "")], axis=1)  # so that there is one to look at
        return {of.input: self._value(of, pairs[:, :, 0] == of.name, pairs[:, :, 1]) for of in self.features}

    def _value(self, feature: RequestFeature, named: tf.Tensor, texts: tf.Tensor) -> tf.Tensor:
        if feature.kind == "categories":
            texts = tf.where(named, texts, "")
            return self._rows(feature, _each(tf.strings.reduce_join(texts, 1, separator=feature.separator), feature))
        first = tf.argmax(tf.cast(named, tf.int32), axis=1)
        text = tf.where(tf.reduce_any(named, axis=1), tf.gather(texts, first, batch_dims=1), "")
        missing = _stands_for_nothing(text)
        if not feature.of_words:
            return _number(text, missing, feature)
        if feature.kind == "id" and feature.whole_ids:
            text = tf.strings.regex_replace(text, _WHOLE_NUMBER, r"\1")
        word = tf.where(missing, "", _stripped(text))
        return self._rows(feature, tf.RaggedTensor.from_tensor(word[:, None], padding=""))

    def _rows(self, feature: RequestFeature, words: tf.RaggedTensor) -> tf.Tensor:
        row = self.tables[feature.input].table.lookup(words.values)
        rows = words.with_values(tf.where(row >= FIRST_ROW, row, UNKNOWN))
        return _filled(rows[:, : feature.slots].to_tensor(shape=[None, feature.slots]))


def _filled(rows: tf.Tensor) -> tf.Tensor:
    """Rows of words [b, slots] with that of "missing" where there are none; at least one slot."""
    rows = tf.pad(rows, [[0, 0], [0, tf.cast(tf.shape(rows)[1] == 0, tf.int32)]])
    first = tf.where(rows[:, :1] == 0, tf.constant(MISSING, tf.int64), rows[:, :1])
    return tf.concat([first, rows[:, 1:]], axis=1)


def _stripped(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(text, _AROUND, "")


def _stands_for_nothing(text: tf.Tensor) -> tf.Tensor:
    stripped = _stripped(text)
    named = tf.reduce_any(tf.strings.lower(stripped)[..., None] == tf.constant(_NOTHING), axis=-1)
    return (tf.strings.length(stripped) == 0) | (named & (tf.strings.length(text) <= _LONGEST_NOTHING))


def _each(text: tf.Tensor, feature: RequestFeature) -> tf.RaggedTensor:
    """The words of each text [b], each once, without those that stand for nothing."""
    words = tf.strings.split(text, feature.separator)
    words = words.with_values(_stripped(words.values)).to_tensor("")
    before = tf.linalg.band_part(tf.ones([tf.shape(words)[1]] * 2, tf.int32), -1, 0) - tf.eye(
        tf.shape(words)[1], dtype=tf.int32
    )
    again = tf.reduce_any((words[:, :, None] == words[:, None, :]) & (before > 0), axis=2)
    return tf.ragged.boolean_mask(words, ~(_stands_for_nothing(words) | again))


def _number(text: tf.Tensor, missing: tf.Tensor, feature: RequestFeature) -> tf.Tensor:
    plain = tf.strings.regex_replace(_stripped(text), r"^\+([0-9.])", r"\1")
    readable = tf.strings.regex_full_match(plain, _NUMBER)
    value = tf.strings.to_number(tf.where(readable, plain, "0"), tf.float64)
    if feature.kind == "time":
        millis = tf.floor(value * _MILLISECONDS[feature.unit])
        readable &= (millis >= _FIRST) & (millis <= _LAST)
        value = millis / _DAY
    number = tf.cast(value, tf.float32)
    number = tf.where(readable & tf.math.is_finite(number), number, np.float32(np.inf))
    return tf.where(missing, np.float32(np.nan), number)
