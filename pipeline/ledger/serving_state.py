"""What is served now, what the next run starts from, and what that one owes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from components.span_pusher.version_folder import versions
from components.span_pusher.version_labels import read_labels
from pipeline.config import Config
from pipeline.ledger.models import Model, read_models
from pipeline.spans import Naming
from serving.tfs_config.model_config import ModelConfigError


@dataclasses.dataclass(frozen=True)
class Standing:
    """How things stand.

    Attributes:
      served: the highest version in the folder, which is what is served without labels; None if it is empty.
      labels: label to version.
      champion: what the next run starts from; None before the first push.
      owed: spans that it has not learned, oldest first.
      revoked: reason to the versions that were taken back for it, in order.
      left: versions in the folder that were revoked: a rollback was cut off.
      problem: why the labels can't be read; empty if they can.
    """

    served: int | None
    labels: Mapping[str, int]
    champion: Model | None
    owed: tuple[int, ...]
    revoked: Mapping[str, tuple[int, ...]]
    left: tuple[int, ...]
    problem: str = ""


def read_standing(config: Config) -> Standing:
    """Reads the folder, the labels and ML Metadata."""
    present, family = versions(config.serving_path), read_models(config)
    champion = family.champion()
    pushed = [one for one in family.models if one.revoked and one.pushed is not None]
    labels, problem = {}, ""
    try:
        labels = read_labels(config.models_config_path, config.name)
    except ModelConfigError as error:
        problem = str(error)
    return Standing(
        served=present[-1] if present else None,
        labels=labels,
        champion=champion,
        owed=() if champion is None else family.owed(champion),
        revoked={
            reason: tuple(one.version for one in pushed if one.reason == reason)
            for reason in dict.fromkeys(one.reason for one in pushed)
        },
        left=tuple(version for version in present if version in family.revoked_versions),
        problem=problem,
    )


def standing_lines(standing: Standing, config: Config) -> list[str]:
    """The standing as lines of text."""
    if standing.labels:
        lines = [f"{name:10}{version}" for name, version in sorted(standing.labels.items(), reverse=True)]
        if standing.served not in standing.labels.values():
            lines.append(f"{'newest':10}{standing.served}, without a label")
    else:
        lines = [f"{'served':10}{standing.served or 'nothing'}"]
    if standing.champion is not None:
        lines.append(f"{'champion':10}{standing.champion.version}")
        lines += owed_lines(standing.champion, standing.owed, config)
    lines += [f"{'revoked':10}{', '.join(map(str, found))}: {why}" for why, found in standing.revoked.items()]
    if standing.left:
        lines.append(
            f"Still in the folder although revoked: {', '.join(map(str, standing.left))}. A rollback was cut off: give "
            "the same command again, or the next `warmspan run` ends it."
        )
    return [*lines, *([standing.problem] if standing.problem else [])]


def owed_now(config: Config) -> list[str]:
    """What the champion owes, and how it is caught up; nothing if it owes nothing."""
    standing = read_standing(config)
    return [] if standing.champion is None else owed_lines(standing.champion, standing.owed, config)


def owed_lines(champion: Model, owed: tuple[int, ...], config: Config) -> list[str]:
    """Which spans the champion owes, and what the next run does about them."""
    if not owed:
        return []
    naming, most = Naming(config.data.dated), config.update.max_owed_spans
    lines = [f"{'owed':10}{', '.join(map(naming.format, owed))}"]
    if len(owed) > most:
        lines.append(
            f"{'':10}More than update.max_owed_spans {most}: the next run trains from fresh weights on its last "
            f"{config.update.retrain_spans} spans."
        )
    else:
        lines.append(f"{'':10}The next run starts from {champion.version} and trains on them before its own span.")
    lines.append(f"{'':10}To do that now: `warmspan run --span {naming.format(owed[-1])} --redo`.")
    again = f"`warmspan run --from {naming.format(owed[0])} --redo`"
    lines.append(f"{'':10}If files of theirs were bad, mend them and run all again: {again}.")
    return lines
