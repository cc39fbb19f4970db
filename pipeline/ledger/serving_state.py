"""What is served now, what the next run starts from, and what that one owes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from components.span_pusher.streamed_versions import base_of
from components.span_pusher.version_folder import streamed, versions
from components.span_pusher.version_labels import read_labels
from components.update_decider.backoff import in_words, next_backoff
from pipeline.config import Config
from pipeline.ledger.models import Model, read_model_lineage
from pipeline.spans import Naming
from serving.tfs_config.model_config import ModelConfigError


@dataclasses.dataclass(frozen=True)
class ServingState:
    """How things stand.

    Attributes:
      served: the highest version in the folder, which is what is served without labels; None if it is empty.
      labels: label to version.
      champion: what the next run starts from; None before the first push.
      owed: spans that it has not learned, oldest first.
      revoked: reason to the versions that were taken back for it, in order.
      left: versions in the folder that were revoked: a rollback was cut off.
      problem: why the labels can't be read; empty if they can.
      streamed: the newest version that a stream has pushed, which is what is served without labels while it is there.
      learning: how the next update differs from the settings, and why: "learns at half the rate: …"; else empty.
    """

    served: int | None
    labels: Mapping[str, int]
    champion: Model | None
    owed: tuple[int, ...]
    revoked: Mapping[str, tuple[int, ...]]
    left: tuple[int, ...]
    problem: str = ""
    learning: str = ""
    streamed: int | None = None


def read_serving_state(config: Config) -> ServingState:
    """Reads the folder, the labels and ML Metadata."""
    present, lineage = versions(config.serving_path), read_model_lineage(config)
    champion = lineage.champion()
    pushed = [model for model in lineage.models if model.revoked and model.pushed is not None]
    rules = config.update.changed_after_refusal
    backoff = next_backoff(lineage.last_verdict, rules, config.data.dated)
    labels, problem = {}, ""
    try:
        labels = read_labels(config.models_config_path, config.name)
    except ModelConfigError as error:
        problem = str(error)
    return ServingState(
        served=present[-1] if present else None,
        labels=labels,
        champion=champion,
        owed=() if champion is None else lineage.owed(champion),
        revoked={
            reason: tuple(model.version for model in pushed if model.reason == reason)
            for reason in dict.fromkeys(model.reason for model in pushed)
        },
        left=tuple(version for version in present if version in lineage.revoked_versions),
        problem=problem,
        learning="" if champion is None else in_words(backoff, backoff.factors(rules)),
        streamed=next(iter(streamed(config.serving_path)[-1:]), None),
    )


def serving_state_lines(serving_state: ServingState, config: Config) -> list[str]:
    """The standing as lines of text."""
    if serving_state.labels:
        lines = [f"{name:10}{version}" for name, version in sorted(serving_state.labels.items(), reverse=True)]
        if serving_state.served not in serving_state.labels.values():
            lines.append(f"{'newest':10}{serving_state.served}, without a label")
    else:
        lines = [f"{'served':10}{serving_state.served or 'nothing'}"]
    if serving_state.streamed is not None:
        lines.append(
            f"{'streamed':10}{serving_state.streamed}, from {base_of(serving_state.streamed)}: the highest version, "
            "until the next night. `warmspan stream --discard` takes it out."
        )
    if serving_state.champion is not None:
        lines.append(f"{'champion':10}{serving_state.champion.version}")
        lines += owed_lines(serving_state.champion, serving_state.owed, config)
        lines += learning_lines(serving_state)
    lines += [
        f"{'revoked':10}{', '.join(map(str, versions_of))}: {why}" for why, versions_of in serving_state.revoked.items()
    ]
    if serving_state.left:
        lines.append(
            f"Still in the folder although revoked: {', '.join(map(str, serving_state.left))}. A rollback was cut off: "
            "give the same command again, or the next `warmspan run` ends it."
        )
    return [*lines, *([serving_state.problem] if serving_state.problem else [])]


def owed_now(config: Config) -> list[str]:
    """What the champion owes, and how it is caught up; nothing if it owes nothing and learns as the settings say."""
    serving_state = read_serving_state(config)
    if serving_state.champion is None:
        return []
    return [*owed_lines(serving_state.champion, serving_state.owed, config), *learning_lines(serving_state)]


def learning_lines(serving_state: ServingState) -> list[str]:
    """How the next update differs from the settings; nothing if it does not."""
    return [f"{'next':10}Fine-tuning {serving_state.learning}."] if serving_state.learning else []


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
