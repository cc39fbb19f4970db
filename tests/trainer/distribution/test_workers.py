"""Who a process is, by TF_CONFIG."""

from __future__ import annotations

import json

import pytest

from trainer.workers import Worker, WorkerError, this_worker

HOSTS = ["a:2222", "b:2222"]


def config(kind: str, index: int, **cluster: list[str]) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "worker"),
    [
        (config("worker", 0, worker=HOSTS), Worker("worker-0", True, 2)),
        (config("worker", 1, worker=HOSTS), Worker("worker-1", False, 2)),
        (config("worker", 0, chief=["c:2222"], worker=HOSTS), Worker("worker-0", False, 3)),
        (config("chief", 0, worker=HOSTS, chief=["c:2222"]), Worker("chief-0", True, 3)),
        (config("worker", "1", worker=HOSTS, evaluator=["e:1"]), Worker("worker-1", False, 2)),
    ],
)
def test_the_chief_is_the_task_of_that_name_or_worker_0(text, worker, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert this_worker() == worker


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        json.dumps({"cluster": {"worker": HOSTS}}),
        config("worker", 2, worker=HOSTS),
        config("ps", 0, worker=HOSTS, ps=["p:1"]),
        config("worker", 0),
    ],
)
def test_what_names_no_worker_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(WorkerError, match=r"needs the environment variable TF_CONFIG, .*docs/workers\.md"):
        this_worker()
