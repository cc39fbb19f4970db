"""Learning session data cycle by cycle, against the published table of ADER (Mi, Lin and Faltings, RecSys 2020).

    python -m benchmarks.continual_sessions DATA [--policy NAME ...] [--seeds 3] [--cycles 1-16] [--out FOLDER]

DATA holds `events/<date>/*.parquet` (or `.csv`) with a session, an item and a timestamp. Cycle t trains on span t - 1
(`joint`: from nothing, on all spans before t) and is tested on span t: every prefix of every session is asked for the
next item, all items seen so far are ranked, none sampled; events of items not seen so far are dropped from the test,
then sessions of length 1. A tenth of each span's sessions, drawn at random, is held out: early stopping watches
them, what the model must not fit on learned sessions is fitted on them, and the next cycle trains on them.

A policy with a teacher (`taught`) trains it first, on all spans since it last was, and shows its figures beside the
student's, as `teacher`; the policy `teacher` is that model alone.

Goes on where it was stopped: each policy and seed keeps its model and figures in FOLDER after every cycle.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.session_policies import POLICIES, SessionPolicy
from benchmarks.session_spans import SessionSpans, read_spans
from trainer.input_pipeline import Positions, Sequences, concatenate
from trainer.keras2 import tf
from trainer.metrics import mask_scores, rank_of
from trainer.models.base import Recommender, TableSizes
from trainer.settings import ModelSpec, Policy
from trainer.stability.replay_memory import ReplayMemory
from trainer.teaching.refresh import due_refresh, teacher_policy, teacher_spec
from trainer.teaching.teacher import Teacher
from trainer.train_state import ModelState
from trainer.update import Span, Update, update

_HELD_OUT = 0.1
HALF_LIFE = 2.0  # spans, of an item's popularity
_TEST_BATCH = 256
_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-recommenders", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="may be given again; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--cycles", default=None, help="for example 1-4, or 4,8,12,16 for `joint`; all by default")
    parser.add_argument("--session", default="session_id", help="the column that names the session")
    parser.add_argument("--item", default="item_id", help="the column that names the item")
    parser.add_argument("--timestamp", default="timestamp", help="the column that orders the events")
    parser.add_argument("--out", type=Path, default=Path("run/continual_sessions"))
    arguments = parser.parse_args()
    spans = read_spans(arguments.data / "events", arguments.session, arguments.item, arguments.timestamp)
    cycles = chosen_cycles(arguments.cycles, spans.count - 1)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name in arguments.policy or list(POLICIES):
            rows = run(spans, POLICIES[name], seed, cycles, arguments.out / name / f"seed-{seed}")
            mean = {metric: statistics.fmean(row["metrics"][metric] for row in rows) for metric in rows[0]["metrics"]}
            print(name, seed, {metric: round(value, 2) for metric, value in mean.items()}, flush=True)


def run(spans: SessionSpans, policy: SessionPolicy, seed: int, cycles: Sequence[int], folder: Path) -> list[dict]:
    """Figures of each of `cycles`, from 1 on; those that `folder` holds are not computed again."""
    rows, state, memory, taught_by = _resume(folder)
    done = {row["cycle"] for row in rows}
    for cycle in range(1, max(cycles) + 1):
        if cycle in done or (policy.joint and cycle not in cycles):
            continue
        of_teacher, taught_by = _teach(spans, policy, seed, cycle, taught_by)
        processor = time.process_time()
        teacher = None
        if taught_by is not None:
            teacher = Teacher.of_rows(_teacher_spec(policy), taught_by, _sizes(spans, cycle))
        result = learn_cycle(spans, policy, seed, cycle, state, memory, teacher)
        processor = time.process_time() - processor
        state, memory = result.state, result.memory
        started = time.perf_counter()
        metrics, positions = test(result.model, spans.test_positions(cycle), policy.spec.history_length)
        row = {
            "cycle": cycle,
            "metrics": metrics,
            "positions": positions,
            "items": result.model.sizes.items - result.model.sizes.first_row,
            "new_events": spans.events(cycle - 1),
            "examples": result.examples,
            "epochs": result.epochs,
            "train_seconds": round(result.seconds, 2),
            "train_processor_seconds": round(processor, 2),
            "test_seconds": round(time.perf_counter() - started, 2),
        }
        if cycle == spans.count - 1 > 9 and not policy.joint:
            row["retained"] = _retained(spans, result.model, policy.spec.history_length)
        if of_teacher:
            row["teacher"] = of_teacher
        rows.append(row)
        _keep(folder, rows, policy, seed, state, memory, taught_by)
        print(folder.parent.name, seed, json.dumps(row), flush=True)
    return [row for row in rows if row["cycle"] in cycles]


def _teach(
    spans: SessionSpans, policy: SessionPolicy, seed: int, cycle: int, state: ModelState | None
) -> tuple[dict[str, Any], ModelState | None]:
    """Refreshes the teacher where it is due: its figures, empty where it is not, and its state; none of no teacher."""
    settings = policy.update.teacher
    if settings is None:
        return {}, None
    every = range(1, cycle)
    refresh = due_refresh(
        cycle, every, state.learned[-1] if state else None, settings.every, cycle, cycle, retrain=False
    )
    if refresh is None:
        return {}, state
    processor, spec = time.process_time(), _teacher_spec(policy)
    how = dataclasses.replace(teacher_policy(policy.update), seed=seed)
    result = _update(spans, spec, how, seed, refresh.train_on, state)
    processor = time.process_time() - processor
    metrics, _ = test(result.model, spans.test_positions(cycle), spec.history_length)
    return {"metrics": metrics, "train_processor_seconds": round(processor, 2)}, result.state


def _teacher_spec(policy: SessionPolicy) -> ModelSpec:
    assert policy.update.teacher is not None
    return teacher_spec(policy.update.teacher, policy.spec.history_length)


def _sizes(spans: SessionSpans, cycle: int) -> TableSizes:
    return TableSizes(spans.items_until(cycle - 1), 2, spans.first_row)


def learn_cycle(
    spans: SessionSpans,
    policy: SessionPolicy,
    seed: int,
    cycle: int,
    state: ModelState | None,
    memory: ReplayMemory | None,
    teacher: Teacher | None,
) -> Update:
    how = dataclasses.replace(policy.update, seed=seed)
    if policy.joint:
        before = [spans.sequences(number) for number in range(cycle - 1)]
        return _update(spans, policy.spec, how, seed, (cycle,), before=before)
    return _update(spans, policy.spec, how, seed, (cycle,), state, memory, teacher)


def _update(
    spans: SessionSpans,
    spec: ModelSpec,
    how: Policy,
    seed: int,
    cycles: Sequence[int],
    state: ModelState | None = None,
    memory: ReplayMemory | None = None,
    teacher: Teacher | None = None,
    before: Sequence[Sequences] = (),
) -> Update:
    """Learns the spans before `cycles`, each with what was held out of the one before, or with all of `before`."""
    learned = []
    for cycle in cycles:
        kept, held_out = spans.split(cycle - 1, _HELD_OUT, seed)
        earlier = before if before or cycle == 1 else [spans.split(cycle - 2, _HELD_OUT, seed)[1]]
        learned.append(Span(cycle, concatenate([*earlier, kept])))
    return update(
        spec,
        _sizes(spans, cycles[-1]),
        learned,
        held_out.positions(),
        spans.popularity(cycles[-1] - 1, HALF_LIFE, held_out),
        how,
        base=state,
        memory=memory,
        teacher=teacher,
    )


def test(model: Recommender, positions: Positions, history_length: int) -> tuple[dict[str, float], int]:
    """Recall and MRR at 20 and 10 in percent over `positions`, and how many those are."""

    @tf.function
    def ranks(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        scores = mask_scores(model.score_all(batch["key"], batch["history"]), model.sizes.first_row)
        return rank_of(scores, batch["item"], model.sizes.first_row)

    batches = positions.dataset(_TEST_BATCH, history_length)
    graph = ranks.get_concrete_function(batches.element_spec)  # one for batches of every size
    rank = 1 + np.concatenate([graph(batch).numpy() for batch in batches])
    metrics = {}
    for k in (20, 10):
        metrics[f"recall@{k}"] = 100 * float(np.mean(rank <= k))
        metrics[f"mrr@{k}"] = 100 * float(np.mean((rank <= k) / rank))
    return metrics, len(rank)


def _retained(spans: SessionSpans, model: Recommender, history_length: int) -> dict[str, float]:
    """The last model on the tests of all spans before the last eight, which it has learned since: means over spans."""
    older = range(1, spans.count - 8)
    tests = [test(model, spans.test_positions(cycle), history_length)[0] for cycle in older]
    return {metric: statistics.fmean(tested[metric] for tested in tests) for metric in tests[0]}


def _keep(
    folder: Path,
    rows: list[dict],
    policy: SessionPolicy,
    seed: int,
    state: ModelState,
    memory: ReplayMemory,
    teacher: ModelState | None,
) -> None:
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    state.save(beside / "state")
    memory.save(beside / "memory.npz")
    if teacher is not None:
        teacher.save(beside / "teacher")
    about = {
        "policy": folder.parent.name,
        "seed": seed,
        "model": dataclasses.asdict(policy.spec),
        "update": dataclasses.asdict(policy.update),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "cycles": rows,
    }
    (beside / "figures.json").write_text(json.dumps(about, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def _resume(folder: Path) -> tuple[list[dict], ModelState | None, ReplayMemory | None, ModelState | None]:
    if not (folder / "figures.json").is_file():
        return [], None, None, None
    rows = json.loads((folder / "figures.json").read_text())["cycles"]
    teacher = ModelState.load(folder / "teacher") if (folder / "teacher").is_dir() else None
    return rows, ModelState.load(folder / "state"), ReplayMemory.load(folder / "memory.npz"), teacher


def chosen_cycles(text: str | None, last: int) -> list[int]:
    if text is None:
        return list(range(1, last + 1))
    if "-" in text:
        first, _, end = text.partition("-")
        return list(range(int(first), int(end) + 1))
    return [int(cycle) for cycle in text.split(",")]


if __name__ == "__main__":
    main()
