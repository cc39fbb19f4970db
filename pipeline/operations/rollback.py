"""Takes models back: out of service, and out of what later models may start from.

ML Metadata is told first, in one transaction, and the served folder follows it. A process that is killed in between
leaves a revoked version in the folder, which `warmspan status` names and which the next rollback or run takes out.
The other way round a killed rollback would look whole, and the next night's model would descend from the bad one.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.span_pusher.version_folder import PushError, push, streamed, take_out, versions
from components.span_pusher.version_labels import read_labels, write_labels
from pipeline.config import Config
from pipeline.ledger.models import Model, ModelLineage, read_model_lineage, revoke
from pipeline.ledger.serving_state import owed_lines
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.publication import PublicationError, publish, try_to_publish
from pipeline.spans import Naming
from serving.bundle import BundleError, check_bundle
from serving.readable import let_others_read
from serving.tfs_config.model_config import ModelConfigError

BUNDLE_FOLDER = "Format-Serving"  # of a model artifact; where TFX's own parts look for a model


class RollbackError(ValueError):
    """What was asked for can't be done; the message says why. Nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Rollback:
    """What a rollback does.

    Attributes:
      named: versions that were asked to go: the one given with `--bad`, or all after the one given with `--to`.
      revoke: models that it marks, oldest first; those that are revoked already are left out.
      champion: what the next run starts from.
      serves: the highest version that is left in the folder.
      restore: whether that one must be brought back into the folder from its artifact.
      leaving: versions that leave the folder, in the order in which they do.
      labels: label to its version before and after; only those that move.
      owed: spans that the champion has not learned, oldest first.
    """

    named: tuple[int, ...]
    revoke: tuple[Model, ...]
    champion: Model
    serves: Model
    restore: bool
    leaving: tuple[int, ...]
    labels: Mapping[str, tuple[int, int]]
    owed: tuple[int, ...]

    @property
    def empty(self) -> bool:
        """Whether all of it has been done before."""
        return not (self.revoke or self.restore or self.leaving or self.labels)


def make_rollback(config: Config, to: int | None = None, bad: int | None = None) -> Rollback:
    """Says what a rollback would do; changes nothing.

    Args:
      config: settings.
      to: the version to go back to; everything pushed after it is revoked.
      bad: the version to revoke; what does not descend from it stays.

    Raises:
      RollbackError: the version is unknown, was revoked before (`to`), or nothing would be left to serve.
    """
    if (to is None) == (bad is None):
        raise RollbackError("Either `--to` or `--bad` must be given. Received: " + ("both." if to else "neither."))
    lineage = read_model_lineage(config)
    if bad is not None:
        return _plan(config, lineage, lineage.of_version(pushed_version(lineage, "--bad", bad)))
    assert to is not None
    goal = lineage.of_version(pushed_version(lineage, "--to", to))[-1]
    if goal.revoked:
        raise RollbackError(
            f"`--to` must be a version that was not revoked. Received: {to}, revoked: {goal.reason}. {_known(lineage)}"
        )
    if not goal.kept:
        raise RollbackError(
            f"`--to` must be a version whose files are there. Received: {to}, whose model `warmspan gc` has removed. "
            f"{_known(lineage)}"
        )
    return _plan(config, lineage, [model for model in lineage.models if model.version > goal.version])


def carry_out(config: Config, planned: Rollback, reason: str, wait_seconds: float = 0.0) -> None:
    """Does what was planned. Cut off anywhere it can be repeated, and ends the same.

    Args:
      config: settings.
      planned: by `make_rollback`.
      reason: why, for the ledger.
      wait_seconds: between the move of a label and the removal of the version that had it; where no label moves, none.

    Raises:
      RollbackError: something has changed since it was planned, or the folder or its copy can't be changed.
      LockedError: a run is going on.
    """
    with exclusive(config):
        lineage = read_model_lineage(config)
        if (
            _plan(config, lineage, [model for version in planned.named for model in lineage.of_version(version)])
            != planned
        ):
            raise RollbackError("The ledger or the folder has changed since this was planned. Run the command again.")
        take_back(config, planned, _reasons(planned, lineage, reason), wait_seconds)


def take_back(config: Config, planned: Rollback, reasons: Mapping[int, str], wait_seconds: float = 0.0) -> None:
    """Does it; `reasons` is model id to why, `wait_seconds` as for `carry_out`. The caller holds the locks.

    Raises:
      RollbackError: the folder or its copy in a store can't be changed.
    """
    # What may fail comes first: a full disk, a version that can't be restored.
    restore(config, planned.serves)
    if planned.revoke:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        revoke(open_store(config), reasons, now)
    _follow(config, planned, wait_seconds)


def finish(config: Config) -> tuple[int, ...]:
    """Ends a rollback that was cut off after ML Metadata was told. The caller holds the root's lock.

    Returns:
      The versions that were taken out of the folder.

    Raises:
      RollbackError: the folder or its copy in a store can't be changed.
    """
    lineage = read_model_lineage(config)
    if not lineage.revoked_versions:
        return ()
    held = {*versions(config.serving_path), *_labels(config).values()}
    if not held & lineage.revoked_versions:
        return ()
    planned = _plan(config, lineage, [])
    restore(config, planned.serves)
    _follow(config, planned)
    return planned.leaving


def describe(planned: Rollback, config: Config) -> list[str]:
    """The rollback in lines of text, for a person to agree to."""
    naming = Naming(config.data.dated)
    lines = [f"{'revoked':10}{_of(model, planned, naming)}" for model in planned.revoke]
    present = versions(config.serving_path)
    now = f"{present[-1]} -> " if present and present[-1] != planned.serves.version else ""
    lines.append(f"{'served':10}{now}{planned.serves.version}{' (restored from its artifact)' * planned.restore}")
    lines += [f"{name:10}{before} -> {after}" for name, (before, after) in planned.labels.items()]
    if planned.leaving:
        lines.append(f"{'removed':10}{', '.join(map(str, planned.leaving))} (the artifacts stay)")
    lines.append(f"{'champion':10}{planned.champion.version}, of {naming.format(planned.champion.span)}")
    return [*lines, *owed_lines(planned.champion, planned.owed, config)]


def pushed_version(lineage: ModelLineage, option: str, version: int) -> int:
    """`version`, if it was ever pushed.

    Raises:
      RollbackError: it was not.
    """
    models = lineage.of_version(version)
    if any(model.pushed is not None for model in models):
        return version
    why = " That one was trained and never pushed." if models else ""
    raise RollbackError(f"`{option}` must be a version that was pushed. Received: {version}.{why} {_known(lineage)}")


def restore(config: Config, model: Model) -> None:
    """Brings a pushed version back into the folder, or checks the one that is there.

    Raises:
      RollbackError: its artifact is gone or damaged, or the disk is full.
    """
    present = config.serving_path / str(model.version)
    if not model.kept and not present.exists():
        raise RollbackError(
            f"Version {model.version} must be in the folder or have its artifact. Received: neither, `warmspan gc` has "
            "removed the artifact, which nothing needed. Nothing was changed."
        )
    try:
        if present.exists():
            check_bundle(present)
            let_others_read(present, top=config.serving_path.parent)
        else:
            push(Path(model.uri) / BUNDLE_FOLDER, config.serving_path, model.version, model.pushed or {})
    except (BundleError, PushError, OSError) as error:
        raise RollbackError(
            f"Version {model.version} must be whole, in the folder and as its artifact. {error} Nothing was changed."
        ) from None


def _plan(config: Config, lineage: ModelLineage, named: list[Model]) -> Rollback:
    return plan_without(config, lineage, named, lineage.with_descendants(named))


def plan_without(config: Config, lineage: ModelLineage, named: Sequence[Model], gone: Sequence[Model]) -> Rollback:
    """What taking exactly the models `gone` back would do, of which `named` were asked for.

    Raises:
      RollbackError: nothing would be left to serve.
    """
    ids = {model.id for model in gone}
    champion, serves = lineage.champion(ids), lineage.served(ids)
    if champion is None or serves is None:
        raise RollbackError(
            "A rollback must leave a version to serve. Received: every version that was pushed would be revoked. "
            f"{_known(lineage)} Go back to one of them, or push a good one first: `warmspan run --redo`."
        )
    present = versions(config.serving_path)
    out = lineage.revoked_versions | {model.version for model in gone}
    leaving = tuple(version for version in present if version in out)
    strange = [version for version in present if version > serves.version and not lineage.of_version(version)]
    if strange:
        raise RollbackError(
            f"{config.serving_path} must hold nothing above version {serves.version} that this pipeline has not made, "
            f"because the highest is served. Received: {', '.join(map(str, strange))}. Move it away."
        )
    labels = sorted(_labels(config).items())
    return Rollback(
        named=tuple(sorted({model.version for model in named})),
        revoke=tuple(model for model in gone if not model.revoked),
        champion=champion,
        serves=serves,
        restore=serves.version not in present,
        leaving=leaving,
        labels={name: (version, serves.version) for name, version in labels if version in out},
        owed=lineage.owed(champion),
    )


def _labels(config: Config) -> dict[str, int]:
    try:
        return read_labels(config.models_config_path, config.name)
    except ModelConfigError as error:
        raise RollbackError(str(error)) from None


def _follow(config: Config, planned: Rollback, wait_seconds: float = 0.0) -> None:
    """Lets labels and folder follow what ML Metadata says, and the folder's copy in a store after them."""
    try:
        _follow_on_disk(config, planned, wait_seconds)
        publish(config)
    except PublicationError as error:
        raise RollbackError(f"The models are revoked, and out of {config.serving_path}. {error}") from None


def _follow_on_disk(config: Config, planned: Rollback, wait_seconds: float) -> None:
    try:
        if planned.labels:
            # Before the folder: a server that rereads both must never look for a label's version in vain.
            labels = read_labels(config.models_config_path, config.name)
            moved = {name: after for name, (_, after) in planned.labels.items()}
            write_labels(config.models_config_path, config.name, config.serving_path, {**labels, **moved})
            try_to_publish(config)
            time.sleep(wait_seconds)
        # What a stream has pushed stands above all nights, and may come from what was taken back.
        take_out(config.serving_path, [*planned.leaving, *streamed(config.serving_path)])
    except (ModelConfigError, OSError) as error:
        raise RollbackError(
            f"{config.serving_path} must be a folder that can be changed. Received: {error}. The models are revoked, "
            f"and the folder may still hold {', '.join(map(str, planned.leaving))}: run the same command again."
        ) from None


def _reasons(planned: Rollback, lineage: ModelLineage, reason: str) -> dict[int, str]:
    def why(model: Model) -> str:
        from_ = _came_from(model, planned, lineage)
        return reason if model.version in planned.named else f"descends from {from_}: {reason}"

    return {model.id: why(model) for model in planned.revoke}


def _came_from(model: Model, planned: Rollback, lineage: ModelLineage) -> int:
    """The version named that `one` descends from, the last if there are several."""
    for version in sorted(planned.named, reverse=True):
        if model.id in {other.id for other in lineage.with_descendants(lineage.of_version(version))}:
            return version
    return planned.named[-1]


def _of(model: Model, planned: Rollback, naming: Naming) -> str:
    what = "" if model.version in planned.named else f", descends from {', '.join(map(str, planned.named))}"
    return (
        f"{model.version}, of {naming.format(model.span)}{what}{'' if model.pushed is not None else ', never pushed'}"
    )


def _known(lineage: ModelLineage) -> str:
    clean = [
        str(model.version) for model in lineage.models if model.pushed is not None and not model.revoked and model.kept
    ]
    return f"Pushed and not revoked: {', '.join(clean[-10:]) or 'none'}."
