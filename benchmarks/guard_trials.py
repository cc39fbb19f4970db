"""Does the guard hold sick days, and let clean ones in? Over all days of three real data sets, without the pipeline.

    python -m benchmarks.guard_trials --data ../shared/data [--past 7 8 10 14 20 28] [--out trials.json]

Each day is read as `SpanExampleGen` reads it, measured and judged as `SpanGuard` does, beside the days before it that
were let in. False alarms: every day as it is, each held one listed with its reason. Sick days: the kinds of
`benchmarks.sick_deliveries` on several dates a set. `refused` is what ingestion does not let in at all.

With `--past` the same dates in young roots, that begin so many days before; without, all roots begin with the data.

Most limits were chosen on EARLY days, with later ones in sight while the figures were built, and that of `belongs` on
all of movietweetings. Ids of digits get a letter and all ids capitals, on every day, so that "lowercased" is an
illness in all three sets.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.sick_deliveries import Shop, sick
from components.span_example_gen.checks import check
from components.span_example_gen.dedup_and_split import DUPLICATE, select
from components.span_example_gen.hashing import hash_events
from components.span_example_gen.readers.raw_batch import RawBatch
from components.span_example_gen.settings import Settings, make_settings
from components.span_guard.figures import Day, measure
from components.span_guard.limits import Judgement, Rules, judge, reasons
from components.span_guard.profile import Profile
from pipeline.config.guard import Guard

RULES = Rules(**Guard().model_dump())
SEED = 7
_DAY = 86_400_000
_DATA = {
    "online_retail": {
        "columns": {
            "key": "CustomerID", "item": "StockCode", "timestamp": "InvoiceDate", "context": ["UnitPrice", "Country"]
        },
        "timestamp_format": "%Y-%m-%d %H:%M:%S",
        "reject": [
            {"column": "InvoiceNo", "matches": "C", "reason": "cancellation"},
            {"column": "Quantity", "matches": "-", "reason": "negative_quantity"},
        ],
        "max_reject_fraction": 0.9,
    },
    "movietweetings": {
        "columns": {"key": "user_id", "item": "item_id", "timestamp": "timestamp", "weight": "rating"},
    },
    # Spans of weeks: events may have any time.
    "diginetica": {
        "columns": {"key": "session_id", "item": "item_id", "timestamp": "timestamp"}, "span_hours": None,
    },
}  # fmt: skip
_REST = {"format": "csv", "timestamp_unit": "s", "max_reject_fraction": 0.05, "span_hours": 24}
_REST |= {"late": "reject", "decimal_ids": None}
# Days, by their place, up to which limits were chosen; dates of sick days, the first of each set among them.
EARLY = {"online_retail": 100, "movietweetings": 40, "diginetica": 10}
SICK = {"online_retail": (60, 135, 205, 275), "movietweetings": (30, 70, 130, 210), "diginetica": (9, 13, 16)}


def _moved_text(file: pd.DataFrame, seconds: int) -> pd.DataFrame:
    moved = pd.to_datetime(file["InvoiceDate"]) + pd.to_timedelta(seconds, "s")
    return file.assign(InvoiceDate=moved.dt.strftime("%Y-%m-%d %H:%M:%S"))


def _moved_seconds(file: pd.DataFrame, seconds: int) -> pd.DataFrame:
    return file.assign(timestamp=(file["timestamp"].astype(np.int64) + seconds).astype(str))


SHOPS = {
    "online_retail": Shop(
        "CustomerID", "StockCode", "InvoiceDate", _moved_text, lambda times: "2" + times, "K17999",
        {"InvoiceNo": "590000", "Quantity": "1"},
    ),
    "movietweetings": Shop(
        "user_id", "item_id", "timestamp", _moved_seconds, lambda times: times + "000", "K19999"
    ),
    "diginetica": Shop(
        "session_id", "item_id", "timestamp", _moved_seconds, lambda times: times + "000", "S199999"
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the three sets")
    parser.add_argument("--past", type=int, nargs="+", help="young roots: past days of the sick one")
    parser.add_argument(
        "--out", type=Path, help="benchmarks/results/guard_trials.json, or of young roots young_guard.json"
    )
    arguments = parser.parse_args()
    name_of_file = "young_guard.json" if arguments.past else "guard_trials.json"
    out: Path = arguments.out or Path("benchmarks/results") / name_of_file
    out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name in SHOPS:
        data = DataSet.read(name, arguments.data / name / "events")
        results[name] = young(data, arguments.past) if arguments.past else trial(data)
        out.write_text(json.dumps(results, indent=1) + "\n")
    (_show_young if arguments.past else _show)(results, Console(width=150))


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Days of a set in their order: the dates, the spans' numbers and the files `[n]`, and how they are read."""

    name: str
    shop: Shop
    settings: Settings
    dates: Sequence[str]
    spans: Sequence[int]
    files: Sequence[pd.DataFrame]

    @classmethod
    def read(cls, name: str, folder: Path) -> DataSet:
        shop, settings = SHOPS[name], make_settings({**_REST, **_DATA[name]}, "{YYYY}-{MM}-{DD}/*", 0.1)
        dates = sorted(path.name for path in folder.iterdir() if path.is_dir())
        spans = [(datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days for day in dates]
        return cls(
            name, shop, settings, dates, spans, [read_file(next((folder / day).iterdir()), shop) for day in dates]
        )

    def part(self, begin: int, end: int) -> DataSet:
        cut = {name: getattr(self, name)[begin:end] for name in ("dates", "spans", "files")}
        return dataclasses.replace(self, **cut)


def young(data: DataSet, lengths: Sequence[int]) -> dict[str, Any]:
    """The sick dates of a set, each in roots that begin so many days before it."""
    results: dict[str, Any] = {}
    for length in lengths:
        places = [place for place in SICK[data.name] if place >= length]
        roots = [trial(data.part(place - length, place + 1), [length]) for place in places]
        results[str(length)] = {
            "judged": sum(root["judged"] for root in roots),
            "false_alarms": [root["false_alarms"] for root in roots if root["false_alarms"]],
            "sick": {date: said for root in roots for date, said in root["sick"].items()},
        }
    return results


def trial(data: DataSet, sick_places: Sequence[int] | None = None) -> dict[str, Any]:
    """All days of a set as they are, and the sick ones, by default those of `SICK`."""
    name, settings, names, spans, files = data.name, data.settings, data.dates, data.spans, data.files
    profiles: list[Profile] = []
    held: dict[int, list[str]] = {}
    nearest: dict[str, float] = {}
    seconds, events = 0.0, 0
    for place, (span, file) in enumerate(zip(spans, files, strict=True)):
        day = ingest(file, settings, span)
        if day is None:
            raise ValueError(f"{name}: {names[place]} is refused as it is.")
        begin = time.perf_counter()
        profile, judgements = assess(span, day, _past(profiles, held))
        seconds, events = seconds + time.perf_counter() - begin, events + len(day.timestamps)
        for judgement in judgements:
            nearest[judgement.figure] = max(nearest.get(judgement.figure, 0.0), round(judgement.excess, 2))
        if why := reasons(profile.figures, judgements):
            held[span] = why
        profiles.append(profile)
    return {
        "days": len(names),
        "judged": len(names) - RULES.at_least,
        "early": names[min(EARLY[name], len(names)) - 1],
        "false_alarms": {names[spans.index(span)]: why for span, why in held.items()},
        "nearest": dict(sorted(nearest.items(), key=lambda entry: -entry[1])),
        "seconds_per_100000_events": round(seconds / events * 100_000, 2),
        "sick": {names[place]: _sick_days(data, profiles, held, place) for place in sick_places or SICK[name]},
    }


def assess(span: int, day: Day, past: Sequence[Profile]) -> tuple[Profile, list[Judgement]]:
    """Measures and judges one day."""
    profile = measure(span, day, past)
    return profile, judge(profile.figures, [(before.span, before.figures) for before in past], span, RULES)


def ingest(file: pd.DataFrame, settings: Settings, span: int) -> Day | None:
    """The clean events of a file; None where `SpanExampleGen` refuses it."""
    columns = {name: pa.array(file[name].tolist(), pa.string()) for name in settings.columns}
    clean, rejects = check(RawBatch(columns, np.arange(1, len(file) + 1)), settings, settings.window(span))
    if not clean.num_rows or len(rejects) > settings.max_reject_fraction * len(file):
        return None
    chosen = select(hash_events(clean), clean.column(2).to_numpy(), settings.eval_fraction) != DUPLICATE
    events = pa.Table.from_batches([clean]).filter(pa.array(chosen)).combine_chunks()
    return Day(
        keys=events["key"].chunk(0).cast(pa.binary()),
        items=events["item"].chunk(0).cast(pa.binary()),
        timestamps=events["timestamp"].to_numpy(),
        columns={name: events[name].chunk(0) for name in ("weight", *settings.context)},
        rows=len(file),
        rejects=len(rejects),
        duplicates=int((~chosen).sum()),
        start=span * _DAY,
    )


def _sick_days(data: DataSet, profiles: Sequence[Profile], held: Mapping[int, Any], place: int) -> dict[str, str]:
    spans, past, said = data.spans, _past(profiles[:place], held), {}
    window = slice(max(0, place - RULES.spans), place + 1)
    for kind, file in sick(data.shop, data.files[window], spans[window], SEED):
        day = ingest(file, data.settings, spans[place])
        if day is None:
            said[kind] = "refused"
            continue
        profile, judgements = assess(spans[place], day, past)
        why = reasons(profile.figures, judgements)
        said[kind] = (
            why[0] if why else f"LET IN, nearest {judgements[0].figure}: {judgements[0].excess:.2f} of its limit"
        )
    return said


def _past(profiles: Sequence[Profile], held: Mapping[int, Any]) -> list[Profile]:
    return [profile for profile in profiles if profile.span not in held][-RULES.spans :]


def read_file(path: Path, shop: Shop) -> pd.DataFrame:
    """A day of a set as the trials take it: all texts, ids of digits with a letter, all ids capitals."""
    file = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    file = file.astype(str)
    file[shop.key] = file[shop.key].str.removesuffix(".0")
    for column, letter in ((shop.key, "K"), (shop.item, "I")):
        file[column] = [letter + text if text.isdigit() else text.upper() for text in file[column]]
    return file


def _show(results: Mapping[str, Any], console: Console) -> None:
    for name, result in results.items():
        alarms = result["false_alarms"]
        console.rule(f"{name}: {len(alarms)} of {result['judged']} days held", align="left")
        console.print(
            f"{result['seconds_per_100000_events']} s for 100,000 events; limits chosen up to {result['early']}"
        )
        for day, why in alarms.items():
            console.print(f"  {day}  {'; '.join(why)}", highlight=False, soft_wrap=True)
        table = Table("illness", *result["sick"], box=SIMPLE_HEAD)
        for kind in next(iter(result["sick"].values())):
            table.add_row(kind, *(said[kind].partition(":")[0] for said in result["sick"].values()))
        console.print(table)
    said = [why for result in results.values() for day in result["sick"].values() for why in day.values()]
    days = sum(result["judged"] for result in results.values())
    alarms = sum(len(result["false_alarms"]) for result in results.values())
    let_in = sum(why.startswith("LET IN") for why in said)
    console.print(f"{alarms} of {days} clean days held ({alarms / days:.1%}); {let_in} of {len(said)} sick days let in")


def _show_young(results: Mapping[str, Any], console: Console) -> None:
    lengths = list(next(iter(results.values())))
    table = Table("let in of sick days", *(f"{length} past days" for length in lengths), box=SIMPLE_HEAD)
    for name, result in results.items():
        said = [[why for day in result[length]["sick"].values() for why in day.values()] for length in lengths]
        table.add_row(name, *(f"{sum(why.startswith('LET IN') for why in of)} of {len(of)}" for of in said))
        for length in lengths:
            for date, of_day in result[length]["sick"].items():
                for kind, why in of_day.items():
                    if why.startswith("LET IN"):
                        console.print(f"  {name} {date}, {length}: {kind}: {why}", highlight=False, soft_wrap=True)
    console.print(table)
    rows = [row for result in results.values() for row in result.values()]
    alarms, days = sum(len(of) for row in rows for of in row["false_alarms"]), sum(row["judged"] for row in rows)
    console.print(f"{alarms} of {days} clean days held ({alarms / max(days, 1):.1%})")


if __name__ == "__main__":
    main()
