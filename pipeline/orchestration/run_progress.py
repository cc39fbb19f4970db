"""How far a run has come, by ML Metadata."""

from __future__ import annotations

from pipeline.ledger.reader import Execution, LedgerReader
from pipeline.orchestration.compiled_graph import CompiledGraph


class RunProgress:
    """What the store knows of the run of a graph, whichever process has run its nodes."""

    def __init__(self, graph: CompiledGraph) -> None:
        self._graph = graph

    def done(self, node: str) -> bool:
        """Whether a node has run to its end in this run, or its result was taken from the cache."""
        return any(execution.done for execution in self.executions(node))

    def executions(self, node: str) -> list[Execution]:
        """Every attempt at a node in this run, oldest first."""
        with self._graph.metadata() as handle:
            return LedgerReader(handle.store, self._graph.pipeline).attempts(self._graph.run_id, node)
