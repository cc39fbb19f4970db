"""The benchmarks of the server run, small; and the short form of what the long fuzz run looks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from benchmarks import hot_swap, serving
from benchmarks.fuzz_serving import ITEMS, fuzz, valid_bodies
from benchmarks.mutated_requests import Mutator
from benchmarks.serving_model import item_id, requests, write_model
from benchmarks.serving_process import ServerProcess
from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "shop" / "1", ITEMS).parent


@pytest.fixture(scope="module", params=[None, BatchingConfig()], ids=["alone", "batched"])
def server(folder: Path, request: pytest.FixtureRequest) -> Iterator[RestServer]:
    with RestServer({"shop": folder}, batching=request.param) as running:
        yield running


def test_every_valid_body_is_answered(server: RestServer) -> None:
    for body in valid_bodies()[:-2]:
        response = urllib3.request("POST", f"{server.url}/v1/models/shop:predict", json=body)
        assert response.status == 200, response.data


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_requests_leave_the_server_whole(server: RestServer, seed: int) -> None:
    predict = f"{server.url}/v1/models/shop:predict"
    good = json.dumps(valid_bodies()[0]).encode()

    def ask() -> bytes:
        return urllib3.request("POST", predict, body=good).data

    before = ask()
    seen = asyncio.run(fuzz(predict, Mutator("shop", valid_bodies(), seed), 500))
    assert not [what for what in seen if what.startswith("wrong")], seen
    # A status that stands for something: answered, refused, not there, not supported.
    assert set(seen) - {"sent again"} <= {"200", "400", "404", "501"}, seen
    assert seen["200"] > 20
    assert ask() == before


def test_the_same_seed_mutates_in_the_same_way() -> None:
    first, other = Mutator("shop", valid_bodies(), 3), Mutator("shop", valid_bodies(), 3)
    made = [first.request() for _ in range(50)]
    assert made == [other.request() for _ in range(50)]
    assert len(set(made)) > 45


def test_the_model_recommends_what_its_vectors_say(server: RestServer) -> None:
    body = {"instances": [{"user_id": "u1", "history": [item_id(3)]}]}
    answer = urllib3.request("POST", f"{server.url}/v1/models/shop:predict", json=body).json()["predictions"][0]
    assert len(answer["item_ids"]) == 20
    assert item_id(3) not in answer["item_ids"]
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


@pytest.mark.slow
def test_the_benchmark_measures_both_servers(tmp_path: Path) -> None:
    result = serving.measure(100, tmp_path, seconds=0.3, rounds=1, clients=[4])
    assert result["ratios"]["4 clients: answers batched / alone"][0] > 0
    assert all(ratio > 0 for (ratio,) in result["ratios"].values())
    for mode in ("alone", "batched"):
        assert result[mode]["saturation"] > 0
        assert result[mode]["half"][0]["answered"] > 0
        assert result[mode]["p99_to_p50"][0] >= 1


@pytest.mark.slow
def test_the_swap_benchmark_sees_each_version_and_no_mixture(tmp_path: Path) -> None:
    for version in (1, 2):
        write_model(tmp_path / "staged" / str(version), 100, title=f"v{version} ", seed=version)
    (tmp_path / "shop").mkdir()
    hot_swap.push(tmp_path / "staged" / "1", tmp_path / "shop" / "1")
    with ServerProcess("shop", tmp_path / "shop", "--file_system_poll_wait_seconds=0.1") as server:
        seen = asyncio.run(hot_swap.swap(tmp_path, server.predict, versions=2, seconds=8, rate=20, items=100))
        assert server.memory > 1 << 20
    assert set(seen) == {"v1", "v2"}
    assert sum(seen.values()) == 160


def test_requests_are_the_same_for_the_same_seed() -> None:
    assert requests(10, 5) == requests(10, 5)
