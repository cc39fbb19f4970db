"""Concurrent requests computed together: rows of several requests go through the graph as one batch.

A batch holds requests for one signature of one version, whose inputs have the same inner shapes; what can't share a
batch is computed alone, and answered as if there were no batching. Queues are bounded: a request that finds its queue
full is refused at once. A request that the graph refuses fails alone: its companions are computed again without it.

While a batch computes, the next one of its kind grows: it begins when the graph is free or the batch full, so that with
nobody waiting a request begins at once, and the more wait the more go together. Two that are half full would take turns
on the same cores, and read the item table twice.

As in TensorFlow Serving, a signature is taken to answer each row by itself. One whose outputs don't have a row for each
row of the batch is noticed, and computed request by request from then on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.bundle.saved_model import SavedModel
from serving.errors import ServingError
from serving.server.batch_outputs import BatchOutputs, BatchShare
from serving.server.prometheus import Metrics
from serving.tfs_config.batching_config import BatchingConfig

Tensors = Mapping[str, np.ndarray]
Done = Callable[["Tensors | Exception"], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    inputs: Tensors
    rows: int
    done: Done
    began: float


@dataclass(eq=False)
class _Batch:
    model: SavedModel
    signature: str
    # None for a request that shares with no other.
    shapes: object
    due: float
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    full: bool = False
    left: bool = False

    @property
    def queue(self) -> tuple[int, str]:
        return id(self.model), self.signature

    @property
    def kind(self) -> object:
        """What batches have in common of which a second one waits; None for a request that shares with no other."""
        return None if self.shapes is None else (self.queue, self.shapes)

    def add(self, task: _Task) -> None:
        self.tasks.append(task)
        self.rows += task.rows


class Batcher:
    """Threads that compute batches. `submit` may be called from any thread and never waits."""

    def __init__(self, config: BatchingConfig, metrics: Metrics | None = None, timeout_seconds: float = 30.0) -> None:
        self.config = config
        self._metrics = metrics or Metrics()
        self._timeout_seconds = timeout_seconds
        # In the order of their first requests.
        self._waiting: list[_Batch] = []
        self._enqueued: Counter[tuple[int, str]] = Counter()
        # The kinds of the batches that are in the graph.
        self._computing: Counter[object] = Counter()
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the batch threads."""
        self._stopping = False
        for number in range(self.config.num_batch_threads):
            thread = threading.Thread(target=self._work, name=f"rest-batch-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Computes what is waiting, and ends the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def submit(self, model: SavedModel, signature: str, inputs: Tensors, done: Done) -> None:
        """Computes `inputs` by name with others; `done` gets the outputs by name, or the error, in a batch thread.

        Raises:
          ServingError: UNAVAILABLE when the signature's queue is full, INVALID_ARGUMENT when the request has more rows
            than a batch may have.
        """
        rows = _rows(inputs) if signature in model.batchable else None
        if rows is not None and rows > self.config.max_batch_size:
            raise ServingError(
                "INVALID_ARGUMENT",
                f"Task size {rows} is larger than maximum input batch size {self.config.max_batch_size}",
            )
        now = time.monotonic()
        task = _Task(inputs, rows or 1, done, now)
        shapes = None if rows is None else self._shapes(inputs)
        with self._changed:
            batch = self._open_batch(model, signature, shapes, task.rows)
            if batch is None:
                batch = _Batch(model, signature, shapes, now + self.config.batch_timeout_micros / 1e6)
                # Counted in rows: requests of many shapes, each in a batch of its own, fill no queue sooner.
                most = self.config.max_enqueued_batches * self.config.max_batch_size
                if self._enqueued[batch.queue] + task.rows > most:
                    raise ServingError(
                        "UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full"
                    )
                self._waiting.append(batch)
            self._enqueued[batch.queue] += task.rows
            batch.add(task)
            batch.full = batch.shapes is None or batch.rows >= self.config.max_batch_size
            # A thread that waits has to look again at a new batch, and at one that need not wait any longer.
            if batch.full or (len(batch.tasks) == 1 and not self._computing[batch.kind]):
                self._changed.notify()

    def _open_batch(self, model: SavedModel, signature: str, shapes: object, rows: int) -> _Batch | None:
        if shapes is None:
            return None
        for batch in reversed(self._waiting):
            if batch.model is model and batch.signature == signature and batch.shapes == shapes and not batch.full:
                if batch.rows + rows <= self.config.max_batch_size:
                    return batch
                batch.full = True
                self._changed.notify()
                return None
        return None

    def _shapes(self, inputs: Tensors) -> object:
        """What the inputs of the requests of a batch have in common."""
        if self.config.pad_variable_length_inputs:
            return tuple((name, tensor.ndim) for name, tensor in sorted(inputs.items()))
        return tuple((name, tensor.shape[1:]) for name, tensor in sorted(inputs.items()))

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._compute(batch)
            except Exception as error:
                # Not a request's fault, and no reason to lose a thread. It came before any of them was told.
                _log.exception("A batch could not be computed")
                for task in batch.tasks:
                    _tell(task, error)
            finally:
                self._leave_graph(batch)

    def _next(self) -> _Batch | None:
        with self._changed:
            while True:
                now = time.monotonic()
                for place, batch in enumerate(self._waiting):
                    if batch.full or self._stopping or (batch.due <= now and not self._computing[batch.kind]):
                        del self._waiting[place]
                        if batch.kind is not None:
                            self._computing[batch.kind] += 1
                        self._enqueued[batch.queue] -= batch.rows
                        if not self._enqueued[batch.queue]:
                            del self._enqueued[batch.queue]
                        return batch
                if self._stopping:
                    return None
                # What waits for the graph is looked at again when that is free.
                due = min((batch.due for batch in self._waiting if not self._computing[batch.kind]), default=math.inf)
                self._changed.wait(None if due == math.inf else max(0.0, due - now))

    def _leave_graph(self, batch: _Batch) -> None:
        """Lets the next batch of this kind begin, while the answers of this one are written."""
        if batch.kind is None or batch.left:
            return
        batch.left = True
        with self._changed:
            self._computing[batch.kind] -= 1
            if not self._computing[batch.kind]:
                del self._computing[batch.kind]
            self._changed.notify()

    def _compute(self, batch: _Batch) -> None:
        now = time.monotonic()
        tasks = []
        for task in batch.tasks:
            self._metrics.queuing_latency.observe((now - task.began) * 1e6, self.config.thread_pool_name)
            if now - task.began > self._timeout_seconds:
                _tell(task, ServingError("DEADLINE_EXCEEDED", "Run() timeout exceeded while waiting in batching queue"))
            else:
                tasks.append(task)
        batch.tasks = tasks
        if not tasks:
            return
        rows = sum(task.rows for task in tasks)
        size = rows if batch.shapes is None else self.config.rounded(rows)
        self._measure(tasks, rows, size)
        if len(tasks) == 1 and size == rows:
            self._alone(batch, tasks)
            return
        try:
            outputs = batch.model.run(batch.signature, _merged([task.inputs for task in tasks], size - rows))
        except ServingError as error:
            if error.code == "DEADLINE_EXCEEDED":
                # The time of each of them is up.
                for task in tasks:
                    _tell(task, error)
            else:
                self._alone(batch, tasks)
            return
        if any(output.ndim == 0 or output.shape[0] != size for output in outputs.values()):
            _log.warning(
                "%s of version %d of %s does not give an output row for each input row: it is not batched",
                *(batch.signature, batch.model.version, batch.model.name),
            )
            batch.model.batchable.discard(batch.signature)
            self._alone(batch, tasks)
            return
        self._leave_graph(batch)
        whole = BatchOutputs({name: output[:rows] for name, output in outputs.items()})
        start = 0
        for task in tasks:
            end = start + task.rows
            _tell(task, BatchShare(whole, start, end))
            start = end

    def _alone(self, batch: _Batch, tasks: Sequence[_Task]) -> None:
        for task in tasks:
            outcome: Tensors | Exception
            try:
                outcome = batch.model.run(batch.signature, task.inputs)
            except Exception as error:
                outcome = error
            if task is tasks[-1]:
                self._leave_graph(batch)
            _tell(task, outcome)

    def _measure(self, tasks: Sequence[_Task], rows: int, size: int) -> None:
        metrics = self._metrics
        for task in tasks:
            metrics.input_batch_size.observe(task.rows)
        metrics.processed_batch_size.observe(size)
        metrics.padding_size.observe(size - rows, str(size))
        metrics.wrapped_run_count.add()


def _tell(task: _Task, outcome: Tensors | Exception) -> None:
    try:
        task.done(outcome)
    except Exception:
        # The others of its batch must be told all the same, and none of them twice.
        _log.exception("An outcome could not be handed over")


def _rows(inputs: Tensors) -> int | None:
    """The first dimension that all inputs share; None when they don't, or when it is 0."""
    sizes = {tensor.shape[0] if tensor.ndim else 0 for tensor in inputs.values()}
    return sizes.pop() or None if len(sizes) == 1 else None


def _merged(inputs: Sequence[Tensors], padding: int) -> dict[str, np.ndarray]:
    """One tensor by name, of the rows of all requests in order and `padding` copies of the last one's first row.

    What is shorter than the longest in an inner dimension has zeros or "" after it.
    """
    merged = {}
    for name in inputs[0]:
        tensors = [tensors_of[name] for tensors_of in inputs]
        if padding:
            tensors.append(np.repeat(tensors[-1][:1], padding, axis=0))
        shapes = {tensor.shape[1:] for tensor in tensors}
        merged[name] = np.concatenate(tensors) if len(shapes) == 1 else _filled(tensors, shapes)
    return merged


def _filled(tensors: Sequence[np.ndarray], shapes: Iterable[tuple[int, ...]]) -> np.ndarray:
    inner = [max(sizes) for sizes in zip(*shapes, strict=True)]
    rows, dtype = sum(len(tensor) for tensor in tensors), tensors[0].dtype
    filled = np.full((rows, *inner), b"" if dtype.hasobject else 0, dtype)
    start = 0
    for tensor in tensors:
        end = start + len(tensor)
        place = (slice(start, end), *map(slice, tensor.shape[1:]))
        filled[place] = tensor
        start = end
    return filled
