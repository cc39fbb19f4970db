"""The spans of a backtest: what `SpanTransform` would make of each, kept on disk for all policies and later runs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.catalogue_gen.deliveries import fingerprint_of
from components.catalogue_gen.state import load_table
from components.encoder_tuner.tuner import Tuner
from components.incremental_trainer.catalogue_items import encoded_texts
from components.span_transform import history as history_lib
from components.span_transform import retirement, shard, vocabulary_growth
from components.span_transform.events import key_hashes, partition, schema_of
from components.span_transform.settings import Settings
from components.suppression_list import SuppressionList
from pipeline.backtest.catalogue import write_catalogue, write_encoded
from pipeline.backtest.ingest import Events, ingest, ingest_settings
from pipeline.backtest.tuned_encoders import write_tuned
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.differences import Delivery
from pipeline.spans import Naming
from trainer.atomic_write import atomic_folder
from trainer.catch_up import Day
from trainer.encoders.folder import encoder_digest
from trainer.features.declaration import Feature
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures, item_features
from trainer.held_out_parts import SELECT, VERDICT, Part, held_out_files
from trainer.input_pipeline import Positions, Sequences, read_held_out, read_keys, read_sequences
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec
from trainer.update import Span

_ABOUT, _CATALOGUE, _ENCODINGS, _TUNED = "about.json", "catalogue", "encodings", "tuned"
_IN_MEMORY = 64  # spans; a retraining policy reads the same ones again and again


@dataclasses.dataclass(frozen=True)
class PreparedSpan:
    """One span's sequences, held-out positions and vocabulary.

    `fingerprint` says what it was made from, all earlier spans included; `half_life` is that of its
    vocabulary's counts.
    """

    number: int
    name: str
    folder: Path
    fingerprint: str
    half_life: float = 7.0

    @property
    def sequences(self) -> Sequences:
        return _sequences(self.folder)

    @property
    def held_out(self) -> Positions:
        return _held_out(self.folder, None)

    @property
    def select(self) -> Positions:
        """The held-out positions that choose epochs."""
        return _held_out(self.folder, SELECT)

    @property
    def verdict(self) -> Positions:
        """Those that judge."""
        return _held_out(self.folder, VERDICT)

    @property
    def sequence_keys(self) -> np.ndarray:
        """A number for the key of each of `sequences`, int64 [s]: the same in every span, with a row or without."""
        return _keys(_files(self.folder / "sequences" / "Split-train"))

    @property
    def held_out_keys(self) -> np.ndarray:
        """The same of `held_out`, int64 [p]."""
        return _keys(held_out_files(self.folder / "held_out"))

    @functools.cached_property
    def _vocabularies(self) -> vocabulary_growth.Vocabularies:
        return vocabulary_growth.Vocabularies.load(self.folder / "vocabulary", 1)

    def query_state(self, features: Sequence[Feature] | None) -> FeatureState:
        """Words and numbers of features of key and context."""
        return FeatureState.load(self.folder / "vocabulary", features or ())

    @property
    def sizes(self) -> TableSizes:
        items, keys = self._vocabularies.items, self._vocabularies.keys
        return TableSizes(items.size, keys.size, items.first_row, numbering=self._vocabularies.numbering)

    @property
    def item_numbers(self) -> int:
        """How many numbers items have been given, those of the rows that no id has included."""
        return self._vocabularies.items.given

    def item_features(self, features: Sequence[Feature] | None) -> ItemFeatures | None:
        """What a model is told of items by the catalogue of the span; None for a model that takes none."""
        if features is None:
            return None
        table = load_table(self.folder / _CATALOGUE)
        assert table is not None
        items, state = self._vocabularies.items, FeatureState.load(self.folder / "vocabulary", features)
        texts = [self.folder / _ENCODINGS / of.name for of in features if of.kind == "text"]
        return item_features(table, items, state, features, encoded_texts(items, texts), self.half_life)

    def day(self, learned: PreparedSpan, spec: ModelSpec) -> Day:
        """What the update of `learned`, this span or an earlier one, is given amid what was known on this one's day."""
        features, known = self.item_features(spec.features), self.query_state(spec.query_features)
        words = (*(() if features is None else features.sizes), *known.sizes(spec.query_features or ()))
        sizes = dataclasses.replace(self.sizes, words=words)
        return Day(
            Span(learned.number, learned.sequences.in_rows(sizes.numbering)),
            sizes,
            self.select.in_rows(sizes.numbering),
            self.popularity,
            features,
            {name: numbers.knots() for name, numbers in known.numbers.items()},
        )

    @property
    def popularity(self) -> np.ndarray:
        """As the trainer is told, see `Recommender.set_popularity`."""
        items = self._vocabularies.items
        return np.concatenate([np.zeros(items.first_row), items.recent])


def prepare(
    config: Config, deliveries: Mapping[int, Delivery], folder: Path, on_span: Callable[[str], None]
) -> list[PreparedSpan]:
    """Transforms all `deliveries` in order, the first from no state; what lies in `folder` unchanged is kept.

    Raises:
      SpanError: a span can't be used.
    """
    prepared: list[PreparedSpan] = []
    tuners: dict[str, Tuner] = {}
    naming = Naming(config.data.dated)
    given = GraphParameters.of(config)
    settings, catalogue = given.transform, given.catalogue
    # Files under an encoder's path may change.
    encoders = [[of.to_json(), encoder_digest(of.folder, of.max_tokens, of.prefix)] for of in given.encoders.values()]
    encoders += [[of.to_json()] for of in given.tuners.values()]
    forgotten = SuppressionList.load(config.suppression_list_path)
    how = [dataclasses.replace(ingest_settings(config), forgotten=None).to_json(), settings.to_json()]
    if forgotten is not None:
        how += sorted(forgotten.users)
    for number, delivery in deliveries.items():
        name = naming.format(number)
        on_span(name)
        before = prepared[-1].fingerprint if prepared else None
        listed = [] if catalogue is None else [fingerprint_of(catalogue, number), catalogue.to_json(), *encoders]
        made_from = json.dumps([number, delivery.version, delivery.fingerprint, how, before, *listed])
        fingerprint = hashlib.sha256(made_from.encode()).hexdigest()
        span = PreparedSpan(number, name, folder / name, fingerprint, settings.half_life_spans)
        if _fingerprint(span.folder) != span.fingerprint:
            events = ingest(config, number, folder.parent / "refused")
            tuners = tuners or {text: Tuner(of) for text, of in given.tuners.items()}
            _write(span, events, prepared[-1:], given, tuners)
        prepared.append(span)
    return prepared


def _write(
    span: PreparedSpan,
    events: Events,
    yesterday: Sequence[PreparedSpan],
    given: GraphParameters,
    tuners: Mapping[str, Tuner],
) -> None:
    settings, catalogue = given.transform, given.catalogue
    with atomic_folder(span.folder) as beside:
        made = [beside / name for name in ("sequences", "held_out", "vocabulary", "history")]
        for folder in made:
            folder.mkdir()
        state = [str(yesterday[0].folder / name) if yesterday else None for name in ("vocabulary", "history")]
        folders = shard.Folders(*map(str, made), *state)
        if catalogue is not None:
            (beside / _CATALOGUE).mkdir()
            old = yesterday[0].folder / _CATALOGUE if yesterday else None
            write_catalogue(catalogue, span.number, old, beside / _CATALOGUE)
            folders = dataclasses.replace(folders, catalogue=str(beside / _CATALOGUE))
        transform(events, span.number, folders, settings)
        if catalogue is not None:
            before = yesterday[0].folder if yesterday else None
            written = dataclasses.replace(span, folder=beside)
            tuned = {
                text: write_tuned(
                    written,
                    beside / _CATALOGUE,
                    of,
                    None if before is None else before / _TUNED / text,
                    beside / _TUNED / text,
                )
                for text, of in tuners.items()
            }
            encoded = None if before is None else before / _ENCODINGS
            write_encoded(given.encoders, span.number, encoded, beside / _CATALOGUE, beside / _ENCODINGS, tuned)
        (beside / _ABOUT).write_text(json.dumps({"fingerprint": span.fingerprint}))
    _sequences.cache_clear()
    _held_out.cache_clear()


def transform(events: Events, span: int, folders: shard.Folders, settings: Settings) -> None:
    """What `span_transform.executor.transform` does with Beam, a shard after the other in this process."""
    yesterday = vocabulary_growth.Vocabularies.load(folders.yesterday_vocabulary, settings.oov_rows)
    features, known = settings.query_features, 0
    counted = [vocabulary_growth.count_train(events.train, 0, features)]
    if folders.yesterday_history is not None:
        paths = history_lib.shards_in(folders.yesterday_history)
        released = (history_lib.read_held_out(path, features) for path in paths)
        counted += [vocabulary_growth.count_released(history, features) for history in released]
        known = history_lib.counts_in(folders.yesterday_history).events
    today = vocabulary_growth.grow(yesterday, counted, span, settings)
    vocabulary_growth.grow_features(counted, folders.yesterday_vocabulary, folders.vocabulary, span, settings)
    today = vocabulary_growth.with_catalogue(
        today, folders.yesterday_vocabulary, folders.catalogue, folders.vocabulary, settings
    )
    today = retirement.retired(today, folders.catalogue, settings)
    today.save(folders.vocabulary)
    shards = 1
    while shards * settings.rows_per_shard < known + len(events.train) + len(events.held_out):
        shards *= 2
    train, held_out = partition(events.train, shards), partition(events.held_out, shards)
    nothing = schema_of(features).empty_table()
    for number in range(shards):
        shard.transform_shard(
            train.get(number, nothing), held_out.get(number, nothing),
            number, shards, span, folders, settings, today, yesterday,
            ended_before=history_lib.ended_before(folders.yesterday_history, settings.keys_end_after),
        )  # fmt: skip


def _fingerprint(folder: Path) -> str | None:
    try:
        return json.loads((folder / _ABOUT).read_text())["fingerprint"]
    except FileNotFoundError:
        return None


@functools.lru_cache(_IN_MEMORY)
def _sequences(folder: Path) -> Sequences:
    return read_sequences(_files(folder / "sequences" / "Split-train"))


def _keys(files: Sequence[str]) -> np.ndarray:
    return key_hashes(pa.array(read_keys(files).tolist(), pa.binary()))


@functools.lru_cache(3 * _IN_MEMORY)
def _held_out(folder: Path, part: Part | None) -> Positions:
    return read_held_out(held_out_files(folder / "held_out", part))[0]


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("*.gz"))
