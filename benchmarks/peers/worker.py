"""The process of one system: told of spans, asked for what follows, its costs written down.

    python -m benchmarks.peers.worker MODULE FOLDER SEED SETTINGS

FOLDER holds `span-<n>.npz` from 0 on, and for each cycle that is asked for a folder `cycle-<n>` with `asked.npz`. There
it leaves `top.npy` and `cost.json`: seconds of this process's processors, and the most memory that it ever had.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peers.peer import Peer, Sessions

K = 20


def main(module: str, folder: Path, seed: int, settings: str) -> None:
    peer: Peer = importlib.import_module(f"benchmarks.peers.{module}").System(seed, **json.loads(settings))
    cycles = sorted(int(path.name.removeprefix("cycle-")) for path in folder.glob("cycle-*"))
    learned = 0
    for cycle in cycles:
        of = folder / f"cycle-{cycle}"
        started = time.process_time()
        peer.learn([Sessions.load(folder / f"span-{span}.npz") for span in range(learned, cycle)])
        learned, trained = cycle, time.process_time()
        top = peer.recommend(Sessions.load(of / "asked.npz"), K)
        asked = time.process_time()
        np.save(of / "top.npy", top)
        cost = {
            "train_processor_seconds": round(trained - started, 2),
            "recommend_processor_seconds": round(asked - trained, 2),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        (of / "cost.json").write_text(json.dumps(cost))
        print(module, seed, cycle, json.dumps(cost), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
