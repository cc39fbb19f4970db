"""TensorFlow Serving's configuration files in text form: protocol buffers, read by protobuf's own parser.

The Python package of TensorFlow Serving carries the message of models.config alone; those of the batching and the
monitoring file are described here, field by field, so that the same parser reads all three.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

# Field number, name and type of each message, as in session_bundle_config.proto and monitoring_config.proto.
_INT64, _STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
_MESSAGES = {
    "BatchingParameters": (
        (1, "max_batch_size", _INT64),
        (2, "batch_timeout_micros", _INT64),
        (3, "max_enqueued_batches", _INT64),
        (4, "num_batch_threads", _INT64),
        (5, "thread_pool_name", _STRING),
        (6, "allowed_batch_sizes", "repeated int64"),
        (7, "pad_variable_length_inputs", "bool"),
    ),
    "PrometheusConfig": ((1, "enable", "bool"), (2, "path", "string")),
    "MonitoringConfig": ((1, "prometheus_config", ".tensorflow.serving.PrometheusConfig"),),
}


class ServerConfigError(ValueError):
    """A configuration file of the server that can't be used; the message says what to change."""


def read_text(path: str | Path, message: str) -> Any:
    """The message `message` of the file `path`: ModelServerConfig, BatchingParameters or MonitoringConfig.

    Raises:
      ServerConfigError: the file can't be read, or is not such a message in text form.
    """
    # This costs a tenth of a second, which a server started on a plain folder does not need.
    from google.protobuf import text_format

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServerConfigError(f"{path} must be a readable text file. Received: {error}.") from None
    try:
        return text_format.Parse(text, _message_class(message)())
    except text_format.ParseError as error:
        raise ServerConfigError(f"{path} must be a {message} in text form. At line:column {error}.") from None


@functools.cache
def _message_class(name: str) -> Any:
    if name == "ModelServerConfig":
        from tensorflow_serving.config import model_server_config_pb2

        return model_server_config_pb2.ModelServerConfig
    return _described()[name]


@functools.cache
def _described() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="warmspan/server_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for number, field_name, kind in fields:
            field = described.field.add(name=field_name, number=number, label=kinds.LABEL_OPTIONAL)
            if kind.startswith("repeated "):
                field.label, kind = kinds.LABEL_REPEATED, kind.removeprefix("repeated ")
            if kind.startswith("."):
                field.type, field.type_name = kinds.TYPE_MESSAGE, kind
            else:
                field.type = {"int64": kinds.TYPE_INT64, "bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING}[kind]
    # A pool of its own: a process that also holds the real messages must not meet them twice.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    # protobuf 3.20 has the factory, newer ones the function alone.
    to_class = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {name: to_class(pool.FindMessageTypeByName(f"tensorflow.serving.{name}")) for name in _MESSAGES}
