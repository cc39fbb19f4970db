"""One frozen, typed settings object, read once from one YAML file.

Unknown keys are refused and the nearest known one is named; every value is checked where it is read, so that a
mistake is a sentence at the start of a run and not a stack trace in the middle of the night.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic

from pipeline.config.alerts import Alerts
from pipeline.config.backtest import Backtest
from pipeline.config.catalogue import Catalogue
from pipeline.config.data import Data, Split
from pipeline.config.durations import without_durations
from pipeline.config.encoders import Encoders
from pipeline.config.features import Features
from pipeline.config.gate import Gate, Push
from pipeline.config.guard import Guard
from pipeline.config.policy import Maintenance
from pipeline.config.section import Section
from pipeline.config.serving import Serving
from pipeline.config.stream import Stream
from pipeline.config.training import Training, untried
from pipeline.config.update import Update
from trainer.features.declaration import Feature


class ConfigError(ValueError):
    """The settings file can't be used; the message says which key, the rule and what was received."""


class Vocabulary(Section):
    """Which ids get a row of their own, and for how long.

    Ages are spans since an id's last event. Ids that are too old, and of more than may have a row those that are asked
    for least, leave when there are enough of them, rows and history. null: nobody leaves.
    """

    item_min_count: int = pydantic.Field(default=1, ge=1)
    key_min_count: int = pydantic.Field(default=1, ge=1)
    oov_rows: int = pydantic.Field(default=1, ge=1)
    half_life_spans: float = pydantic.Field(default=7.0, gt=0)
    item_max_age: int | None = pydantic.Field(default=None, ge=1)
    key_max_age: int | None = pydantic.Field(default=None, ge=1)
    max_items: int | None = pydantic.Field(default=None, ge=1)
    max_keys: int | None = pydantic.Field(default=None, ge=1)


class History(Section):
    """How many of a key's last events are kept, and seen by the model, and for how long.

    A key without an event for `keys_end_after` hours is over, as a session is: nothing is kept of it, and no key gets a
    row of its own. null: keys come back, and are kept for good.
    """

    length: int = pydantic.Field(default=50, ge=1)
    keys_end_after: float | None = pydantic.Field(default=None, gt=0)


class Model(Section):
    """`type` is a built-in name (`trainer.models.BUILT_IN`) or the dotted path of your own `tfrs.Model`."""

    type: str = "two_tower"
    params: dict[str, Any] = pydantic.Field(default_factory=dict)


class Gc(Section):
    """What `warmspan gc` leaves beyond what is needed: the papers and logs of the last `keep_spans` spans.

    What it removes lies in the trash for `trash_days`.
    """

    keep_spans: int = pydantic.Field(default=30, ge=1)
    trash_days: int = pydantic.Field(default=7, ge=0)


class Beam(Section):
    """Passed to Beam untouched. Without any, spans are processed in this process by Beam's FnApiRunner."""

    args: tuple[str, ...] = ()


class Config(Section):
    """All settings of one recommender. Relative paths start at the folder of the YAML file."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    root: Path = Path("run")
    metadata: str | None = None
    cache: bool = True
    data: Data
    catalogue: Catalogue | None = None
    encoders: Encoders = pydantic.Field(default_factory=dict)
    features: Features = Features()
    split: Split = Split()
    vocabulary: Vocabulary = Vocabulary()
    history: History = History()
    model: Model = Model()
    update: Update = pydantic.Field(default_factory=Update)
    training: Training = Training()
    guard: Guard = Guard()
    gate: Gate = Gate()
    push: Push = Push()
    serving: Serving = Serving()
    policy: Maintenance = Maintenance()
    alerts: Alerts = Alerts()
    stream: Stream = Stream()
    backtest: Backtest = Backtest()
    gc: Gc = Gc()
    beam: Beam = Beam()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _durations(cls, raw: Any) -> Any:
        return without_durations(raw)

    @pydantic.model_validator(mode="after")
    def _policy_fits(self) -> Config:
        features = (feature.vocabulary for feature in self.features.of_query)
        columns = ("key", "item", "weight", *self.data.columns.context, *features)
        self.policy.check_fits(self.data.dated, columns, self.update.max_owed_spans)
        return self

    @pydantic.model_validator(mode="after")
    def _features_are_no_answers(self) -> Config:
        columns = self.data.columns
        taken = {
            columns.key: "`data.columns.key`, which has a vector of its own",
            columns.item: "`data.columns.item`, which is to be predicted",
            columns.weight: "`data.columns.weight`, which is known once the event has happened",
        }
        for feature in self.features.of_query:
            if feature.source in taken:
                raise ValueError(
                    "a feature of `features.key` or `features.context` can't be the column of "
                    f"{taken[feature.source]}. Received: {feature.name!r}, column {feature.source!r}. Take it out."
                )
        return self

    @pydantic.model_validator(mode="after")
    def _catalogue_fits(self) -> Config:
        catalogue = self.catalogue
        if catalogue is None or catalogue.pattern is None:
            return self
        if catalogue.dated != self.data.dated:
            raise ValueError(
                "`catalogue.pattern` must count spans as `data.pattern` does, by dates or by numbers. Received: "
                f"{catalogue.pattern!r} beside {self.data.pattern!r}."
            )
        if catalogue.valid_from is not None and not catalogue.dated:
            raise ValueError(
                "`catalogue.valid_from` needs spans that are dates. Received: "
                f"{catalogue.pattern!r}. Deliver each change in the span from which it holds."
            )
        return self

    @pydantic.model_validator(mode="after")
    def _texts_have_encoders(self) -> Config:
        declared = ", ".join(map(repr, self.encoders)) or "none"
        for feature in self.features.item:
            if feature.kind != "text" or feature.encoder in self.encoders:
                continue
            if feature.encoder is None and len(self.encoders) == 1:
                continue
            raise ValueError(
                "`features.item`: a text must have an encoder in `encoders`: the one that it names, or the only one. "
                f"Received: {feature.name!r} with {feature.encoder!r}, of these encoders: {declared}. Declare it, or "
                "correct the name (docs/text.md)."
            )
        return self

    @pydantic.model_validator(mode="after")
    def _places_fit(self) -> Config:
        kept, k = self.push.places_for_new, min(self.gate.k, self.push.max_k)
        if kept is not None and kept.places >= k:
            raise ValueError(
                f"`push.places_for_new.places` must be less than the length of a list, {k} (`gate.k`, "
                f"`push.max_k`). Received: {kept.places}. Keep fewer places."
            )
        return self

    @pydantic.model_validator(mode="after")
    def _own_items_can_be_shown(self) -> Config:
        if "own_items" in self.backtest.baselines and self.push.exclude_seen:
            raise ValueError(
                "`backtest.baselines` can have `own_items` where a key's own items are recommended. Received: it, "
                "beside `push.exclude_seen: true`. Take it out, or set `push.exclude_seen: false`."
            )
        return self

    @pydantic.model_validator(mode="after")
    def _steps_can_be_shared(self) -> Config:
        if self.training.strategy != "none" and (beside := untried(self.update, self.features)):
            raise ValueError(
                "`training.strategy` can be other than none where what stands beside it was held to a training on one "
                f"replica (docs/workers.md). Received: {self.training.strategy} beside {', '.join(beside)}. Take "
                "them, or the strategy, out."
            )
        return self

    def encoder_of(self, feature: Feature) -> str:
        """The name of a text's encoder."""
        return feature.encoder or next(iter(self.encoders))

    @property
    def serving_path(self) -> Path:
        """TF Serving's folder of this model: one sub-folder a version."""
        return self.root / "serving" / self.name

    @property
    def models_config_path(self) -> Path:
        """The models.config that the servers read, once versions have labels."""
        return self.root / "serving" / "models.config"

    @property
    def suppression_list_path(self) -> Path:
        """What must not come back: written by `warmspan forget`."""
        return self.root / "forgotten.json"

    @property
    def digests_path(self) -> Path:
        """Digests of the user's files, so that they are read once."""
        return self.root / "digests.json"

    @property
    def stream_path(self) -> Path:
        """What `warmspan stream` keeps between two nightly runs; nothing else reads it."""
        return self.root / "stream"

    @property
    def workers_path(self) -> Path:
        """What workers that train together are given, and what they go on from; empty while nobody trains."""
        return self.root / "workers"

    @property
    def artifacts_path(self) -> Path:
        return self.root / "artifacts"

    @property
    def logs_path(self) -> Path:
        return self.root / "logs"
