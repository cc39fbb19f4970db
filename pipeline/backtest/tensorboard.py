"""For TensorBoard: the curves, a run a policy and seed, its step the days since the first; the policies as HParams."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tensorboard.plugins.hparams import api, api_pb2
from tensorboard.plugins.hparams.summary import session_end_pb

from pipeline.backtest import retention
from pipeline.backtest.policies import Policy
from pipeline.backtest.results import Row
from pipeline.metrics import headline
from pipeline.monitoring.tensorboard.event_files import event, scalar, wall_time
from pipeline.monitoring.tensorboard.event_files import write_events as write_file
from pipeline.spans import Naming

_FILE = "events.out.tfevents.backtest"
_SECTIONS = {"update", "model", "policy"}

Value: TypeAlias = bool | float | str
Differences: TypeAlias = Mapping[str, Mapping[str, Value]]
"""By policy what it is called, and the settings in which the policies differ."""


def write_events(
    folder: Path,
    rows: Sequence[Row],
    metrics: Sequence[str],
    naming: Naming,
    differences: Differences | None = None,
) -> None:
    """Writes the rows of one policy and seed under `folder`; what lay there before is replaced.

    Tags: `next_span/<metric>`, `training/seconds`, `training/seconds_so_far`, `training/examples`, and of the older
    spans `just_learned/<metric>` and `retained/<metric>`. Of the whole run, at its last span: `result/<metric>`, the
    mean over the tested spans, `result/retention`, `result/backward_transfer`, `result/seconds`, `result/examples`.
    """
    policy, so_far, events = rows[0].policy, 0.0, []
    origin, run = _axis(rows[0], naming)
    # Seeds of a policy are one trial: TensorBoard shows their mean.
    about = api.hparams_pb({"policy": policy, **(differences or {}).get(policy, {})}, policy, start_time_secs=0)
    for row in rows:
        so_far += row.seconds
        span = naming.parse(row.span)
        scalars = _scalars(row, headline(metrics), so_far)
        if row is rows[-1]:
            scalars |= {f"result/{name}": value for name, value in _results(rows, metrics).items()}
        events.append(
            event(span - origin, wall_time(span, naming.dated), [scalar(tag, value) for tag, value in scalars.items()])
        )
    end = session_end_pb(api_pb2.STATUS_SUCCESS, end_time_secs=so_far)
    for former in [*(folder / policy).glob(f"seed-{rows[0].seed}"), *(folder / policy).glob(f"seed-{rows[0].seed},*")]:
        shutil.rmtree(former)
    write_file(folder / policy / run / _FILE, [event(0, 0.0, [about]), *events, event(0, 0.0, [end])])


def _axis(first: Row, naming: Naming) -> tuple[int, str]:
    """The span whose step is 0, and the run's name, which says its date."""
    if not naming.dated:
        return 0, f"seed-{first.seed}"
    return naming.parse(first.span), f"seed-{first.seed}, days since {first.span}"


def write_experiment(folder: Path, policies: Sequence[Policy], metrics: Sequence[str]) -> Differences:
    """Tells TensorBoard what the columns of its table are; returns in what `policies` differ."""
    experiment = differences(policies)
    columns = {"policy": [policy.name for policy in policies]} | {
        name: list(dict.fromkeys(of[name] for of in experiment.values() if name in of))
        for name in dict.fromkeys(name for of in experiment.values() for name in of)
    }
    hparams = [api.HParam(name, api.Discrete(values)) for name, values in columns.items()]
    results = [*metrics, "retention", "backward_transfer", "seconds", "examples"]
    shown = [api.Metric(f"result/{name}", display_name=name) for name in results]
    config = api.hparams_config_pb(hparams, shown, time_created_secs=0)
    write_file(folder / _FILE, [event(0, 0.0, [config])])
    return experiment


def differences(policies: Sequence[Policy]) -> dict[str, dict[str, Value]]:
    """By policy the settings, by their path in the YAML file, that are not the same in all of them."""
    flat = {
        policy.name: {"learn": policy.learn, **dict(_flat("", policy.config.model_dump(include=_SECTIONS)))}
        for policy in policies
    }
    names = dict.fromkeys(name for of in flat.values() for name in of)
    changed: dict[str, dict[str, Value]] = {policy: {} for policy in flat}
    for name in names:
        values = {policy: of.get(name) for policy, of in flat.items()}
        if len({repr(value) for value in values.values()}) > 1:
            for policy, value in zip(values, _alike(list(values.values())), strict=True):
                changed[policy][name] = value
    return changed


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), inner)
    else:
        yield path, value


def _alike(values: Sequence[Any]) -> list[Value]:
    """A column has one type: all truth values, all numbers, else text."""
    if all(isinstance(value, bool) for value in values):
        return list(values)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    return ["none" if value is None else str(value) for value in values]


def _results(rows: Sequence[Row], metrics: Sequence[str]) -> dict[str, float]:
    tested = [row for row in rows if row.events]
    by_metric = {name: [row.metrics[name] for row in tested if name in row.metrics] for name in metrics}
    results: dict[str, float | None] = {name: statistics.fmean(of) for name, of in by_metric.items() if of}
    results |= {"retention": retention.retention(rows), "backward_transfer": retention.backward_transfer(rows)}
    if any(row.action != "count" for row in rows):
        results |= {"seconds": sum(row.seconds for row in rows), "examples": float(sum(row.examples for row in rows))}
    return {name: value for name, value in results.items() if value is not None}


def _scalars(row: Row, metric: str, so_far: float) -> dict[str, float]:
    scalars = {f"next_span/{name}": value for name, value in row.metrics.items()} if row.events else {}
    if row.action != "count":
        scalars["training/seconds"] = row.seconds
        scalars["training/seconds_so_far"] = so_far
        scalars["training/examples"] = float(row.examples)
    for tag, value in (("just_learned", row.just_learned), ("retained", row.retained)):
        if value is not None:
            scalars[f"{tag}/{metric}"] = value
    return scalars
