"""Update policies by name: what is learned from each span, and which settings differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline.config import Config, ConfigError, with_settings
from pipeline.config.policy import Maintenance

Learn = Literal["fine_tune", "retrain", "never"]
_LEARN: tuple[Learn, ...] = ("fine_tune", "retrain", "never")
_SECTIONS = ("update", "model", "policy")

_PLAIN: dict[str, dict[str, Any]] = {
    "replay": {"budget": 0},
    "distillation": {"weight": 0.0},
    "proximal": {"strength": 0.0},
    "ewc": {"strength": 0.0},
    "partial": {"freeze": []},
    "shrink": {"factor": 1.0, "noise": 0.0},
    "averaging": {"share": 1.0},
}
BUILT_IN: dict[str, dict[str, Any]] = {
    "fine-tune": {"update": {"stability": _PLAIN, "teacher": None}},
    "fine-tune+replay": {"update": {"stability": {**_PLAIN, "replay": {"budget": 6000}}, "teacher": None}},
    "retrain": {"learn": "retrain", "update": {"stability": _PLAIN, "teacher": None}},
    "never": {"learn": "never"},
    "settings": {},
}
"""`settings` is the settings file as it stands, the others without its stability parts, its teacher and its `policy`.
`fine-tune` learns each span from yesterday's model, `retrain` the last `update.retrain_spans` from nothing, `never` the
first span alone."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """A named policy: how it learns, and the settings it learns under."""

    name: str
    learn: Learn
    config: Config


def find_policies(names: Sequence[str], config: Config, file: Path | None = None) -> list[Policy]:
    """The policies called `names`, from `file` or built in; without names all of the file.

    A file maps each name to `learn` (`fine_tune`, the default, `retrain` or `never`) and to the settings in which the
    policy differs from `config`, in the sections `update`, `model` and `policy`:

        gentle: {update: {learning_rate: 0.02, stability: {proximal: {strength: 0.1}}}}
        weekly: {learn: retrain, update: {retrain_spans: 7}}
        when it falls: {policy: {next_span: {retrain: 3}}}

    Raises:
      ConfigError: no policy of that name, or a policy that can't be used.
    """
    own_policies = {} if file is None else _read(file)
    known = {**BUILT_IN, **own_policies}
    names = names or list(own_policies) or [name for name in BUILT_IN if name != "settings"]
    policies = []
    for name in dict.fromkeys(names):
        if name not in known:
            raise ConfigError(
                f"A policy must be one of {', '.join(known)}. Received: {name!r}. Write your own into a file."
            )
        own_rules = name in own_policies or name == "settings"
        base = config if own_rules else config.model_copy(update={"policy": Maintenance()})
        policies.append(_policy(name, known[name], base))
    return policies


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} must be a YAML file that can be read. {error}") from None
    if not isinstance(raw, dict) or not raw:
        raise ConfigError(f"{file} must map names to policies. Received: {raw!r}.")
    return {str(name): value for name, value in raw.items()}


def _policy(name: str, raw: Any, config: Config) -> Policy:
    # The name becomes a folder.
    if not name or name != name.strip() or name.startswith(".") or "/" in name:
        raise ConfigError(f"A policy's name must be text without a slash, or a dot in front. Received: {name!r}.")
    raw = {} if raw is None else raw
    if not isinstance(raw, Mapping) or set(raw) - {"learn", *_SECTIONS}:
        raise ConfigError(f"The policy {name!r} must hold `learn`, `update`, `model` or `policy`. Received: {raw!r}.")
    learn = raw.get("learn", "fine_tune")
    if learn not in _LEARN:
        raise ConfigError(f"`learn` of the policy {name!r} must be one of {', '.join(_LEARN)}. Received: {learn!r}.")
    if learn != "fine_tune" and "policy" in raw:
        raise ConfigError(
            f"The policy {name!r} must not hold `policy` beside `learn: {learn}`, which decides every span alike. "
            "Leave one of them out."
        )
    changes = {section: raw[section] for section in _SECTIONS if section in raw}
    return Policy(name, learn, with_settings(config, changes, f"The policy {name!r}"))
