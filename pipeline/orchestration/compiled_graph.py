"""The graph of one span and revision, compiled for TFX's launcher."""

from __future__ import annotations

from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from components.update_decider.decision import Override
from pipeline.config import Config
from pipeline.graph import create_pipeline
from pipeline.ledger.runs import run_id
from pipeline.metadata_store.postgres import PostgresMetadata
from pipeline.spans import Naming


class CompiledGraph:
    """What is run for a span: its nodes, each ready to be launched.

    Attributes:
      pipeline: the recommender's name.
      run_id: says the pipeline, the span and the revision, the same in every process.
      nodes: node ids in the order in which they run.
    """

    def __init__(self, config: Config, span: int, revision: int, override: Override | None) -> None:
        self._ir = compiler.Compiler().compile(create_pipeline(config, span, revision, override))
        self.pipeline = config.name
        self.run_id = run_id(config.name, Naming(config.data.dated).format(span), revision)
        runtime_parameter_utils.substitute_runtime_parameter(
            self._ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self.run_id}
        )
        self._deployment = runner_utils.extract_local_deployment_config(self._ir)
        self._nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in self._ir.nodes}
        self.nodes = tuple(self._nodes)

    def upstream(self, node: str) -> list[str]:
        """Ids of the nodes that `node` takes something from."""
        return list(self._nodes[node].upstream_nodes)

    def numbers(self, node: str) -> dict[str, int]:
        """Whole numbers among the node's parameters, by name."""
        given = self._nodes[node].parameters.parameters
        values = {name: parameter.field_value for name, parameter in given.items()}
        return {name: value.int_value for name, value in values.items() if value.WhichOneof("value") == "int_value"}

    def conditions(self, node: str) -> frozenset[str]:
        """Ids of the nodes that may say that `node` is passed over: the guard, and the decider."""
        inputs = self._nodes[node].inputs
        # TFX's compiler gives a node what its conditions look at under names with a leading underscore.
        looked_at = [spec for name, spec in inputs.inputs.items() if inputs.conditionals and name.startswith("_")]
        return frozenset(channel.producer_node_query.id for spec in looked_at for channel in spec.channels)

    def metadata(self) -> metadata.Metadata:
        """A handle of ML Metadata, as TFX's launcher wants it."""
        connection = self._deployment.metadata_connection_config
        config = getattr(connection, connection.WhichOneof("connection_config"))
        return PostgresMetadata(config) if config.HasField("postgresql") else metadata.Metadata(config)

    def launcher(self, node: str) -> launcher.Launcher:
        """Runs `node` once."""
        of_node: pipeline_pb2.PipelineNode = self._nodes[node]
        return launcher.Launcher(
            pipeline_node=of_node,
            mlmd_connection=self.metadata(),
            pipeline_info=self._ir.pipeline_info,
            pipeline_runtime_spec=self._ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(self._deployment, node),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, node),
        )
