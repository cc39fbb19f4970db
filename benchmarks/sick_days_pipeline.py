"""Is a sick day kept out of service? Spoilt days through the whole pipeline, and a clean day after each.

    python -m benchmarks.sick_days_pipeline --data ../shared/data --work sick [--set movietweetings] [--lead 9]

`benchmarks.guard_trials` says which sick days the guard holds. Here the nearest ones, one kind of each other set and
the day as it is are run as `warmspan run` does, with the settings of examples/ but the gate's and the guard's
defaults: the lead of clean days once a date, then from a copy of that state the day and, clean, the next. Stated are
the decision, the verdict, what was pushed, and what the model then in service scores on the day after (`harm` is how
much less that is than after the healthy day). Cut off, it goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

from benchmarks.guard_trials import SEED, SHOPS, SICK, read_file
from benchmarks.sick_deliveries import sick
from pipeline.config import Config, load_config, with_settings
from pipeline.ledger.runs import Run, read_ledger
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from trainer.atomic_write import atomic_write

HEALTHY = "as it is"
SHUFFLED, SHIFTED = "labels shuffled within keys", "item column shifted by a row"
# With `guard.hold` off: what the gate alone makes of it.
_LET_IN = ", guard off"
# Which dates of `guard_trials.SICK` and which kinds; of diginetica a tenth of the sessions.
TRIALS: dict[str, tuple[Sequence[int], Sequence[str], float]] = {
    "movietweetings": (SICK["movietweetings"], (HEALTHY, SHUFFLED, SHIFTED, SHIFTED + _LET_IN), 1.0),
    "online_retail": (SICK["online_retail"][:1], ("half the catalogue gone",), 1.0),
    "diginetica": (SICK["diginetica"][-2:-1], ("items permuted",), 0.1),
}
_EXAMPLES = Path(__file__).parents[1] / "examples"


def main() -> None:
    """Parses arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the three sets")
    parser.add_argument("--work", type=Path, required=True, help="a folder of its own, for roots and files")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sick_days_pipeline.json"))
    parser.add_argument("--set", dest="names", action="append", choices=TRIALS, help="only this set; may be repeated")
    parser.add_argument("--place", type=int, action="append", help="only this date, by its place; may be repeated")
    parser.add_argument("--lead", type=int, default=9, help="clean days before the sick one, at most")
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.names or TRIALS:
        places, kinds, share = TRIALS[name]
        for place in arguments.place or places:
            trial = Trial(name, arguments.data / name / "events", arguments.work, place, arguments.lead, share)
            said = results.setdefault(name, {}).setdefault(trial.day, {})
            for kind in kinds:
                if kind not in said:
                    said[kind] = trial.run(kind)
                    with atomic_write(arguments.out) as beside:
                        beside.write_text(json.dumps(results, indent=1) + "\n")
    show(results, Console(width=150))


class Trial:
    """One date of one set."""

    def __init__(self, name: str, folder: Path, work: Path, place: int, lead: int, share: float) -> None:
        days = sorted(path.name for path in folder.iterdir() if path.is_dir())
        begin = max(0, place - lead)
        self.day, self.after = days[place : place + 2]
        self._shop, self._folder = SHOPS[name], work / name / self.day
        self._days = days[begin : place + 2]
        files = [read_file(next((folder / day).iterdir()), self._shop) for day in self._days]
        if share < 1:
            kept = round(share * 1000)
            files = [file[[zlib.crc32(key.encode()) % 1000 < kept for key in file[self._shop.key]]] for file in files]
        self._files = dict(zip(self._days, files, strict=True))
        settings = yaml.safe_load((_EXAMPLES / f"{name}.yaml").read_text())
        settings.pop("gate", None)
        settings["root"] = "root"
        settings["data"] |= {"path": "events", "pattern": "{YYYY}-{MM}-{DD}/*.csv", "format": "csv"}
        settings["data"].pop("items", None), settings["data"].pop("item_title", None)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "warmspan.yaml").write_text(yaml.safe_dump(settings))

    def run(self, kind: str) -> dict[str, Any]:
        """The day under one illness and the next one clean."""
        files, good = self._files, self._folder / "good"
        for day in self._days[:-2]:
            self._deliver(day, files[day])
        shutil.rmtree(self._folder / "events" / self.day, ignore_errors=True)
        shutil.rmtree(self._folder / "events" / self.after, ignore_errors=True)
        config = load_config(self._folder / "warmspan.yaml")
        if not good.exists():
            shutil.rmtree(config.root, ignore_errors=True)
            _run(config)
            _copy(config.root, good)
        # ML Metadata holds absolute paths: every trial is run where the clean days were.
        shutil.rmtree(config.root, ignore_errors=True)
        _copy(good, config.root)
        of_kind = kind.removesuffix(_LET_IN)
        self._deliver(self.day, files[self.day] if kind == HEALTHY else self._spoilt(of_kind))
        _run(config if of_kind == kind else with_settings(config, {"guard": {"hold": False}}, kind))
        self._deliver(self.after, files[self.after])
        _run(config)
        day, after = read_ledger(config)[-2:]
        return {"lead": len(self._days) - 2, "day": _said(day), "day after": _said(after)}

    def _spoilt(self, kind: str) -> pd.DataFrame:
        days = self._days[:-1]
        numbers = [(datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days for day in days]
        return dict(sick(self._shop, [self._files[day] for day in days], numbers, SEED))[kind]

    def _deliver(self, day: str, file: pd.DataFrame) -> None:
        path = self._folder / "events" / day / "events.csv"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            file.to_csv(path, index=False)


def _run(config: Config) -> None:
    naming = Naming(config.data.dated)
    steps = make_plan(read_ledger(config), read_deliveries(config), naming, allow_gaps=True)
    run_steps(config, steps, Console())


def _copy(folder: Path, to: Path) -> None:
    beside = to.with_name(f".{to.name}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(folder, beside, symlinks=True)
    beside.rename(to)


def _said(run: Run) -> dict[str, Any]:
    return {
        "state": run.state,
        "doubts": run.doubts,
        "decision": f"{run.action}: {run.reason}",
        "champion_on_the_span": run.next_span.get("recall"),
        "candidate": run.candidate.get("recall"),
        "champion": run.champion.get("recall"),
        "verdict": run.verdict,
        "pushed": run.pushed,
    }


def show(results: dict[str, Any], console: Console) -> None:
    """A line a trial."""
    for name, days in results.items():
        for day, kinds in days.items():
            console.rule(f"{name} {day}", align="left")
            healthy = kinds.get(HEALTHY, {}).get("day after", {}).get("champion_on_the_span")
            for kind, said in kinds.items():
                today, after = said["day"], said["day after"]
                came = f"held: {today['doubts']}" if today["state"] == "held" else today["verdict"]
                scored = after["champion_on_the_span"]
                harm = "" if scored is None or healthy is None else f"; harm {healthy - scored:+.4f}"
                line = f"{kind}: pushed {today['pushed']}, the day after {after['pushed']}{harm}\n  {came}"
                console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
