"""What a bundle of fewer bits and fewer weights saves on the disk and in a request, and what recall it costs.

    python -m benchmarks.served_size DATA [--model two_tower] [--width 64] [--seeds 3] [--events 5000]
        [--results FOLDER]

DATA is that of `continual_sessions`. For each seed a model learns the first span; recall@20 is what the graph that is
served, `evaluate_rows`, says of the next span's first events, of the items that there were in the first. Nothing that
was seen is left out. Size and time are those of the first seed's bundles: bytes of all files, the same as a .tar.gz,
and the median of `recommend` for one user at a time, asked of one bundle after the other in turns. With `--results`
the figures go into `served_size.json` of that folder, under the model's name, as they come.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.continual_sessions import HALF_LIFE
from benchmarks.session_spans import SessionSpans, read_spans
from serving.bundle import write_bundle
from serving.bundle.index_settings import IndexSettings
from serving.bundle.protocols import Catalogue
from serving.bundle.pruning import pruned
from serving.bundle.saved_model import SavedModel
from serving.bundle.signatures import Signatures
from trainer.models.base import Recommender, TableSizes
from trainer.models.pruned_weights import tables_and_kernels
from trainer.settings import ModelSpec, Policy
from trainer.update import Span, update

K, LENGTH, BATCH, TURNS, REQUESTS = 20, 20, 250, 5, 40
BUNDLES = {
    "full": IndexSettings(),
    "float16": IndexSettings(table="float16"),
    "int8": IndexSettings(table="int8"),
    "pruned .5": IndexSettings(pruning=0.5),
    "pruned .8": IndexSettings(pruning=0.8),
    "int8, pruned .5": IndexSettings(table="int8", pruning=0.5),
    "int8, pruned .8": IndexSettings(table="int8", pruning=0.8),
}
# Of `continual_sessions`, for fewer epochs.
_HOW = Policy(epochs=3, cold_epochs=3, batch_size=200, optimizer="adam", learning_rate=0.008, clip_norm=None)
_PARAMS: dict[str, dict[str, Any]] = {"two_tower": {"key_embedding": False}, "sasrec": {"neighbours": 0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=list(_PARAMS), default="two_tower")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--results", type=Path, help="the folder of served_size.json")
    given = parser.parse_args()
    spans = read_spans(given.data / "events", "session_id", "item_id", "timestamp")
    spec = ModelSpec(given.model, {**_PARAMS[given.model], "dimension": given.width}, LENGTH)
    items = spans.items_until(0) - spans.first_row
    about = {"data": given.data.name, "model": dataclasses.asdict(spec), "items": items, "events": given.events}
    rows: dict[str, dict[str, Any]] = {name: {"recall@20 by seed": []} for name in BUNDLES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, given.seeds + 1):
            model = learned(spans, spec, seed)
            for name, settings in BUNDLES.items():
                write_to = Path(folder) / name if seed == 1 else None
                rows[name]["recall@20 by seed"].append(served_recall(model, spans, settings, given.events, write_to))
                by_seed = rows[name]["recall@20 by seed"]
                rows[name] |= {"recall@20": statistics.fmean(by_seed)}
                rows[name] |= {"recall@20 spread": max(by_seed) - min(by_seed)}
                if write_to is not None:
                    rows[name] |= sizes(write_to)
                print(seed, name, rows[name], flush=True)
            if seed == 1:
                for name, milliseconds in latencies(Path(folder), items).items():
                    rows[name]["recommend p50 ms"] = milliseconds
                about["load average"] = round(os.getloadavg()[0], 1)
            keep(given.results, given.model, {**about, "seeds": seed, "bundles": rows})
    for name, row in rows.items():
        print(f"{name:16}", json.dumps(row), flush=True)


def learned(spans: SessionSpans, spec: ModelSpec, seed: int) -> Recommender:
    """The model after the first span."""
    kept, held_out = spans.split(0, 0.05, seed)
    sizes = TableSizes(spans.items_until(0), 2, spans.first_row)
    how = dataclasses.replace(_HOW, seed=seed)
    popularity = spans.popularity(0, HALF_LIFE, held_out)
    return update(spec, sizes, [Span(1, kept)], held_out.positions(), popularity, how).model


def served_recall(
    model: Recommender, spans: SessionSpans, settings: IndexSettings, events: int, folder: Path | None
) -> float:
    """In percent, of what `settings` make of the model; written as the bundle `folder` where there is one."""
    items = model.sizes.items - model.sizes.first_row
    ids = [item_id(number) for number in range(items)]
    catalogue = Catalogue(ids, [b"nobody"], {}, model.sizes.first_row)
    tables, kernels = tables_and_kernels(model)
    model.freeze()
    with pruned(tables, kernels, settings.pruning):
        made = Signatures(model, catalogue, K, K, False, settings, "benchmark")
        batches = spans.test_positions(1).take(np.arange(events)).dataset(BATCH, model.history_length)
        recall = [
            made.evaluate_rows(*(batch[name] for name in ("key", "history", "item", "weight")))["recall"].numpy()
            for batch in batches
        ]
        if folder is not None:
            write_bundle(made, folder, {})
    return 100 * float(np.concatenate(recall).mean())


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of a bundle: all files, the variables alone, and all as a .tar.gz."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        archive.add(folder, "bundle")
    return {
        "bytes": sum(path.stat().st_size for path in files),
        "bytes of variables": sum(path.stat().st_size for path in files if path.parent.name == "variables"),
        "bytes compressed": len(packed.getvalue()),
    }


def latencies(folder: Path, items: int) -> dict[str, float]:
    """Median milliseconds of single requests, all bundles in turns so that what else runs meets them alike."""
    models = {name: SavedModel("bundle", 1, folder / name) for name in BUNDLES}
    random = np.random.default_rng(1)
    nothing = np.array([[b""]], object)
    requests = [
        {
            "user_id": np.array([b"nobody"], object),
            "history": np.array([[item_id(number) for number in random.integers(0, items, 3)]], object),
            "exclude": nothing,
            "candidates": nothing,
            "k": np.zeros(1, np.int32),
        }
        for _ in range(REQUESTS)
    ]
    seconds: dict[str, list[float]] = {name: [] for name in BUNDLES}
    for model in models.values():
        model.warm_up()
    for _ in range(TURNS):
        for name, model in models.items():
            for request in requests:
                began = time.perf_counter()
                model.run("recommend", request)
                seconds[name].append(time.perf_counter() - began)
    for model in models.values():
        model.retire(lambda: None)
    return {name: round(1000 * statistics.median(of), 3) for name, of in seconds.items()}


def item_id(number: int) -> bytes:
    return b"item-%06d" % number


def keep(folder: Path | None, model: str, figures: dict[str, Any]) -> None:
    if folder is None:
        return
    path = folder / "served_size.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, model: figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
