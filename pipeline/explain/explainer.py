"""Why a user is shown an item: what carried the score, what the item is near to, what the model learned it from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from components.span_example_gen.ids import read_id
from components.span_pusher.version_folder import versions
from pipeline.config import Config
from pipeline.config.root_address import decimal_ids_of
from pipeline.explain.trained_model import Ids, TrainedModel, load_ids, load_trained_model, newest_folder, read_history
from pipeline.ledger.models import ModelLineage, read_model_lineage
from serving.bundle import BundleError, Manifest
from serving.bundle.attribution import ScoreFn, item_vectors, nearest, place_of, score_fn_of, scores_without
from serving.bundle.protocols import UNAVAILABLE
from serving.bundle.saved_model import SavedModel
from trainer.models import ModelError
from trainer.models.attribution import Attribution
from trainer.train_state import StateError

_NOTHING = 5e-5  # what is shown as 0.0000 carries nothing
_CLOSE = 1e-4  # of the score: how exactly the shares must add up to what is served

Method = Literal["linear", "attention", "ridge", "left out"]

METHODS: Mapping[Method, str] = {
    "linear": "Linear shares: the score is a sum with one term for each event, whose weight depends on the event's "
    "place alone. The terms and what else there is add up to the score, but for rounding.",
    "attention": "Attention shares: the score is a sum with one term for each event, whose weight is the attention "
    "that it got beside the others. The terms and what else there is add up to the score, but for rounding; an event "
    "that is taken out leaves its attention to the others.",
    "ridge": "Ridge shares: the score is a sum with one term for each event, from the least squares fit of the user to "
    "the history (Hu, Koren and Volinsky 2008). The terms and what else there is add up to the score, but for "
    "rounding; an event that is taken out leaves more to be said by those like it.",
    "left out": "Left out: this model's score is no sum over events. Each event is taken out of the history and the "
    "model is asked again, which is exact for that one event; the falls need not add up to anything.",
}


class ExplainError(ValueError):
    """There is nothing to explain; the message says why."""


@dataclasses.dataclass(frozen=True)
class Event:
    """An event of the history.

    Attributes:
      item, title: what of.
      time: milliseconds since 1970.
      share: its term of the score; None where the score is no sum over events.
      fall: by how much the score falls when the history does not have it; negative where the score rises.
    """

    item: str
    title: str
    time: int
    share: float | None
    fall: float


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """An item near to the one that is explained, and the cosine of their vectors."""

    item: str
    title: str
    cosine: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why an item has its score.

    Attributes:
      user, item, title: of whom and what.
      version: the model's.
      score: what it answers.
      place, among: how many items score higher, plus one, and how many can be recommended; the history's count.
      method: how `share` came about, see `METHODS`.
      events: what the model sees of the history, what carried most first: by `share` where shares are linear, else by
        `fall`.
      rest: what the score has from elsewhere; empty where it is no sum.
      of_item: which parts the item's id and its features have in what speaks for it by vectors; empty without features,
        or where the score is no sum.
      named: how many of the first events are named as those that carried it.
      fall: by how much the score falls when all the named ones are taken out together.
      nearest: items with the likest vectors.
      learned: spans that the model and those it was trained from have learned.
      bases: versions that it was trained from, the nearest first.
      first_span, count: when the item was first seen, -1 for never, and how often it was trained on, up to the newest
        span.
      note: what can't be said, and why; else empty.
    """

    user: str
    item: str
    title: str
    version: int
    score: float
    place: int
    among: int
    method: Method
    events: tuple[Event, ...]
    rest: Mapping[str, float]
    named: int
    fall: float
    nearest: tuple[Neighbour, ...]
    learned: tuple[int, ...]
    bases: tuple[int, ...]
    first_span: int
    count: int
    note: str = ""
    of_item: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Explainer:
    """Explains scores of one model.

    Args:
      version: the model's.
      ask: what it answers, see `serving.bundle.attribution`.
      trained: the same as it was trained, for the shares; None to do without.
      ids: the ids behind the rows.
      items: ids of the items that it knows.
      vectors: float [items, d] of them; None without.
      learned, bases: see `Explanation`.
      note: what can't be said, and why.
    """

    def __init__(
        self,
        version: int,
        ask: ScoreFn,
        trained: TrainedModel | None,
        ids: Ids,
        items: Sequence[bytes],
        vectors: np.ndarray | None,
        learned: tuple[int, ...],
        bases: tuple[int, ...],
        note: str = "",
    ) -> None:
        self.version, self.ask, self.trained, self.ids, self.note = version, ask, trained, ids, note
        self.items, self.vectors, self.learned, self.bases = items, vectors, learned, bases

    def explain(
        self,
        user: bytes,
        item: bytes,
        history: Sequence[bytes],
        times: Sequence[int],
        length: int,
        named: int = 3,
        count: int = 10,
    ) -> Explanation:
        """Explains one score.

        Args:
          user, item: their ids.
          history, times: items, and milliseconds since 1970, oldest first.
          length: how many of the last events the model looks at.
          named: how many events to name as those that carried the score.
          count: how many items to name as nearest.

        Raises:
          ExplainError: the model does not know the item, or it is not available.
        """
        history, times = list(history)[-length:], list(times)[-length:]
        places = range(len(history))
        scores = scores_without(self.ask, user, history, item, [(), *((place,) for place in places)])
        score = float(scores[0])
        if score <= UNAVAILABLE:
            raise ExplainError(self._not_recommended(item))
        falls = score - scores[1:]
        shares, note = self._shares(user, history, item, score)
        # An event that gets attention takes it from others, and is counted besides: there the fall says more.
        weight = shares.events if shares is not None and shares.method == "linear" else falls
        order = sorted(places, key=lambda place: (-weight[place], -place))
        most = [place for place in order[:named] if weight[place] > _NOTHING]
        together = scores_without(self.ask, user, history, item, [most])[0] if most else score
        every = self.ask(user, [history], self.items)[0]
        # Asked alone, the score may differ in its last digits, and the item would stand behind itself.
        place, among = place_of(self.items.index(item), every)
        row = int(self.ids.items.lookup([item])[0]) - self.ids.items.first_row
        return Explanation(
            user=_text(user),
            item=_text(item),
            title=self.ids.title(item),
            version=self.version,
            score=score,
            place=place,
            among=among,
            method="left out" if shares is None else shares.method,
            events=tuple(
                Event(
                    item=_text(history[at]),
                    title=self.ids.title(history[at]),
                    time=times[at],
                    share=None if shares is None else float(shares.events[at]),
                    fall=float(falls[at]),
                )
                for at in order
            ),
            rest={} if shares is None else dict(shares.rest),
            of_item={} if shares is None else dict(shares.of_item),
            named=len(most),
            fall=score - float(together),
            nearest=self._nearest(item, count),
            learned=self.learned,
            bases=self.bases,
            first_span=int(self.ids.items.first_span[row]),
            count=int(self.ids.items.counts[row]),
            note=" ".join(sentence for sentence in (self.note, note) if sentence),
        )

    def _shares(
        self, user: bytes, history: Sequence[bytes], item: bytes, score: float
    ) -> tuple[Attribution | None, str]:
        """The terms of the score; None where there are none, or where they are not those of what is served."""
        shares = None if self.trained is None else self.trained.shares(user, history, item)
        if shares is None or abs(shares.total - score) <= _CLOSE * max(1.0, abs(score)):
            return shares, ""
        return None, (
            f"The trained model's terms add up to {shares.total:.4f} and the served score is {score:.4f}: the bundle "
            "keeps its items in fewer bits, or is pruned. So events are left out instead."
        )

    def _nearest(self, item: bytes, count: int) -> tuple[Neighbour, ...]:
        if self.vectors is None or item not in self.items:
            return ()
        neighbours = nearest(self.vectors, self.items.index(item), count)
        named = [(self.items[row], cosine) for row, cosine in neighbours]
        return tuple(Neighbour(_text(neighbour), self.ids.title(neighbour), cosine) for neighbour, cosine in named)

    def _not_recommended(self, item: bytes) -> str:
        if item in self.items:
            return (
                "`--item` must be an item that can be recommended. Received: "
                f"{_text(item)!r}, which the items file says is not available."
            )
        known = item in self.ids.items.ids.to_pylist()
        why = "which was seen only after this version was trained" if known else "which has no row of its own"
        return (
            f"`--item` must be an item that version {self.version} has learned. Received: {_text(item)!r}, {why}. It "
            f"knows {len(self.items):,} items."
        )


def explain(
    config: Config, user: str, item: str, version: int | None = None, named: int = 3, count: int = 10
) -> Explanation:
    """Explains what the bundle in TF Serving's folder answers; by default the newest version, which is served.

    Raises:
      ExplainError: nothing is served, or the user or the item is not known; the message says which.
    """
    rule = decimal_ids_of(config)
    user, item = read_id(user, rule), read_id(item, rule)
    key = user.encode()
    history, times = _history(config, key)
    explainer = served_explainer(config, version)
    return explainer.explain(key, item.encode(), history, times, config.history.length, named, count)


def served_explainer(config: Config, version: int | None = None) -> Explainer:
    """An `Explainer` of a version in TF Serving's folder.

    Raises:
      ExplainError: it is not there.
    """
    present = versions(config.serving_path)
    if not present or (version is not None and version not in present):
        there = ", ".join(map(str, present)) or "nothing; start with `warmspan run`"
        raise ExplainError(
            f"`--version` must be a version in {config.serving_path}. Received: {version or 'none'}. There: {there}."
        )
    chosen = present[-1] if version is None else version
    folder = config.serving_path / str(chosen)
    try:
        about = Manifest.read(folder).about
    except BundleError as error:
        raise ExplainError(str(error)) from None
    ids, lineage = _ids(config), read_model_lineage(config)
    trained, note = _trained(config, lineage, chosen, ids)
    model = SavedModel(config.name, chosen, folder)
    items = ids.items.ids.to_pylist() if trained is None else trained.items
    ask = score_fn_of(model)
    if trained is None:  # which of them it knows, it must say itself
        there = ask(b"", [[]], items)[0] > UNAVAILABLE
        items = [item_id for item_id, shown in zip(items, there, strict=True) if shown]
    vectors = item_vectors(model, items)
    if vectors is None and trained is not None:
        vectors = trained.vectors()
    return Explainer(
        chosen, ask, trained, ids, items, vectors, tuple(about.get("learned", ())), bases_of(lineage, chosen), note
    )


def bases_of(lineage: ModelLineage, version: int) -> tuple[int, ...]:
    """The versions that a version was trained from, the nearest first."""
    by_id, base_versions = {model.id: model for model in lineage.models}, []
    current = lineage.of_version(version)[-1:]
    while current:
        parents = [by_id[base] for base in current[0].bases if base in by_id]
        # Of a replay memory's models and the one that was fine-tuned, the latter is the nearest.
        current = sorted(parents, key=lambda model: -model.span)[:1]
        base_versions += [parent.version for parent in current]
    return tuple(base_versions)


def _trained(config: Config, lineage: ModelLineage, version: int, ids: Ids) -> tuple[TrainedModel | None, str]:
    models = [model for model in lineage.of_version(version) if model.pushed is not None] or lineage.of_version(version)
    if not models:
        return None, "The model's state is not in the ledger, so events are left out instead of shared."
    try:
        return load_trained_model(config, models[-1].uri, ids), ""
    except (StateError, ModelError) as error:
        return None, f"Without the model's state events are left out instead of shared: {error}"


def _ids(config: Config) -> Ids:
    folder = newest_folder(config, "WarmspanVocabulary")
    if folder is None:
        raise ExplainError("An explanation must have a run behind it. Received: none. Start with `warmspan run`.")
    return load_ids(config, folder)


def _history(config: Config, user: bytes) -> tuple[list[bytes], list[int]]:
    folder: Path | None = newest_folder(config, "WarmspanKeyHistory")
    history, times = ([], []) if folder is None else read_history(folder, user)
    if not history:
        raise ExplainError(
            f"`--user` must be a key with events that are kept. Received: {_text(user)!r}, of whom there is none. Ids "
            "are compared as text, leading zeros and case included."
        )
    return history, times


def _text(id_: bytes) -> str:
    return id_.decode("utf-8", "replace")
