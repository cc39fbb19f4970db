"""Runs a span, or one node of it, on this machine.

The nodes are launched one after the other under a run id that says the span and the revision. A node that is done in
that run is not run again, so that a run that was cut off goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Iterator

from components.resolvers import StateRemovedError, refuse_removed_state
from components.update_decider.decision import Override
from pipeline.config import Config
from pipeline.erasure.recovery import end_erasures
from pipeline.ledger.runs import read_run
from pipeline.metadata_store.exclusive import LockedError, exclusive
from pipeline.node_order import DECIDER, GUARD, PUSHER
from pipeline.operations.publication import PublicationError, publish, try_to_publish
from pipeline.operations.rollback import RollbackError, finish
from pipeline.orchestration.compiled_graph import CompiledGraph
from pipeline.orchestration.run_progress import RunProgress
from pipeline.spans import Naming

_log = logging.getLogger(__name__)

OnNode = Callable[[str], None]


class RunError(RuntimeError):
    """A node failed; the message says which, in which span, and why."""


class NodeError(RunError):
    """A node failed; `node` says which."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(message)
        self.node = node


@dataclasses.dataclass(frozen=True)
class NodeRun:
    """One node's part of a run: its id, seconds, and whether there was anything to do."""

    node: str
    seconds: float
    ran: bool


class SpanRun:
    """One run of the graph for one span and revision; `override` is done with it instead of what the policy decides.

    Attributes:
      graph: what is run.
      progress: how far it has come.
    """

    def __init__(self, config: Config, span: int, revision: int, override: Override | None = None) -> None:
        self.span, self.revision = span, revision
        self.name = Naming(config.data.dated).format(span)
        self.graph = CompiledGraph(config, span, revision, override)
        self.progress = RunProgress(self.graph)
        self._config, self._override = config, override

    def run(self, on_node: OnNode | None = None) -> list[NodeRun]:
        """Runs every node that is not done yet; `on_node` is told each one before it starts.

        Raises:
          RunError: a node failed; those after it have not run.
        """
        with self._exclusive():
            try_to_publish(self._config)  # what a process that was killed has left undone
            return [self._run_node(node, on_node) for node in self.graph.nodes]

    def run_node(self, node: str) -> NodeRun:
        """Runs one node; a no-op if it is done in this run."""
        if node not in self.graph.nodes:
            raise RunError(f"`node` must be one of {', '.join(self.graph.nodes)}. Received: {node!r}.")
        with self._exclusive():
            return self._run_node(node, None)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """What was cut off is ended before anything is run."""
        try:
            with exclusive(self._config):
                if left := finish(self._config):
                    _log.warning("Ended a rollback that was cut off: %s left the served folder.", left)
                end_erasures(self._config)
                self._refuse_late_override()
                yield
        except (LockedError, RollbackError) as error:
            raise RunError(str(error)) from None

    def _refuse_late_override(self) -> None:
        """What the user wants instead must reach the decision; a repeat of the same wish finds it done."""
        if self._override is None:
            return
        decided = [execution for execution in self.progress.executions(DECIDER) if execution.done]
        if decided and decided[-1].properties.get("overrule") != self._override:
            raise RunError(
                f"`--decide` must come before the decision is taken. Received: {self._override.replace('_', '-')} for "
                f"{self.name}, whose decision is in the ledger. Run the span again with `--redo --decide …`."
            )

    def _run_node(self, node: str, on_node: OnNode | None) -> NodeRun:
        if on_node:
            on_node(node)
        started = time.perf_counter()
        ran = not self.progress.done(node) and not self._held(node) and self._launch(node)
        if node == PUSHER:
            self._publish()
        return NodeRun(node, time.perf_counter() - started, ran)

    def _publish(self) -> None:
        try:
            publish(self._config)
        except PublicationError as error:
            raise NodeError(PUSHER, f"{PUSHER} failed in span {self.name}: {error}") from None

    def _held(self, node: str) -> bool:
        """Whether the guard keeps a node from running."""
        # TFX would ask a node's conditions in any order, also that of the decider, which was never run.
        if GUARD not in self.graph.conditions(node):
            return False
        run = read_run(self._config, self.span, self.revision)
        return run is not None and run.state == "held"

    def _launch(self, node: str) -> bool:
        self._clear(node)
        try:
            info = self.graph.launcher(node).launch()
        except Exception as error:
            raise NodeError(node, f"{node} failed in span {self.name}: {error}") from error
        # A node whose condition does not hold is passed over and leaves no execution.
        if info is None or info.execution_id is None:
            return False
        if not self.progress.done(node):
            why = "its inputs could not be resolved."
            try:
                with self.graph.metadata() as handle:
                    refuse_removed_state(handle.store, self._config.name, self.span)
            except StateRemovedError as error:  # TFX keeps a resolver's error to itself
                why = str(error)
            raise NodeError(node, f"{node} failed in span {self.name}: {why}")
        return True

    def _clear(self, node: str) -> None:
        """Removes what an attempt that was cut off has written: TFX gives the next one the same folders."""
        for execution in self.progress.executions(node):
            for output in (self._config.artifacts_path / node).glob(f"*/{execution.id}"):
                shutil.rmtree(output)
