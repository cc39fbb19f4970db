"""Gives the labels `stable` and `canary` to versions, and moves them."""

from __future__ import annotations

from components.span_pusher.version_labels import CANARY, STABLE, knows, read_labels, write_labels
from pipeline.config import Config
from pipeline.ledger.models import ModelLineage, read_model_lineage
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.publication import PublicationError, publish
from pipeline.operations.rollback import RollbackError, pushed_version, restore
from serving.tfs_config.model_config import ModelConfigError


class PromotionError(ValueError):
    """A label can't be moved, or the copy in a store could not follow; the message says why, and what was changed."""


def assign_label(config: Config, label: str, version: int | None = None) -> dict[str, int]:
    """Gives `label` to `version`: by default the canary if that is not the stable one, else the newest that was pushed.

    Returns:
      All labels with their versions.

    Raises:
      PromotionError: the version was never pushed, was revoked, or can't be brought back into the folder; or a canary
        is asked for before there is a `stable`.
      LockedError: a run is going on.
    """
    with exclusive(config):
        lineage, labels = read_model_lineage(config), _labels(config)
        if label == CANARY and STABLE not in labels:
            raise PromotionError(
                f"`stable` must name a version before `canary` does. Received: no label for {config.name} in "
                f"{config.models_config_path}. Run `warmspan promote VERSION` with the version that all others get."
            )
        if version is None and labels.get(CANARY) != labels.get(STABLE):
            version = labels.get(CANARY)
        chosen = _newest(lineage) if version is None else version
        try:
            pushed_version(lineage, "VERSION", chosen)
            model = lineage.of_version(chosen)[-1]
            if model.revoked:
                raise PromotionError(f"`VERSION` must not be revoked. Received: {chosen}, revoked: {model.reason}.")
            # Also brings back what `push.keep_versions` has let go.
            restore(config, model)
        except RollbackError as error:
            raise PromotionError(str(error)) from None
        return _write(config, {**labels, label: chosen})


def remove_label(config: Config, label: str) -> dict[str, int]:
    """Takes a label away; `stable` takes `canary` with it, and the newest version is served again.

    Returns and raises as `assign_label`.
    """
    with exclusive(config):
        left = {name: version for name, version in _labels(config).items() if name != label}
        return _write(config, {} if label == STABLE else left)


def write_first_labels(config: Config) -> None:
    """Makes a models.config for the official server, unless there is one that knows the model.

    Both labels get the newest version. Before the first push there are none.

    Raises:
      PromotionError: the file is there and can't be used.
      LockedError: a run is going on.
    """
    if _known(config):
        return
    with exclusive(config):
        newest = read_model_lineage(config).served()
        _write(config, {} if newest is None else {STABLE: newest.version, CANARY: newest.version})


def _newest(lineage: ModelLineage) -> int:
    newest = lineage.served()
    if newest is None:
        raise PromotionError("A version must have been pushed. Received: none that is not revoked. Run `warmspan run`.")
    return newest.version


def _known(config: Config) -> bool:
    try:
        return knows(config.models_config_path, config.name)
    except ModelConfigError as error:
        raise PromotionError(str(error)) from None


def _labels(config: Config) -> dict[str, int]:
    try:
        return read_labels(config.models_config_path, config.name)
    except ModelConfigError as error:
        raise PromotionError(str(error)) from None


def _write(config: Config, labels: dict[str, int]) -> dict[str, int]:
    try:
        write_labels(config.models_config_path, config.name, config.serving_path, labels)
    except ModelConfigError as error:
        raise PromotionError(str(error)) from None
    try:
        publish(config)
    except PublicationError as error:
        raise PromotionError(f"The labels stand in {config.models_config_path}. {error}") from None
    return labels
