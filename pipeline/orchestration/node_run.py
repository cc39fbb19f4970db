"""One node of one span, or a few in a row, in a process of their own: how a scheduler drives the graph."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Literal

from components.update_decider.decision import Override
from pipeline.config import Config
from pipeline.ledger.runs import Run, held_sentence, read_ledger, read_run, run_id
from pipeline.node_order import DECIDER, GUARD, NODES, PUSHER
from pipeline.orchestration.callbacks import Callback, default_callbacks
from pipeline.orchestration.node_progress import NodeProgress
from pipeline.orchestration.run_log import log_path, logged_to
from pipeline.orchestration.span_run import RunError, SpanRun
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import PlanError, make_plan
from pipeline.spans import Naming
from trainer.progress import heard_by

Outcome = Literal["ran", "done already", "passed over"]


@dataclasses.dataclass(frozen=True)
class NodeResult:
    """What came of one node.

    Attributes:
      node, name: which node of which span.
      outcome: `passed over` when the span is held or skipped, the gate refused the push, or the whole day was done
        before.
      why: the reason for passing it over; else empty.
      seconds: how long the node took; 0 if it did not run.
    """

    node: str
    name: str
    outcome: Outcome
    why: str
    seconds: float


def run_nodes(
    config: Config,
    nodes: Sequence[str],
    name: str,
    allow_gaps: bool = False,
    override: Override | None = None,
    skip_done: bool = False,
) -> Iterator[NodeResult]:
    """Runs `nodes` one after the other as `run_node` does, and stops at the first that fails.

    With `skip_done` a day that is done as a whole is passed over: "done already" would look like work done.

    Raises:
      RunError: also if `nodes` are not in the order of `NODES`; then nothing was run.
    """
    places = [NODES.index(node) if node in NODES else -1 for node in nodes]
    if any(after <= before for before, after in itertools.pairwise(places) if -1 not in (before, after)):
        raise RunError(
            f"Nodes must be given once each, in the order that `warmspan nodes` prints. Received: {', '.join(nodes)}."
        )
    if -1 in places:
        raise _unknown(nodes[places.index(-1)])
    if override is not None and DECIDER not in nodes:
        raise _not_decided(", ".join(nodes))
    for node in nodes:
        result = run_node(config, node, name, allow_gaps, override if node == DECIDER else None)
        if skip_done and result.outcome == "done already":
            run = read_run(config, Naming(config.data.dated).parse(name))
            if run is not None and run.state in ("done", "held"):
                yield dataclasses.replace(result, outcome="passed over", why=_done_before(run))
                return
        yield result


def run_node(
    config: Config, node: str, name: str, allow_gaps: bool = False, override: Override | None = None
) -> NodeResult:
    """Runs exactly `node` in the latest run of the span called `name`; the first node of all begins that run.

    A node that is done in that run is left alone. A run begins under the rules of `make_plan`: days in order, without
    gaps, and a new delivery of the last day under the next revision.

    Args:
      config: settings.
      node: one of `NODES`.
      name: the span, like 2024-05-03.
      allow_gaps: begin although days since the last span have no files.
      override: what `UpdateDecider` does with the span instead of what the policy decides.

    Raises:
      SpanNameError, PlanError: the span can't be read, or can't be run now.
      RunError: the node is unknown, comes too early, or failed.
    """
    if node not in NODES:
        raise _unknown(node)
    if override is not None and node != DECIDER:
        raise _not_decided(node)
    span = Naming(config.data.dated).parse(name)
    callbacks = default_callbacks(config)
    try:
        revision = _revision(config, node, name, span, allow_gaps)
    except PlanError as error:
        callbacks.on_plan_error(error)
        raise
    log = log_path(config, name, revision)
    with logged_to(log):
        if node == NODES[0]:
            callbacks.on_run_begin()
        try:
            result = _run(config, node, span, revision, override, callbacks)
            # Of a day that goes on the guard has nothing to tell: its decision and its verdict are to come.
            if node in (DECIDER, PUSHER) or (node == GUARD and _read(config, span, revision).state == "held"):
                callbacks.on_result(_read(config, span, revision))
            return result
        except RunError as error:
            logging.exception("the node stopped")
            callbacks.on_run_error(name, revision, error)
            callbacks.on_exit()
            raise RunError(f"{error} Details: {log}.") from error


def _unknown(node: str) -> RunError:
    return RunError(f"`node` must be one of {', '.join(NODES)}. Received: {node!r}.")


def _not_decided(nodes: str) -> RunError:
    return RunError(f"`--decide` must go with {DECIDER}, which takes the decision. Received: {nodes}.")


def _revision(config: Config, node: str, name: str, span: int, allow_gaps: bool) -> int:
    if node == NODES[0]:
        steps = make_plan(
            read_ledger(config), read_deliveries(config), Naming(config.data.dated), span, span, allow_gaps
        )
        if steps:
            return steps[0].revision
    latest = read_run(config, span)
    if latest is None:
        raise RunError(f"A run of a span must begin with {NODES[0]}. Received: {node} of {name}, which has not begun.")
    if latest.void:
        raise RunError(
            f"A run must not go on with a model that was revoked. Received: {node} of {name}, which began before a "
            f"rollback. Run the day again from its first node, {NODES[0]}: it begins the next revision."
        )
    return latest.revision


def _run(
    config: Config, node: str, span: int, revision: int, override: Override | None, callbacks: Callback
) -> NodeResult:
    run = SpanRun(config, span, revision, override)
    before = read_run(config, span, revision)
    if before is not None and _over(before) in run.graph.conditions(node):
        result = NodeResult(node, run.name, "passed over", _why(before), 0.0)
    else:
        for companion in _companions(run, node):
            run.run_node(companion)
        if waiting := [upstream for upstream in run.graph.upstream(node) if not run.progress.done(upstream)]:
            raise RunError(
                f"{node} must come after {', '.join(waiting)}. Received: {run.name}, where they are not done."
            )
        result = _launch(config, run, node)
    if node == NODES[-1] or result.outcome == "passed over":
        # The day is over: nothing after this node will run.
        callbacks.on_run_end(_read(config, run.span, run.revision))
        callbacks.on_exit()
    return result


def _companions(run: SpanRun, node: str) -> Iterator[str]:
    """What is not done of the nodes that `node` needs and only some graphs have, each after those that it needs.

    No scheduler has a task for them: they run with the first node that needs them.
    """
    for companion in run.graph.upstream(node):
        if companion not in NODES and not run.progress.done(companion):
            yield from _companions(run, companion)
            if not run.progress.done(companion):
                yield companion


def _launch(config: Config, run: SpanRun, node: str) -> NodeResult:
    within = NodeProgress()
    within.begin(node)
    with heard_by(within):
        of_node = run.run_node(node)
    outcome: Outcome = "ran" if of_node.ran else "done already" if run.progress.done(node) else "passed over"
    why = _why(_read(config, run.span, run.revision)) if node == GUARD else ""
    if node == PUSHER and (after := _read(config, run.span, run.revision)).pushed is None:
        # It ran, to write the verdict, but there was nothing to push.
        outcome, why = "passed over", _why(after)
    return NodeResult(node, run.name, outcome, why, of_node.seconds if of_node.ran else 0.0)


def _read(config: Config, span: int, revision: int) -> Run:
    run = read_run(config, span, revision)
    if run is None:
        name = Naming(config.data.dated).format(span)
        raise RunError(
            f"A run that has begun must be in the ledger. Received: none for {run_id(config.name, name, revision)}."
        )
    return run


def _over(run: Run) -> str:
    """The node after which a day has ended, by what it has said; empty for a day that goes on."""
    return GUARD if run.state == "held" else DECIDER if run.action == "skip" else ""


def _why(run: Run | None) -> str:
    if run is None or run.state == "held":
        return "" if run is None else held_sentence(run)
    if not run.action:
        return f"Let in although {run.doubts}" if run.doubts else ""
    return run.verdict or f"The decision is to {run.action} the span: {run.reason}"


def _done_before(run: Run) -> str:
    if run.state == "held":
        return _why(run)
    came_to = f"pushed as {run.pushed}" if run.pushed else _why(run).rstrip(".")
    return (
        f"The whole day was done before ({came_to}), and nothing was run. To run it again, with all days after it: "
        f"`warmspan run --from {run.name} --redo`"
    )
