"""What is left to be done after somebody, or a day, was forgotten.

The weights of a model can't unlearn. Until one was trained from fresh weights without the forgotten, the champion is
one that learned from them; then the older ones are taken back and their files go.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from components.span_pusher.published_versions import SEEN_AFTER
from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.erasure.journal import journal_path
from pipeline.ledger.artifacts import MEMORY, MODEL, PipelineArtifacts, read_artifacts
from pipeline.ledger.models import LEARNED, Model, ModelLineage, model_lineage_in
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.rollback import Rollback, RollbackError, plan_without, take_back
from pipeline.spans import Naming

_REASON = "learned from somebody who was forgotten"
_STATE = "SpanTransform/history"

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PendingErasure:
    """What is left to be done.

    Attributes:
      champion: the champion, if it learned from somebody who was forgotten.
      older: models that did and can be taken back, because the champion did not.
      again: spans that stood on a forgotten one and have to be run again, oldest first.
      last: the last span that was run.
    """

    champion: Model | None
    older: tuple[Model, ...]
    again: tuple[int, ...]
    last: int | None

    @property
    def empty(self) -> bool:
        return self.champion is None and not self.older and not self.again


def read_pending(config: Config) -> PendingErasure:
    """Reads it from ML Metadata; nothing was ever forgotten is nothing due."""
    forgotten, store = SuppressionList.load(config.suppression_list_path), open_store(config)
    if forgotten is None or store is None:
        return PendingErasure(None, (), (), None)
    records, lineage = read_artifacts(config, store), model_lineage_in(store, config.name)
    return _pending(records, lineage, forgotten)


def pending_lines(pending: PendingErasure, config: Config) -> list[str]:
    """The same for a person, with the command that does it."""
    naming = Naming(config.data.dated)
    lines = []
    if journal_path(config).exists():
        lines.append(f"{'erasure':10}One was cut off, ids are still there: `warmspan forget` or the next run ends it.")
    if pending.again:
        first, last = (naming.format(span) for span in (pending.again[0], pending.again[-1]))
        which = first if first == last else f"{first} to {last}"
        lines.append(f"{'erasure':10}{which} stood on a day that was forgotten: `warmspan run --from {first} --redo`.")
    elif pending.champion is not None and pending.last is not None:
        again = f"`warmspan run --span {naming.format(pending.last)} --redo --decide retrain`"
        lines.append(
            f"{'erasure':10}Champion {pending.champion.version} learned from somebody who was forgotten. To train one "
            f"that did not: {again}."
        )
    elif pending.older:
        named = ", ".join(str(model.version) for model in pending.older)
        lines.append(f"{'erasure':10}Learned from somebody who was forgotten: {named}. `warmspan forget` removes them.")
    return lines


def revoke_older(config: Config) -> tuple[int, ...]:
    """Revokes the older models and removes their files, once the champion is one that did not learn from the forgotten.

    Returns:
      Their versions.

    Raises:
      RollbackError: the served folder can't be changed.
      LockedError: a run is going on.
    """
    with exclusive(config):
        forgotten, store = SuppressionList.load(config.suppression_list_path), open_store(config)
        if forgotten is None or store is None:
            return ()
        records, lineage = read_artifacts(config, store), model_lineage_in(store, config.name)
        pending = _pending(records, lineage, forgotten)
        if pending.champion is not None or not pending.older:
            return ()
        from pipeline.operations.garbage_collection import remove

        planned = _rollback(config, lineage, pending.older)
        take_back(config, planned, {model.id: _REASON for model in planned.revoke}, SEEN_AFTER)
        versions = {model.version for model in pending.older}
        gone = [record for record in (*records.of(MODEL), *records.of(MEMORY)) if record.version in versions]
        remove(config, store, gone)
        return tuple(sorted(versions))


def _pending(records: PipelineArtifacts, lineage: ModelLineage, forgotten: SuppressionList) -> PendingErasure:
    learned = _learned(records)
    champion = lineage.champion()
    tainted = champion is not None and champion.id in learned
    older = [model for model in lineage.models if model.id in learned and model.kept]
    states = [record for record in records.all if record.kind == _STATE]
    live = {state.span for state in states if state.live}
    begin = min(forgotten.spans, default=None)
    again = {state.span for state in states} - live - set(forgotten.spans)
    spans = {state.span for state in states} - set(forgotten.spans)
    return PendingErasure(
        champion=champion if tainted else None,
        older=() if tainted or champion is None else tuple(older),
        again=tuple(sorted(span for span in again if begin is not None and span > begin)),
        last=max(spans, default=None),
    )


def _learned(records: PipelineArtifacts) -> set[int]:
    """Ids of the models that learned from the forgotten, themselves or through the model that they started from."""
    models = [record for record in records.all if record.kind == MODEL]
    learned = {model.id for model in models if model.properties.get(LEARNED)}
    versions = {model.version for model in models if model.id in learned}
    for model in models:  # in the order in which they were trained
        if model.properties.get("parent") and model.properties["parent"] in versions:
            learned.add(model.id)
            versions.add(model.version)
    return learned


def _rollback(config: Config, lineage: ModelLineage, models: Sequence[Model]) -> Rollback:
    try:
        return plan_without(config, lineage, models, models)
    except RollbackError as error:
        raise RollbackError(f"Models that learned from the forgotten can't be taken back yet. {error}") from None
