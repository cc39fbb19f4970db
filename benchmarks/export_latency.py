"""What a request to an exported model costs, against the least that it could: a product and a partition in NumPy.

    python -m benchmarks.export_latency [--items 100000] [--width 64] [--repeats 15] [--max-k 100]

A two-tower with made-up vectors (in clusters, as learned ones are) is exported with each index, loaded as the embedded
server loads it, and asked for single users (string ids in, string ids and titles out). In turn with it runs, on the
same vectors, `numpy`'s matrix-vector product and `argpartition`. A repeat is the median of 20 requests over the median
of 20 such runs; printed are the median of the repeats and their quartiles, and the fastest single run of each, which a
busy machine disturbs least (OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 for a comparison on one core). `recall` is
the share of the exact best 20 that an index finds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serving.bundle import Manifest, write_bundle
from serving.bundle.index_settings import IndexSettings
from serving.bundle.protocols import Catalogue
from serving.bundle.reference_answers import Reference, make_reference
from serving.bundle.saved_model import SavedModel
from serving.bundle.signatures import Signatures
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.models.two_tower import TwoTower

FIRST, KEYS, HISTORY, TOPICS, K, RUNS = 2, 1000, 20, 300, 20, 20
OPTIONS = {
    "exact float32": IndexSettings(),
    "exact float16": IndexSettings(table="float16"),
    "exact int8": IndexSettings(table="int8"),
    "approximate float32": IndexSettings("approximate"),
    "approximate int8": IndexSettings("approximate", "int8"),
}


def make_model(items: int, width: int) -> TwoTower:
    random = np.random.default_rng(1)
    model = TwoTower(TableSizes(FIRST + items, FIRST + KEYS, FIRST), HISTORY, dimension=width)
    topics = random.normal(0, 1, (TOPICS, width)).astype(np.float32)
    vectors = topics[random.integers(0, TOPICS, FIRST + items)]
    vectors += random.normal(0, 0.7, vectors.shape).astype(np.float32)
    model.item_embedding.embeddings.assign(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    model.key_embedding.embeddings.assign(random.normal(0, 0.05, (FIRST + KEYS, width)))
    model.set_popularity(np.concatenate([np.zeros(FIRST), random.gamma(0.5, 5.0, items)]))
    model.slope.assign(0.02)
    return model


def make_catalogue(items: int) -> Catalogue:
    ids = [b"item-%07d" % number for number in range(items)]
    titles = [f"A title as long as they are, {number}" for number in range(items)]
    return Catalogue(ids, [b"user-%05d" % number for number in range(KEYS)], {"titles": titles}, FIRST)


def make_requests(items: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of keys [count] and of histories [count, HISTORY]."""
    random = np.random.default_rng(2)
    return random.integers(FIRST, FIRST + KEYS, count), random.integers(FIRST, FIRST + items, (count, HISTORY))


def times_ms(call: Callable[[int], object]) -> tuple[float, float]:
    """Median and minimum."""
    seconds = []
    for number in range(RUNS):
        began = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)) * 1000, min(seconds) * 1000


def table_bytes(items: int, width: int, precision: str) -> int:
    """Ids, titles and vectors of items and keys as they are, each once, and nothing else."""
    catalogue = make_catalogue(items)
    texts = sum(map(len, catalogue.items)) + sum(map(len, catalogue.keys)) + sum(map(len, catalogue.columns["titles"]))
    return texts + items * width * np.dtype(precision).itemsize + KEYS * width * 4


def found_by(model: SavedModel, reference: Reference) -> float:
    answers = [
        model.run("serving_default", reference.request(number))["item_ids"][0].tolist()
        for number in range(len(reference))
    ]
    return reference.recall(answers)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def export(items: int, width: int, max_k: int, settings: IndexSettings, folder: Path) -> Reference:
    """Writes the bundle `folder`; an approximate index looks at as few lists as find 95% of the exact answer."""
    model, catalogue = make_model(items, width), make_catalogue(items)
    key, history = make_requests(items, 64)
    reference = make_reference(model.score_all, key, history, [], catalogue, K, True)
    model.freeze()
    made = Signatures(model, catalogue, K, max_k, True, settings)
    while settings.type == "approximate":
        answers = []
        for number in range(len(reference)):
            request = {name: tf.constant(value) for name, value in reference.request(number).items()}
            answers.append(made.recommend(**request)["item_ids"].numpy()[0].tolist())
        if reference.recall(answers) >= settings.min_recall or made.index.probes >= made.index.lists:
            break
        made.index.probes *= 2
    write_bundle(made, folder, {"probes": getattr(made.index, "probes", 0), "lists": getattr(made.index, "lists", 0)})
    return reference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--max-k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", nargs="*", choices=list(OPTIONS), default=list(OPTIONS))
    given = parser.parse_args()
    print(f"{given.items:,} items, width {given.width}, k {given.max_k}; load average {os.getloadavg()[0]:.1f}")
    vectors = np.random.default_rng(3).normal(size=(given.items, given.width)).astype(np.float32)
    queries = np.random.default_rng(4).normal(size=(RUNS, given.width)).astype(np.float32)
    cut = given.items - given.max_k
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            path = Path(folder) / name.replace(" ", "-")
            reference = export(given.items, given.width, given.max_k, OPTIONS[name], path)
            before = resident_mb()
            began = time.perf_counter()
            model = SavedModel("export", 1, path)
            seconds = time.perf_counter() - began
            memory = resident_mb() - before
            model.warm_up()
            requests = [reference.request(number) for number in range(RUNS)]
            graph, plain = np.zeros((2, given.repeats, 2))
            for turn in range(given.repeats):
                plain[turn] = times_ms(lambda number: np.argpartition(vectors @ queries[number], cut))
                graph[turn] = times_ms(lambda n, model=model, of=requests: model.run("serving_default", of[n]))
            low, middle, high = np.quantile(graph[:, 0] / plain[:, 0], [0.25, 0.5, 0.75])
            fastest = graph[:, 1].min(), plain[:, 1].min()
            about = Manifest.read(path).about
            tables = table_bytes(given.items, given.width, OPTIONS[name].table)
            probes = f", {about['probes']} of {about['lists']} lists" if about["probes"] else ""
            print(
                f"{name:20} {np.median(graph[:, 0]):7.2f} ms against {np.median(plain[:, 0]):6.2f} ms: {middle:5.2f} "
                f"times ({low:.2f} to {high:.2f}), fastest {fastest[0]:.2f} against {fastest[1]:.2f} ms  "
                f"recall {found_by(model, reference):.3f}  {about['bytes'] / 1e6:7.1f} MB, "
                f"{about['bytes'] / tables:.3f} of its tables  loaded in {seconds:.2f} s, {memory:.0f} MB{probes}",
                flush=True,
            )
            model.retire(lambda: None)


if __name__ == "__main__":
    main()
