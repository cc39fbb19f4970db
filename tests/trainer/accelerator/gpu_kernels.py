"""Whether TensorFlow has a kernel for a GPU for every operation of a traced function; no GPU is needed to know.

TensorFlow's own package for Linux is built with CUDA: what it has for a GPU is registered when it is loaded, and its
placer asks this same registry by device, operation and types. What it does not find is computed by the CPU, with
copies to and fro in each step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from tensorflow.core.framework import kernel_def_pb2, node_def_pb2
from tensorflow.python.framework import kernels

from trainer.keras2 import tf

_GPU = ("GPU", "DEFAULT")  # the latter for any device


def is_known() -> bool:
    """Whether this TensorFlow was built with kernels for a GPU."""
    return tf.test.is_built_with_cuda()


def without_gpu_kernel(function: Any) -> set[str]:
    """The operations of a concrete function, of those that it calls too, that only the CPU can compute, by name."""
    graph = function.graph.as_graph_def()
    called = {of.signature.name for of in graph.library.function}
    nodes = [*graph.node, *(node for of in graph.library.function for node in of.node_def)]
    return {_shown(node) for node in nodes if node.op not in called and not has_gpu_kernel(node)}


def has_gpu_kernel(node: node_def_pb2.NodeDef) -> bool:
    """Whether there is one for the operation and the types of a node."""
    return any(_takes(constraint, node) for constraint in _constraints(node.op))


@functools.cache
def _constraints(operation: str) -> list[Any]:
    registered = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel.constraint for kernel in registered if kernel.device_type in _GPU]


def _takes(constraints: Iterable[kernel_def_pb2.KernelDef.AttrConstraint], node: node_def_pb2.NodeDef) -> bool:
    return all(set(_types(node, of.name)) <= set(of.allowed_values.list.type) for of in constraints)


def _types(node: node_def_pb2.NodeDef, name: str) -> list[int]:
    value = node.attr[name]
    return list(value.list.type) if value.HasField("list") else [value.type]


def _shown(node: node_def_pb2.NodeDef) -> str:
    types = sorted(
        f"{name}: {tf.as_dtype(value.type).name}" for name, value in node.attr.items() if value.HasField("type")
    )
    return f"{node.op}({', '.join(types)})"
