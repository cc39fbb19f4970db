"""Which models are served, from where, and which of their versions: TensorFlow Serving's models.config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving.tfs_config.text_format import ServerConfigError, read_text


class ModelConfigError(ServerConfigError):
    """A models.config that can't be used; the message says what to change."""


@dataclass(frozen=True)
class Latest:
    """The `versions` highest version numbers."""

    versions: int = 1

    def select(self, versions: Iterable[int]) -> set[int]:
        return set(sorted(versions)[-self.versions :])


@dataclass(frozen=True)
class All:
    """Every version in the folder."""

    def select(self, versions: Iterable[int]) -> set[int]:
        return set(versions)


@dataclass(frozen=True)
class Specific:
    """These versions, where they are there."""

    versions: frozenset[int]

    def select(self, versions: Iterable[int]) -> set[int]:
        return set(self.versions) & set(versions)


VersionPolicy = Latest | All | Specific


@dataclass(frozen=True)
class ModelConfig:
    """One served model: `base_path` holds a folder a version, named by its number. `labels` names versions."""

    name: str
    base_path: Path
    policy: VersionPolicy = Latest()
    labels: Mapping[str, int] = field(default_factory=dict)


def read_models_config(path: str | Path) -> list[ModelConfig]:
    """Reads a ModelServerConfig in text form, the file of `tensorflow_model_server --model_config_file`.

    Raises:
      ModelConfigError: the file is missing, is not a ModelServerConfig, or names a model twice or without a base path.
    """
    try:
        server = read_text(path, "ModelServerConfig")
    except ServerConfigError as error:
        raise ModelConfigError(str(error)) from None
    if server.WhichOneof("config") == "custom_model_config":
        raise ModelConfigError(f"{path} must hold a `model_config_list`. Received: `custom_model_config`.")
    configs = [_model_config(entry, path) for entry in server.model_config_list.config]
    names = [config.name for config in configs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelConfigError(f"{path} must name each model once. Received twice: {', '.join(twice)}.")
    return configs


def _model_config(entry, path: str | Path) -> ModelConfig:  # type: ignore[no-untyped-def]
    if not entry.name or not entry.base_path:
        raise ModelConfigError(
            f"{path}: each `config` must have a `name` and a `base_path`. Received: name {entry.name!r}, base_path "
            f"{entry.base_path!r}."
        )
    if entry.model_platform not in ("", "tensorflow"):
        raise ModelConfigError(
            f"{path}: `model_platform` of {entry.name!r} must be 'tensorflow'. Received: {entry.model_platform!r}."
        )
    chosen = entry.model_version_policy.WhichOneof("policy_choice")
    policy: VersionPolicy
    if chosen == "all":
        policy = All()
    elif chosen == "specific":
        policy = Specific(frozenset(entry.model_version_policy.specific.versions))
    else:
        policy = Latest(max(1, entry.model_version_policy.latest.num_versions))
    return ModelConfig(entry.name, Path(entry.base_path), policy, dict(entry.version_labels))
