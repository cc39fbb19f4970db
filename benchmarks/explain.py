"""Does an explanation say what is so? 200 random pairs of a real recommender, against brute force.

    python -m benchmarks.explain SETTINGS [--pairs 200] [--save FILE]

For random users of the history and random items, `warmspan explain`'s numbers, asked of the bundle in service, are
held against what the trained model itself scores without the events: the three named ones together, and each alone.
Where the score is a sum of shares, they must add up to it; where the shares are linear, an item whose vector is set to
nought must take exactly its events' shares out of the score. At the end stands what the three named events carry beside
three others that were drawn, which says whether they are the right ones to name.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from components.span_transform.history import shards_in
from pipeline.config import load_config
from pipeline.explain.explainer import Explainer, served_explainer
from pipeline.explain.trained_model import TrainedModel, newest_folder
from serving.bundle.protocols import UNAVAILABLE

_NAMED, _LEAST = 3, 4  # events that are named, and that a history must have so that there are others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path, help="of a recommender that serves")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    config = load_config(arguments.settings)
    explainer = served_explainer(config)
    assert explainer.trained is not None, "the served version's state must be there"
    folder = newest_folder(config, "WarmspanKeyHistory")
    assert folder is not None
    people = [row for path in shards_in(folder) for row in pq.read_table(path, columns=["key", "items"]).to_pylist()]
    people = [row for row in people if len(row["items"]) >= _LEAST]
    figures = measure(explainer, people, config.history.length, arguments.pairs)
    table = Table("figure", "value", show_edge=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:.3g}" if isinstance(value, float) else str(value))
    Console().print(table)
    if arguments.save:
        arguments.save.write_text(json.dumps(figures, indent=1) + "\n")


def measure(explainer: Explainer, people: list[dict], length: int, pairs: int) -> dict[str, float | int | str]:
    """The figures; largest differences are absolute."""
    random, trained = np.random.default_rng(1), explainer.trained
    assert trained is not None
    together: list[float] = []
    alone, sums, zeroed, seconds = list(together), list(together), list(together), list(together)
    named, others, methods = [], [], set()
    done = 0
    while done < pairs:
        person, item = people[random.integers(len(people))], explainer.items[random.integers(len(explainer.items))]
        if trained(b"", [[]], [item])[0, 0] <= UNAVAILABLE:
            continue
        user, history = person["key"], person["items"][-length:]
        began = time.perf_counter()
        explanation = explainer.explain(user, item, history, list(range(len(history))), length, _NAMED)
        seconds.append(time.perf_counter() - began)
        done += 1
        methods.add(explanation.method)
        out = {event.time for event in explanation.events[: explanation.named]}
        rest = [event.time for event in explanation.events[explanation.named :]]
        drawn = set(random.permutation(rest)[: explanation.named].tolist())
        gone = [set(), out, drawn, *({event.time} for event in explanation.events)]
        lists = [_without(history, places) for places in gone]
        scores = trained(user, lists, [item])[:, 0]
        together.append(abs(scores[0] - scores[1] - explanation.fall))
        alone += [
            abs(scores[0] - score - event.fall) for score, event in zip(scores[3:], explanation.events, strict=True)
        ]
        if explanation.named and len(drawn) == explanation.named:
            named.append(explanation.fall)
            others.append(float(scores[0] - scores[2]))
        if explanation.method != "left out":
            total = sum(event.share or 0.0 for event in explanation.events) + sum(explanation.rest.values())
            sums.append(abs(total - explanation.score))
        if explanation.method == "linear" and done <= 20:
            zeroed.append(_zeroed(trained, user, item, history, explanation.events))
    largest = {
        "of_the_fall_without_the_named_events": together,
        "of_the_fall_without_one_event": alone,
        "of_the_sum_of_shares_to_the_score": sums,
        "of_a_share_to_the_fall_with_the_item_unknown": zeroed,
    }
    return {
        "pairs": done,
        "method": ", ".join(sorted(methods)),
        **{
            f"largest_difference_{name}": float(max(differences))
            for name, differences in largest.items()
            if differences
        },
        "mean_fall_without_the_named_events": float(np.mean(named)),
        "mean_fall_without_as_many_others": float(np.mean(others)),
        "milliseconds_an_explanation": 1000 * float(np.median(seconds)),
    }


def _without(history: list[bytes], places: set[int]) -> list[bytes]:
    return [item for place, item in enumerate(history) if place not in places]


def _zeroed(trained: TrainedModel, user: bytes, item: bytes, history: list[bytes], events: tuple) -> float:
    """The score's fall with one item's vector set to nought, less the shares of its events."""
    gone = next((item_id for item_id in history if item_id != item and item_id in trained.items), None)
    if gone is None:
        return 0.0
    table = trained.model.item_embedding.embeddings
    before, row = table.numpy(), trained.ids.items.lookup([gone])[0]
    full = float(trained(user, [history], [item])[0, 0])
    table.assign(np.where(np.arange(len(before))[:, None] == row, 0, before))
    fall = full - float(trained(user, [history], [item])[0, 0])
    table.assign(before)
    return abs(fall - sum(event.share for event in events if event.item == gone.decode()))


if __name__ == "__main__":
    main()
