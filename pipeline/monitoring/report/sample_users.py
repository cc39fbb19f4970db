"""What some users were recommended before the last push and are after it, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.config import Config
from pipeline.explain.explainer import Explainer, ExplainError, Explanation, bases_of
from pipeline.explain.trained_model import Ids, TrainedModel, load_ids, load_trained_model
from pipeline.ledger.models import Model, ModelLineage
from pipeline.monitoring.report.model_lineage import learned_spans
from serving.bundle.protocols import UNAVAILABLE
from trainer.held_out_parts import held_out_files
from trainer.input_pipeline import Positions, read_held_out
from trainer.models import ModelError
from trainer.train_state import StateError

USERS, ITEMS, EXPLAINED = 3, 5, 2


@dataclasses.dataclass(frozen=True)
class Item:
    """A recommended item, its title, and its place before the push from 1; None where it had none among the first."""

    id: str
    title: str
    place_before: int | None


@dataclasses.dataclass(frozen=True)
class SampleUser:
    """A user with held-out events.

    Attributes:
      user: the id.
      history: items that the model looks at, oldest first, with titles.
      next: the item that came next, which no model had seen, and its title.
      before, after: the best items by the model before the push, empty without one, and by the pushed one.
      why: of the first of `after`; None where there is no room or nothing to say.
    """

    user: str
    history: tuple[tuple[str, str], ...]
    next: tuple[str, str]
    before: tuple[Item, ...]
    after: tuple[Item, ...]
    why: Explanation | None


@dataclasses.dataclass(frozen=True)
class SampleUsers:
    """Some users.

    Attributes:
      before, after: versions; `before` is None where nothing was in service, or it is not at hand any more.
      users: the users.
      note: why there are none; else empty.
    """

    before: int | None
    after: int | None
    users: tuple[SampleUser, ...]
    note: str = ""


def read_sample_users(
    config: Config, lineage: ModelLineage, served: int | None, held_out: Path | None, vocabulary: Path | None
) -> SampleUsers:
    """Asks the served version and the one before it, both as they were trained.

    Args:
      config: settings.
      family: all models.
      served: the version.
      held_out: the held-out positions of the span that it was pushed on.
      vocabulary: the newest.
    """
    pushed = [model for model in lineage.models if model.version == served and model.pushed is not None]
    if not pushed or held_out is None or vocabulary is None:
        return SampleUsers(None, served, (), "Nothing is served, or its held-out events are not kept any more.")
    before = _before(lineage, pushed[-1])
    try:
        ids = load_ids(config, vocabulary)
        new = load_trained_model(config, pushed[-1].uri, ids)
        old = None if before is None else _if_there(config, before, ids)
        positions = read_held_out(held_out_files(held_out))[0].in_rows(ids.numbering)
    except (StateError, ModelError, OSError, ValueError) as error:
        return SampleUsers(None, served, (), f"The models could not be asked: {error}")
    version, spans = pushed[-1].version, learned_spans(pushed[-1]) or ()
    explainer = Explainer(version, new, new, ids, new.items, None, spans, bases_of(lineage, version))
    sample_users = [
        _person(config, explainer, old, new, ids, positions, at, explained=number < EXPLAINED)
        for number, at in enumerate(_chosen(positions, ids))
    ]
    note = "" if sample_users else "No held-out event is of a user with a history."
    return SampleUsers(None if before is None or old is None else before.version, served, tuple(sample_users), note)


def _if_there(config: Config, model: Model, ids: Ids) -> TrainedModel | None:
    """None where the artifact was removed, or is of another model than the settings now have."""
    try:
        return load_trained_model(config, model.uri, ids)
    except (StateError, ModelError):
        return None


def _before(lineage: ModelLineage, pushed: Model) -> Model | None:
    """The model that was in service before: the last clean one of an earlier span."""
    clean = [
        model for model in lineage.models if model.pushed is not None and not model.revoked and model.span < pushed.span
    ]
    return max(clean, key=lambda model: (model.span, model.version), default=None)


def _chosen(positions: Positions, ids: Ids) -> list[int]:
    """The first held-out position of a few users, spread over those with the longest histories: always the same."""
    first = ids.keys.first_row
    events_by_key: dict[int, int] = {}
    lengths = positions.end - positions.begin
    for at in np.argsort(positions.timestamp, kind="stable"):
        key = int(positions.key[at])
        if first <= key < ids.keys.size and lengths[at] > 0:
            events_by_key.setdefault(key, int(at))
    longest = sorted(events_by_key.values(), key=lambda at: (-lengths[at], at))
    return longest[: 3 * USERS : 3] if len(longest) >= 3 * USERS else longest[:USERS]


def _person(
    config: Config,
    explainer: Explainer,
    old: TrainedModel | None,
    new: TrainedModel,
    ids: Ids,
    positions: Positions,
    at: int,
    explained: bool,
) -> SampleUser:
    user = ids.keys.ids_of([positions.key[at]])[0].as_py()
    rows = positions.items[positions.begin[at] : positions.end[at]][-config.history.length :]
    history = [item_id for item_id in ids.items.ids_of(rows[rows < ids.items.size]).to_pylist() if item_id is not None]
    seen = set(history) if config.push.exclude_seen else set()
    earlier = [] if old is None else _best(old, user, history, seen)
    places = {item_id: place for place, item_id in enumerate(earlier, 1)}
    best = _best(new, user, history, seen)[:ITEMS]

    def shown(items: Sequence[bytes]) -> tuple[Item, ...]:
        return tuple(Item(_text(item), ids.title(item), places.get(item)) for item in items)

    why = None
    if explained and best:
        try:
            times = [0] * len(history)
            why = explainer.explain(user, best[0], history, times, config.history.length, count=0)
        except ExplainError:
            why = None
    wanted = ids.items.ids_of([positions.target[at]])[0].as_py() or b""
    return SampleUser(
        user=_text(user),
        history=tuple((_text(item_id), ids.title(item_id)) for item_id in history),
        next=(_text(wanted), ids.title(wanted)),
        before=shown(earlier[:ITEMS]),
        after=shown(best),
        why=why,
    )


def _best(model: TrainedModel, user: bytes, history: Sequence[bytes], seen: set[bytes]) -> list[bytes]:
    """Every item that can be recommended, best first."""
    items = model.items
    scores = model(user, [history], items)[0]
    order = np.argsort(-scores, kind="stable")
    return [items[at] for at in order if scores[at] > UNAVAILABLE and items[at] not in seen]


def _text(id_: bytes) -> str:
    return id_.decode("utf-8", "replace")
