"""How far a run has come, by ML Metadata."""

from __future__ import annotations

from ml_metadata.proto import metadata_store_pb2

from pipeline.orchestration.compiled_graph import CompiledGraph

_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


class RunProgress:
    """What the store knows of the run of a graph, whichever process has run its nodes."""

    def __init__(self, graph: CompiledGraph) -> None:
        self._graph = graph

    def done(self, node: str) -> bool:
        """Whether a node has run to its end in this run, or its result was taken from the cache."""
        return bool(self.ended(node))

    def ended(self, node: str) -> list[metadata_store_pb2.Execution]:
        """The executions of a node that were done, oldest first."""
        return [execution for execution in self.executions(node) if execution.last_known_state in _DONE]

    def executions(self, node: str) -> list[metadata_store_pb2.Execution]:
        """Every attempt at a node in this run."""
        with self._graph.metadata() as handle:
            run = handle.store.get_context_by_type_and_name("pipeline_run", self._graph.run_id)
            return [
                execution
                for execution in (handle.store.get_executions_by_context(run.id) if run else [])
                for context in handle.store.get_contexts_by_execution(execution.id)
                if context.name == f"{self._graph.pipeline}.{node}"
            ]
