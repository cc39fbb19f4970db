"""One frozen, typed settings object, read once from one YAML file.

Unknown keys are refused and the nearest known one is named; every value is checked where it is read, so that a
mistake is a sentence at the start of a run and not a stack trace in the middle of the night.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from pipeline.alert_config import Alerts
from pipeline.policy import Maintenance
from pipeline.section import Section
from pipeline.serving_config import Serving
from pipeline.update_config import Update

DATE_TOKENS = ("{YYYY}", "{MM}", "{DD}")


class ConfigError(ValueError):
    """The settings file can't be used; the message says which key, the rule and what was received."""


class Columns(Section):
    """The user's column names for the parts of an event."""

    key: str
    item: str
    timestamp: str
    weight: str | None = None
    context: tuple[str, ...] = ()


class RejectRule(Section):
    """Rejects the rows whose `column`, read as text, matches the regular expression `matches` from its start."""

    column: str
    matches: str
    reason: str

    @pydantic.field_validator("matches")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"must be a regular expression ({error}). Received: {value!r}.") from None
        return value


class Data(Section):
    """Where the spans lie and how a row becomes an event."""

    path: Path
    pattern: str = "{YYYY}-{MM}-{DD}/*"
    format: Literal["csv", "parquet", "jsonl", "tfrecord"] = "csv"
    columns: Columns
    timestamp_unit: Literal["s", "ms", "us", "ns"] = "s"
    timestamp_format: str | None = None
    span_hours: float | None = pydantic.Field(default=None, gt=0)
    weight_above: float | None = None
    reject: tuple[RejectRule, ...] = ()
    max_reject_fraction: float = pydantic.Field(default=0.05, ge=0, le=1)
    items: Path | None = None
    item_title: str = "title"

    @pydantic.field_validator("pattern")
    @classmethod
    def _names_a_span(cls, value: str) -> str:
        dated = [token for token in DATE_TOKENS if token in value]
        if "{SPAN" in value and not dated:
            return value
        if len(dated) == len(DATE_TOKENS) and "{SPAN" not in value:
            return value
        raise ValueError(
            f"must name a span by {{YYYY}}, {{MM}} and {{DD}}, or by {{SPAN}} alone. Received: {value!r}. "
            "Write for example '{YYYY}-{MM}-{DD}/*.csv'."
        )

    @property
    def dated(self) -> bool:
        """Whether a span is a calendar day (True) or a plain number (False)."""
        return "{YYYY}" in self.pattern


class Split(Section):
    """The last part of a span, by time, is held out for that day's gate and trained on the next day."""

    eval_fraction: float = pydantic.Field(default=0.1, ge=0, lt=1)


class Vocabulary(Section):
    """Which ids get a row of their own."""

    item_min_count: int = pydantic.Field(default=1, ge=1)
    key_min_count: int = pydantic.Field(default=1, ge=1)
    oov_rows: int = pydantic.Field(default=1, ge=1)
    half_life_spans: float = pydantic.Field(default=7.0, gt=0)


class History(Section):
    """How many of a key's last events are kept, and seen by the model."""

    length: int = pydantic.Field(default=50, ge=1)


class Model(Section):
    """`type` is `two_tower`, `ranking`, or the dotted path of your own `tfrs.Model`."""

    type: str = "two_tower"
    params: dict[str, Any] = pydantic.Field(default_factory=dict)


class Threshold(Section):
    """`floor`: the metric must reach it. `max_drop`: it may fall this far below the champion's (absolute)."""

    floor: float | None = None
    max_drop: float | None = pydantic.Field(default=None, ge=0)


class Gate(Section):
    """What a candidate must show before it is pushed. Metrics: recall, ndcg, mrr at `k`; rmse or auc for `ranking`."""

    k: int = pydantic.Field(default=20, ge=1)
    min_events: int = pydantic.Field(default=20, ge=1)
    cold_below: int = pydantic.Field(default=5, ge=1)
    thresholds: dict[str, Threshold] = pydantic.Field(
        default_factory=lambda: {"recall": Threshold(floor=0.0, max_drop=0.02)}
    )
    slice_thresholds: dict[str, dict[str, Threshold]] = pydantic.Field(default_factory=dict)
    confidence_intervals: bool = False


class Push(Section):
    """How a blessed model reaches TF Serving's folder."""

    keep_versions: int = pydantic.Field(default=7, ge=1)
    max_k: int = pydantic.Field(default=100, ge=1)
    exclude_seen: bool = True


class Gc(Section):
    """What `warmspan gc` leaves beyond what is needed: the papers and logs of the last `keep_spans` spans."""

    keep_spans: int = pydantic.Field(default=30, ge=1)


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
    split: Split = Split()
    vocabulary: Vocabulary = Vocabulary()
    history: History = History()
    model: Model = Model()
    update: Update = Update()
    gate: Gate = Gate()
    push: Push = Push()
    serving: Serving = Serving()
    policy: Maintenance = Maintenance()
    alerts: Alerts = Alerts()
    gc: Gc = Gc()
    beam: Beam = Beam()

    @pydantic.model_validator(mode="after")
    def _policy_fits(self) -> Config:
        columns = ("key", "item", "weight", *self.data.columns.context)
        if problem := self.policy.problem(self.data.dated, columns, self.update.max_owed_spans):
            raise ValueError(problem)
        return self

    @property
    def serving_path(self) -> Path:
        """TF Serving's folder of this model: one sub-folder a version."""
        return self.root / "serving" / self.name

    @property
    def models_config_path(self) -> Path:
        """The models.config that the servers read, once versions have labels."""
        return self.root / "serving" / "models.config"

    @property
    def forgotten_path(self) -> Path:
        """What must not come back: written by `warmspan forget`."""
        return self.root / "forgotten.json"

    @property
    def artifacts_path(self) -> Path:
        return self.root / "artifacts"

    @property
    def logs_path(self) -> Path:
        return self.root / "logs"


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently keep the last, and takes `on:` for a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:bool":  # as YAML 1.1 has it: yes, no, on, off
                key.tag = "tag:yaml.org,2002:str"
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(
                    "a key must be given once", node.start_mark, f"received `{key.value}` twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def load_config(path: str | Path) -> Config:
    """Reads the YAML file at `path`.

    Raises:
      ConfigError: the file is missing, not YAML, or has a key or value that can't be used.
    """
    path = Path(path)
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(
            f"The settings file must exist. Received: {str(path)!r}. Write one with `warmspan init`."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} must be a YAML file that can be read. {error}") from None
    if not isinstance(raw, dict):
        received = "an empty file" if raw is None else type(raw).__name__
        raise ConfigError(f"{path} must hold keys and values. Received: {received}.")
    try:
        config = Config.model_validate(raw)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path} can't be used:\n" + "\n".join(_explain(error))) from None
    return _absolute(config, path.resolve().parent)


def override(config: Config, changes: Mapping[str, Any], source: str) -> Config:
    """The settings with some replaced, section by section, and checked as when they are read.

    Args:
      config: the settings.
      changes: nested settings, as in the YAML file.
      source: where the changes come from, for the message.

    Raises:
      ConfigError: a key or value that can't be used.
    """
    try:
        return Config.model_validate(_merged(config.model_dump(), changes))
    except pydantic.ValidationError as error:
        raise ConfigError(f"{source} can't be used:\n" + "\n".join(_explain(error))) from None


def _merged(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        inner = settings.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


def _absolute(config: Config, base: Path) -> Config:
    data = config.data.model_copy(
        update={
            "path": base / config.data.path,
            "items": None if config.data.items is None else base / config.data.items,
        }
    )
    return config.model_copy(update={"root": base / config.root, "data": data})


def _explain(error: pydantic.ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = _nearest(str(problem["loc"][-1]), _known_keys(problem["loc"][:-1]))
            lines.append(f"  `{where}` is not a setting. Did you mean `{near}`?")
        elif problem["type"] == "missing":
            lines.append(f"  `{where}` must be given.")
        else:
            message = problem["msg"].removeprefix("Value error, ").removesuffix(".")
            received = "" if "Received" in message else f" Received: {problem['input']!r}."
            lines.append(f"  `{where}`: {message}.{received}")
    return lines


def _nearest(name: str, known: list[str]) -> str:
    # A settings file is written by hand: capitals and hyphens are the commonest slips.
    return difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.0)[0]


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The settings of the section at `location`, through the lists and mappings that hold sections."""
    annotation: Any = Config
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        else:
            annotation = next(inner for inner in reversed(typing.get_args(annotation)) if inner is not Ellipsis)
    return list(annotation.model_fields)
