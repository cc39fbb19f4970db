"""TFX's driver with the encoder's digest among what an execution is known by: files under a path may change."""

from __future__ import annotations

import json

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2

from trainer.encoders.folder import encoder_digest


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Puts the digest where TFX's cache looks: another encoder in the same folder is another execution."""

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See TFX.

        Raises:
          EncoderError: the encoder can't be run.
        """
        result = driver_output_pb2.DriverOutput()
        for name, value in execution_info.exec_properties.items():
            if value is not None:
                data_types_utils.set_metadata_value(result.exec_properties[name], value)
        settings = json.loads(execution_info.exec_properties["settings"])
        digest = encoder_digest(settings["folder"], settings["max_tokens"], settings["prefix"])
        data_types_utils.set_metadata_value(result.exec_properties["encoder"], digest)
        return result
