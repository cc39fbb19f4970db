"""The cluster of workers that TF_CONFIG names, as Kubernetes' TFJob and TensorFlow's users set it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from trainer.distribution import Distribution
from trainer.keras2 import tf
from trainer.resumption import Progress

_TRAINS = ("chief", "master", "worker")


class WorkerError(RuntimeError):
    """The cluster can't be used, or has lost a worker too often; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the tasks of a cluster.

    Attributes:
      name: as `worker-1`.
      is_chief: whether it writes what is learned: the task `chief`, else worker 0.
      workers: how many train.
    """

    name: str
    is_chief: bool
    workers: int


def this_worker() -> Worker:
    """Who this process is.

    Raises:
      WorkerError: TF_CONFIG is not set, or names no worker that this could be.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
        cluster = {name: len(config["cluster"][name]) for name in _TRAINS if name in config["cluster"]}
        kind, number = config["task"]["type"], int(config["task"]["index"])
        known = number < cluster.get(kind, 0)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise WorkerError(
            "`training.strategy: multi_worker` needs the environment variable TF_CONFIG, with `cluster` and `task` as "
            'TensorFlow has it: {"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
            f'"index": 0}}}}. Received: {text!r}. Set it on every worker (docs/workers.md).'
        )
    chief = next(iter(cluster))
    return Worker(f"{kind}-{number}", kind == chief and number == 0, sum(cluster.values()))


def multi_worker(worker: Worker, progress: Path) -> Distribution:
    """Joins the cluster and waits for all of it. Nothing may have been computed in this process before.

    Args:
      progress: a folder that all workers see.
    """
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Distribution(strategy, Progress(progress, worker.is_chief))


def mirrored() -> Distribution:
    """All GPUs of this machine; without any, its logical CPU devices, of which there is one if nobody made more."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return Distribution(tf.distribute.MirroredStrategy([device.name for device in devices]))
