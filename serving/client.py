"""A small typed client, for the embedded server and TensorFlow Serving alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError, TimeoutError

RETRIED_STATUS = (429, 502, 503)
MAX_BACKOFF_SECONDS = 5.0


class ClientError(Exception):
    """No answer, or a refusal: one sentence that says what to do. `status` is the HTTP status, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Recommendation:
    """One item and its score; `title` is None when the model was exported without titles.

    `columns` holds what else comes along, by the name of its column in the items file.
    """

    item: str
    score: float
    title: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ModelVersion:
    """One version and its state (START, LOADING, AVAILABLE, UNLOADING, END); `error` is None when all is well."""

    version: int
    state: str
    error: str | None = None


@dataclass(frozen=True)
class Embeddings:
    """The vectors of a user and of items; an item that the model does not know has zeros."""

    user: list[float]
    items: Mapping[str, list[float]]


Features = Mapping[str, "str | float | Sequence[str] | None"]
"""By name a text, a number, several words, or None where it is missing."""


class _Retry(urllib3.Retry):
    def increment(
        self, method: Any = None, url: Any = None, response: Any = None, error: Any = None, *rest: Any, **named: Any
    ) -> _Retry:
        # A server too slow for this timeout gets no second request on top: that would be what keeps it slow.
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, *rest, **named)


class Client:
    """Asks one model. Connections are kept and reused; one client may be shared by threads.

    A refused or broken connection and an overloaded server (429, 502, 503) are tried again with growing pauses;
    predictions change nothing on the server, so that asking twice is safe. Everything else fails at once.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8501",
        model: str = "default",
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 5.0,
        retries: int = 3,
        connections: int = 10,
    ) -> None:
        """Connects nowhere yet.

        Args:
          url: where the server listens, without a path.
          model: the model's name.
          version: ask this version only. Default: the newest one in service.
          label: ask the version with this label.
          timeout: seconds to wait for a connection, and again for an answer.
          retries: how many more attempts after a failed one.
          connections: how many are kept open.
        """
        if version is not None and label is not None:
            raise ValueError(
                f"At most one of `version` and `label` must be given. Received: version {version} and label {label!r}. "
                "Leave one of them out."
            )
        part = f"/versions/{version}" if version is not None else f"/labels/{label}" if label is not None else ""
        self.url = url.rstrip("/")
        self.model = model
        self._timeout = timeout
        self._path = f"{self.url}/v1/models/{model}{part}"
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            timeout=timeout,
            retries=_Retry(
                total=retries,
                status_forcelist=RETRIED_STATUS,
                allowed_methods=None,
                backoff_factor=0.1,
                backoff_max=MAX_BACKOFF_SECONDS,
                backoff_jitter=0.1,
                redirect=False,
                raise_on_status=False,
            ),
        )

    def recommend(
        self,
        user_id: str,
        history: Sequence[str] = (),
        k: int = 10,
        *,
        exclude: Sequence[str] = (),
        candidates: Sequence[str] = (),
        features: Features | None = None,
    ) -> list[Recommendation]:
        """The best items for a user, best first: at most `k`, fewer when the model was exported with fewer.

        Args:
          user_id: the user; "" for nobody in particular.
          history: the user's items, oldest first. They are left out of the answer.
          k: how many.
          exclude: items that are left out too.
          candidates: the only items that may be answered; without any all of them may.
          features: what is known of the user and the moment, by name, for a model that learned from such.

        Raises:
          ClientError: the server does not answer or refuses.
        """
        if k < 1:
            raise ClientError(f"`k` must be at least 1. Received: {k}.")
        instance: dict[str, Any] = {"user_id": _text("user_id", user_id), "history": _texts("history", history)}
        signature = "serving_default"
        if exclude or candidates or features:
            signature = "recommend"
            instance |= {"exclude": _texts("exclude", exclude), "candidates": _texts("candidates", candidates), "k": k}
        if features:
            instance["features"], signature = _pairs(features), f"{signature}_in_context"
        row = self._row(instance, signature, ("item_ids", "scores"))
        titles = row.pop("titles", None) or [None] * len(row["item_ids"])
        items, scores = row.pop("item_ids"), row.pop("scores")
        recommendations = [
            Recommendation(item, float(score), title or None, {name: texts[at] for name, texts in row.items()})
            for at, (item, score, title) in enumerate(zip(items, scores, titles, strict=True))
        ]
        # Where the model found fewer items than it was exported for, the rest of the row is padding.
        return [recommendation for recommendation in recommendations if recommendation.item][:k]

    def rank(
        self, user_id: str, history: Sequence[str], candidates: Sequence[str], *, features: Features | None = None
    ) -> list[Recommendation]:
        """The candidates with their scores, best first; equal scores keep their order.

        Raises:
          ClientError: the server does not answer or refuses, or there are no candidates.
        """
        if not candidates:
            raise ClientError("`candidates` must name at least one item. Received: none.")
        items = _texts("candidates", candidates)
        instance: dict[str, Any] = {"user_id": _text("user_id", user_id), "history": _texts("history", history)}
        instance["candidates"] = items
        if features:
            instance["features"] = _pairs(features)
        row = self._row(instance, "rank_in_context" if features else "rank", ("scores",))
        ranked = [Recommendation(item, float(score)) for item, score in zip(items, row["scores"], strict=True)]
        return sorted(ranked, key=lambda recommendation: recommendation.score, reverse=True)

    def embed(
        self,
        user_id: str,
        history: Sequence[str] = (),
        items: Sequence[str] = (),
        *,
        features: Features | None = None,
    ) -> Embeddings:
        """The vectors of a user with a history, and of items. Not every model has such: see `docs/serving-model.md`.

        Raises:
          ClientError: the server does not answer or refuses, or the model has no vectors.
        """
        names = _texts("items", items)
        instance: dict[str, Any] = {"user_id": _text("user_id", user_id), "history": _texts("history", history)}
        instance["items"] = names
        if features:
            instance["features"] = _pairs(features)
        row = self._row(instance, "embed_in_context" if features else "embed", ("user_vectors", "item_vectors"))
        return Embeddings(row["user_vectors"], dict(zip(names[: len(items)], row["item_vectors"], strict=False)))

    def predict(self, instances: Sequence[Any], signature_name: str = "serving_default") -> list[Any]:
        """The predictions of any signature, one for each instance; TF Serving's row format both ways.

        Raises:
          ClientError: the server does not answer or refuses.
        """
        body = {"signature_name": signature_name, "instances": list(instances)}
        answer = self._ask("POST", ":predict", body)
        if not isinstance(answer, dict) or not isinstance(answer.get("predictions"), list):
            raise ClientError(f"{self.url} must answer with `predictions`; is it TF Serving? Received: {answer!r:.200}")
        return answer["predictions"]

    def status(self) -> list[ModelVersion]:
        """The versions of the model the server knows of, newest first.

        Raises:
          ClientError: the server does not answer, or has no such model.
        """
        answer = self._ask("GET")
        return [
            ModelVersion(
                int(version["version"]), version["state"], version.get("status", {}).get("error_message") or None
            )
            for version in answer["model_version_status"]
        ]

    def metadata(self) -> dict[str, Any]:
        """Name, version and signatures of the version that answers, as the server prints them.

        Raises:
          ClientError: the server does not answer, or has no such model.
        """
        return self._ask("GET", "/metadata")

    def close(self) -> None:
        """Closes the kept connections."""
        self._pool.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _row(self, instance: Mapping[str, Any], signature: str, outputs: tuple[str, ...]) -> dict[str, Any]:
        (row,) = self.predict([instance], signature)
        # A single output loses its name on the way.
        if not isinstance(row, dict):
            row = {outputs[0]: row}
        if missing := [name for name in outputs if name not in row]:
            raise ClientError(
                f"The `{signature}` signature of model {self.model!r} must give {', '.join(outputs)}. Missing: "
                f"{', '.join(missing)}. Serve a model that warmspan exported."
            )
        return row

    def _ask(self, method: str, suffix: str = "", body: Any = None) -> Any:
        url = self._path + suffix
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._pool.request(method, url, body=data, headers={"Content-Type": "application/json"})
        except HTTPError as error:
            raise ClientError(self._unanswered(error)) from None
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if response.status != 200:
            raise ClientError(self._refused(response.status, answer, response.data), response.status)
        if answer is None:
            raise ClientError(f"{url} must answer with JSON; is it a TF Serving? Received: {response.data[:100]!r}.")
        return answer

    def _unanswered(self, error: HTTPError) -> str:
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        # urllib3 counts a refused connection among its timeouts.
        if isinstance(cause, TimeoutError) and not isinstance(cause, NewConnectionError):
            return f"{self.url} did not answer within {self._timeout:g} s: raise `timeout`, or look at its load."
        return f"Nothing answers at {self.url}: start `warmspan serve`, or correct the address ({cause})."

    def _refused(self, status: int, answer: Any, raw: bytes) -> str:
        words = answer.get("error") if isinstance(answer, dict) else None
        words = words or raw[:200].decode("utf-8", "replace").strip() or "no reason given"
        if status == 404:
            return f"{self.url} serves no such model: correct the name {self.model!r}, or push a version ({words})."
        if status in RETRIED_STATUS:
            return f"{self.url} is overloaded: send less, or try again later ({words})."
        if status >= 500:
            return f"{self.url} failed with status {status}: look at its log ({words})."
        return f"{self.url} refused the request: correct it as its words say ({words})."


def _texts(name: str, ids: Sequence[str]) -> list[str]:
    # An empty string is padding: one keeps the row from being empty, which not every graph takes.
    return [_text(name, id_) for id_ in ids] or [""]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ClientError(f"`{name}` must hold ids as strings, as they stand in the events. Received: {value!r}.")
    return value


def _pairs(features: Features) -> list[list[str]]:
    """Pairs of name and text; of several words one each, of None none, and never no pair at all."""
    pairs = []
    for name, value in features.items():
        values = [value] if value is None or isinstance(value, str | int | float) else value
        pairs += [[name, each if isinstance(each, str) else repr(each)] for each in values if each is not None]
    return pairs or [["", ""]]
