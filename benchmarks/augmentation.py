"""What changing training sequences brings: the policy `best` of `continual_sessions` with each operation and all four.

    python -m benchmarks.augmentation DATA [--variant NAME ...] [--seeds 1] [--cycles 1-4] [--out FOLDER]
        [--results FOLDER]

DATA, the protocol and the figures are those of `continual_sessions`. Variants are named by operation and strength; by
default those of `VARIANTS` run on cycles 1 to 4, on which settings are chosen. Goes on where it was stopped. With
`--results` what FOLDER of `--out` holds is gathered into `augmentation.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

from benchmarks.continual_sessions import chosen_cycles, run
from benchmarks.session_policies import POLICIES
from benchmarks.session_results import gather
from benchmarks.session_spans import read_spans
from trainer.settings import Augmentation

VARIANTS: dict[str, Augmentation | None] = {
    "none": None,
    "mask 0.3": Augmentation(share=0.5, mask=0.3),
    "substitute 0.3": Augmentation(share=0.5, substitute=0.3),
    "crop 0.4": Augmentation(share=0.5, crop=0.4),
    "reorder 0.5": Augmentation(share=0.5, reorder=0.5),
    "all": Augmentation(share=0.5, crop=0.4, mask=0.3, reorder=0.5, substitute=0.3),
    "substitute 0.1": Augmentation(share=1.0, substitute=0.1),
    "mask 0.1": Augmentation(share=1.0, mask=0.1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--variant", action="append", choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--cycles", default="1-4")
    parser.add_argument("--out", type=Path, default=Path("run/augmentation"))
    parser.add_argument("--results", type=Path, help="the folder of augmentation.json")
    arguments = parser.parse_args()
    spans = read_spans(arguments.data / "events", "session_id", "item_id", "timestamp")
    cycles = chosen_cycles(arguments.cycles, spans.count - 1)
    best = POLICIES["best"]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name in arguments.variant or list(VARIANTS):
            update = dataclasses.replace(best.update, augmentation=VARIANTS[name])
            policy = dataclasses.replace(best, update=update)
            rows = run(spans, policy, seed, cycles, arguments.out / name.replace(" ", "-") / f"seed-{seed}")
            mean = {metric: statistics.fmean(row["metrics"][metric] for row in rows) for metric in rows[0]["metrics"]}
            print(name, seed, {metric: round(value, 2) for metric, value in mean.items()}, flush=True)
    if arguments.results is not None:
        arguments.results.mkdir(parents=True, exist_ok=True)
        text = json.dumps(gather(arguments.out), indent=1)
        (arguments.results / "augmentation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
