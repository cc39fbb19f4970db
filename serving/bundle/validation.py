"""Loads an export as a server would and asks it, before anybody else does: no Docker, no second machine."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving.bundle.index_settings import IndexSettings
from serving.bundle.manifest import BundleError, check_bundle
from serving.bundle.protocols import UNAVAILABLE
from serving.bundle.reference_answers import Reference
from serving.bundle.saved_model import SavedModel
from serving.bundle.warmup_requests import read_warm_up
from serving.errors import ServingError

_log = logging.getLogger(__name__)
_REQUESTS = 100  # that the latency is measured with


@dataclasses.dataclass(frozen=True)
class Validation:
    """What was found.

    Attributes:
      refusal: why the export must not be served, one sentence; '' where nothing speaks against it.
      figures: load_seconds, latency_ms (95th percentile of single requests), recall (of the trained model's best items)
        and size_ratio (bytes of the bundle by those of its tables), as far as it came.
    """

    refusal: str
    figures: dict[str, float]


class _Refused(Exception):
    pass


def validate(folder: str | Path, reference: Reference | None, latency_budget_ms: float) -> Validation:
    """Loads the bundle `folder` in a state of its own and asks it.

    Refused is a bundle whose parts disagree, one that does not load, one of whose signatures fails or answers something
    that is no number, one that does not answer what the trained model does (as far as `index.min_recall` in its
    manifest asks, where it is not exact), and one that takes longer than the budget.

    Args:
      folder: the bundle.
      reference: what the trained model answered; None to leave that question out.
      latency_budget_ms: for the 95th percentile of requests of one user each, asked one after the other.
    """
    figures: dict[str, float] = {}
    try:
        _validate(Path(folder), reference, latency_budget_ms, figures)
    except (_Refused, BundleError) as refusal:
        return Validation(str(refusal), figures)
    except ServingError as error:
        return Validation(f"The export must load and answer. Received: {_line(error)}.", figures)
    _log.info("The export was loaded back and asked: %s", figures)
    return Validation("", figures)


def _validate(folder: Path, reference: Reference | None, budget: float, figures: dict[str, float]) -> None:
    about = check_bundle(folder).about
    if "bytes" in about:
        figures["size_ratio"] = about["bytes"] / max(1, sum(about["tables"].values()))
    began = time.perf_counter()
    model = SavedModel("export", 1, folder)
    figures["load_seconds"] = time.perf_counter() - began
    try:
        _every_signature(model, folder, reference)
        if reference is not None and len(reference):
            _same_answers(model, reference, _index(about), figures)
        _in_time(model, folder, reference, budget, figures)
    finally:
        model.retire(lambda: None)


def _index(about: Mapping[str, Any]) -> IndexSettings:
    raw = about.get("index", {})
    known = {field.name for field in dataclasses.fields(IndexSettings)}
    return IndexSettings(**{name: value for name, value in raw.items() if name in known})


def _every_signature(model: SavedModel, folder: Path, reference: Reference | None) -> None:
    requests: list[tuple[str, Mapping[str, Any]]] = list(read_warm_up(folder))
    if reference is not None and reference.examples:
        requests.append(("evaluate", {"examples": np.array(reference.examples, object)}))
    if "evaluate_rows" in model.signatures:
        integer = np.ones(1, np.int64)
        position = {"key": integer, "history": integer[:, None], "item": integer, "weight": np.ones(1, np.float32)}
        for feature in model.signatures["evaluate_rows"].inputs.keys() - position.keys():
            of_words = model.signatures["evaluate_rows"].inputs[feature] == "int64"
            position[feature] = integer[:, None] if of_words else position["weight"]
        requests.append(("evaluate_rows", position))
    for name, inputs in requests:
        for output, values in model.run(name, inputs).items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise _Refused(f"Every signature must answer with numbers. Received: {output} of `{name}` has others.")


def _same_answers(model: SavedModel, reference: Reference, index: IndexSettings, figures: dict[str, float]) -> None:
    answers = []
    for position in range(len(reference)):
        answer = model.run("serving_default", reference.request(position))
        items, scores = answer["item_ids"][0].tolist(), answer["scores"][0]
        items = [item for item, score in zip(items, scores, strict=True) if score > UNAVAILABLE]
        answers.append(items)
        if index.lossless and (difference := reference.differs(position, items, scores.tolist())):
            raise _Refused(
                "An export must answer what the trained model does. Received: for user "
                f"{reference.users[position]!r} {difference}. Export it again."
            )
    figures["recall"] = reference.recall(answers)
    if not index.lossless and figures["recall"] < index.min_recall:
        raise _Refused(
            f"The index must find {index.min_recall:.1%} of the trained model's best {reference.k} "
            f"(`serving.index.min_recall`). Received: {figures['recall']:.1%} on {len(reference)} held-out events. "
            "Ask for more `probes`, a table of more bits or less `pruning`; or lower the bound and let the gate judge."
        )


def _in_time(
    model: SavedModel, folder: Path, reference: Reference | None, budget: float, figures: dict[str, float]
) -> None:
    requests = [] if reference is None else [reference.request(position) for position in range(len(reference))]
    requests = requests or [inputs for name, inputs in read_warm_up(folder) if name == "serving_default"]
    if not requests:
        return
    seconds: list[float] = []
    for number in range(_REQUESTS):
        began = time.perf_counter()
        model.run("serving_default", requests[number % len(requests)])
        seconds.append(time.perf_counter() - began)
        # What is far too slow is known before the hundredth request.
        if number >= 5 and sum(seconds) > 20 * budget / 1000:
            break
    figures["latency_ms"] = float(np.quantile(seconds, 0.95) * 1000)
    if figures["latency_ms"] > budget:
        raise _Refused(
            f"A request must be answered within {budget:g} ms (`serving.latency_budget_ms`). Received: "
            f"{figures['latency_ms']:.1f} ms for the slowest twentieth. Take an `approximate` index or a smaller "
            "model, or raise the budget."
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500].rstrip(".")
