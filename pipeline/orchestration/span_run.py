"""Runs a span, or one node of it, on this machine.

The graph is compiled once and its nodes are launched one after the other under a run id that says the span and the
revision. A node that is done in that run is not run again, so that a run that was cut off goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Iterator

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from components.resolvers import StateRemovedError, refuse_removed_state
from components.update_decider.decision import Override
from pipeline.config import Config
from pipeline.erasure.recovery import end_erasures
from pipeline.graph import create_pipeline
from pipeline.ledger.runs import run_id
from pipeline.metadata_store.exclusive import LockedError, exclusive
from pipeline.metadata_store.postgres import PostgresMetadata
from pipeline.operations.rollback import RollbackError, finish
from pipeline.spans import Naming

_DECIDER = "UpdateDecider"
_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)

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
    """One run of the graph for one span and revision; `override` is done with it instead of what the policy decides."""

    def __init__(self, config: Config, span: int, revision: int, override: Override | None = None) -> None:
        self.span, self.revision = span, revision
        self.name = Naming(config.data.dated).format(span)
        self._ir = compiler.Compiler().compile(create_pipeline(config, span, revision, override))
        self.run_id = run_id(config.name, self.name, revision)
        runtime_parameter_utils.substitute_runtime_parameter(
            self._ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self.run_id}
        )
        self._deployment = runner_utils.extract_local_deployment_config(self._ir)
        connection = self._deployment.metadata_connection_config
        self._connection = getattr(connection, connection.WhichOneof("connection_config"))
        self._config, self._override = config, override
        self._artifacts = config.artifacts_path

    @property
    def nodes(self) -> list[str]:
        """Node ids in the order in which they run."""
        return [node.pipeline_node.node_info.id for node in self._ir.nodes]

    def run(self, on_node: OnNode | None = None) -> list[NodeRun]:
        """Runs every node that is not done yet; `on_node` is told each one before it starts.

        Raises:
          RunError: a node failed; those after it have not run.
        """
        with self._alone():
            self._refuse_late_override()
            return [self._run_node(node, on_node) for node in self.nodes]

    def run_node(self, node: str) -> NodeRun:
        """Runs one node; a no-op if it is done in this run."""
        if node not in self.nodes:
            raise RunError(f"`node` must be one of {', '.join(self.nodes)}. Received: {node!r}.")
        with self._alone():
            self._refuse_late_override()
            return self._run_node(node, None)

    def _refuse_late_override(self) -> None:
        """What the user wants instead must reach the decision; a repeat of the same wish finds it done."""
        taken = [execution for execution in self._executions(_DECIDER) if execution.last_known_state in _DONE]
        if self._override and taken and taken[-1].custom_properties["overrule"].string_value != self._override:
            raise RunError(
                f"`--decide` must come before the decision is taken. Received: {self._override.replace('_', '-')} for "
                f"{self.name}, whose decision is in the ledger. Run the span again with `--redo --decide …`."
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with exclusive(self._config):
                if left := finish(self._config):
                    _log.warning("Ended a rollback that was cut off: %s left the served folder.", left)
                end_erasures(self._config)
                yield
        except (LockedError, RollbackError) as error:
            raise RunError(str(error)) from None

    def _run_node(self, node_id: str, on_node: OnNode | None) -> NodeRun:
        if on_node:
            on_node(node_id)
        started = time.perf_counter()
        ran = False
        if not self.done(node_id):
            ran = self._launch(self._node(node_id))
        return NodeRun(node_id, time.perf_counter() - started, ran)

    def _node(self, node_id: str) -> pipeline_pb2.PipelineNode:
        return next(node.pipeline_node for node in self._ir.nodes if node.pipeline_node.node_info.id == node_id)

    def _launch(self, node: pipeline_pb2.PipelineNode) -> bool:
        node_id = node.node_info.id
        self._clear(node_id)
        try:
            info = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=self._metadata(),
                pipeline_info=self._ir.pipeline_info,
                pipeline_runtime_spec=self._ir.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(self._deployment, node_id),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, node_id),
            ).launch()
        except Exception as error:
            raise NodeError(node_id, f"{node_id} failed in span {self.name}: {error}") from error
        # A node whose condition does not hold is passed over and leaves no execution.
        if info is None or info.execution_id is None:
            return False
        if not self.done(node_id):
            why = "its inputs could not be resolved."
            try:
                with self._metadata() as handle:
                    refuse_removed_state(handle.store, self._config.name, self.span)
            except StateRemovedError as error:  # TFX keeps a resolver's error to itself
                why = str(error)
            raise NodeError(node_id, f"{node_id} failed in span {self.name}: {why}")
        return True

    def upstream(self, node: str) -> list[str]:
        """Ids of the nodes that `node` takes something from."""
        return list(self._node(node).upstream_nodes)

    def conditional(self, node: str) -> bool:
        """Whether `node` is passed over when the decision is to skip the span."""
        return bool(self._node(node).inputs.conditionals)

    def done(self, node_id: str) -> bool:
        """Whether a node has run to its end in this run, or its result was taken from the cache."""
        return any(execution.last_known_state in _DONE for execution in self._executions(node_id))

    def _metadata(self) -> metadata.Metadata:
        if self._connection.HasField("postgresql"):
            return PostgresMetadata(self._connection)
        return metadata.Metadata(self._connection)

    def _executions(self, node_id: str) -> list[metadata_store_pb2.Execution]:
        with self._metadata() as handle:
            run = handle.store.get_context_by_type_and_name("pipeline_run", self.run_id)
            return [
                execution
                for execution in (handle.store.get_executions_by_context(run.id) if run else [])
                for context in handle.store.get_contexts_by_execution(execution.id)
                if context.name == f"{self._ir.pipeline_info.id}.{node_id}"
            ]

    def _clear(self, node_id: str) -> None:
        """Removes what an attempt that was cut off has written: TFX gives the next one the same folders."""
        for execution in self._executions(node_id):
            for output in (self._artifacts / node_id).glob(f"*/{execution.id}"):
                shutil.rmtree(output)
