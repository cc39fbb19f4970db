"""The client against a real server, and against servers that misbehave."""

from __future__ import annotations

import http.server
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving.client import Client, ClientError, ModelVersion, Recommendation
from serving.server.rest_server import RestServer
from serving.tfs_config.model_config import ModelConfig
from tests.serving import rest_models
from tests.serving.recommenders import export, make_shop


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    root = tmp_path_factory.mktemp("models")
    rest_models.recommender(root / "shop" / "7")
    rest_models.recommender(root / "plain" / "1", titles=False)
    rest_models.half_plus(root / "half" / "1", 1)
    export(make_shop(40, 5, dimension=4), root / "films" / "1", max_k=8)
    export(make_shop(40, 5, "ranking", dimension=4, hidden=(6,)), root / "towers" / "1", max_k=8)
    shop = ModelConfig("shop", root / "shop", labels={"stable": 7, "gone": 6})
    others = [ModelConfig(name, root / name) for name in ("plain", "half", "films", "towers")]
    with RestServer([shop, *others]) as running:
        yield running


@pytest.fixture
def client(server: RestServer) -> Iterator[Client]:
    with Client(server.url, "shop") as asking:
        yield asking


def test_recommendations_best_first_without_padding(client: Client) -> None:
    assert client.recommend("u", k=2) == [
        Recommendation("i1", 3.0, "Title a of i1 for u"),
        Recommendation("i2", 2.0, "Title a of i2 for u"),
    ]
    assert [recommendation.item for recommendation in client.recommend("u", ["i1", "i3"])] == ["i2"]
    assert client.recommend("u", ["i1", "i2", "i3"]) == []
    assert [recommendation.item for recommendation in client.recommend("u", (), k=50)] == ["i1", "i2", "i3"]


def test_ids_of_any_kind_arrive_unchanged(client: Client) -> None:
    for user in ("", "a,b\n\"c'", "日本 😀", "x" * 10_000):
        assert client.recommend(user, k=1)[0].title == f"Title a of i1 for {user}"


def test_a_model_without_titles(server: RestServer) -> None:
    with Client(server.url, "plain") as client:
        assert client.recommend("u", k=1) == [Recommendation("i1", 3.0, None)]


def test_candidates_ranked(client: Client) -> None:
    assert client.rank("u", ["i1"], ["i2", "i9", "i5"]) == [
        Recommendation("i9", 9.0),
        Recommendation("i5", 5.0),
        Recommendation("i2", 2.0),
    ]
    assert [recommendation.item for recommendation in client.rank("u", [], ["a2", "b2"])] == ["a2", "b2"]


def test_an_exported_model_is_asked_for_all_that_it_can_do(server: RestServer) -> None:
    with Client(server.url, "films") as client:
        history = ["item 3", "item 4", "nobody's"]
        plain = client.recommend("user 1", history, k=8)
        assert len(plain) == 8
        assert plain[0].title == f"Title {plain[0].item.encode()!r}"
        assert plain[0].columns == {"year": str(1900 + int(plain[0].item.split()[1]))}
        best = plain[0].item
        assert client.recommend("user 1", history, k=7, exclude=[best]) == plain[1:]
        among = client.recommend(
            "user 1", history, k=2, exclude=[best], candidates=[recommendation.item for recommendation in plain[:4]]
        )
        assert [recommendation.item for recommendation in among] == [
            recommendation.item for recommendation in plain[1:3]
        ]
        assert [recommendation.score for recommendation in among] == pytest.approx(
            [recommendation.score for recommendation in plain[1:3]]
        )
        assert client.recommend("user 1", history, candidates=["item 3", "item 9", "nobody's"]) == []
        vectors = client.embed("user 1", history, [best, "nobody's"])
        assert sum(a * b for a, b in zip(vectors.user, vectors.items[best], strict=True)) == pytest.approx(
            plain[0].score
        )
        assert set(vectors.items["nobody's"]) == {0.0}
        assert client.embed("user 1", history) == type(vectors)(vectors.user, {})
    with Client(server.url, "towers") as client, pytest.raises(ClientError, match='"embed" not found'):
        client.embed("user 1")


def test_status_metadata_and_predict(server: RestServer, client: Client) -> None:
    assert client.status() == [ModelVersion(7, "AVAILABLE")]
    assert client.metadata()["model_spec"]["version"] == "7"
    assert client.predict([{"user_id": "u", "history": ["i1", "i2", "i3"]}])[0]["scores"] == [-math.inf] * 3
    with Client(server.url + "/", "shop", version=7) as versioned, Client(server.url, "shop", label="stable") as named:
        assert versioned.recommend("u") == named.recommend("u") == client.recommend("u")
    with pytest.raises(ValueError, match="At most one of `version` and `label` must be given"):
        Client(version=1, label="stable")


@pytest.mark.parametrize(
    ("call", "message", "status"),
    [
        (lambda c: c.recommend("u", k=0), r"`k` must be at least 1\. Received: 0\.", None),
        (lambda c: c.recommend(5), r"`user_id` must hold ids as strings.* Received: 5\.", None),
        (lambda c: c.recommend("u", [1]), r"`history` must hold ids as strings.* Received: 1\.", None),
        (lambda c: c.recommend("u", exclude=[2]), r"`exclude` must hold ids as strings.* Received: 2\.", None),
        (lambda c: c.rank("u", [], []), "`candidates` must name at least one item", None),
        (lambda c: c.predict([1.0]), "refused the request: correct it as its words say .*expecting list of", 400),
        (lambda c: c.predict([{}], "no"), 'refused the request.*"no" not found', 400),
    ],
)
def test_an_error_is_one_sentence_that_says_what_to_do(
    client: Client, call: Callable[[Client], Any], message: str, status: int | None
) -> None:
    with pytest.raises(ClientError, match=message) as caught:
        call(client)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)


def test_models_that_are_not_there_or_not_recommenders(server: RestServer) -> None:
    for model, options in (("nobody", {}), ("shop", {"version": 8}), ("shop", {"label": "gone"})):
        with Client(server.url, model, **options) as client:
            with pytest.raises(ClientError, match=f"serves no such model: correct the name '{model}'") as caught:
                client.recommend("u")
            assert caught.value.status == 404
    with Client(server.url, "half") as client, pytest.raises(ClientError, match="named input: user_id"):
        client.recommend("u")


def test_an_address_without_a_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    began = time.monotonic()
    with Client(url, "shop", retries=2) as client, pytest.raises(ClientError, match=r"Nothing answers at .*`warmspan"):
        client.status()
    assert time.monotonic() - began > 0.15


class Scripted(http.server.ThreadingHTTPServer):
    """Answers each request by the next step of a script, and remembers its connections."""

    daemon_threads = True

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.connections: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *args: Any) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Scripted)
        self.server.connections.append(self.client_address)
        step = self.server.script.pop(0)
        if step == "hang up":
            self.close_connection = True
            return
        if step == "sleep":
            time.sleep(1.0)
            step = 200
        body = b'{"model_version_status": []}' if step == 200 else b'{"error": "no"}' if step != "html" else b"<html>"
        self.send_response(step if isinstance(step, int) else 200)
        self.send_header("Content-Length", str(len(body)))
        if step == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def test_what_passes_is_tried_again_on_one_connection() -> None:
    with Scripted(503, 502, 200, 200) as server, Client(server.url) as client:
        assert client.status() == []
        assert client.status() == []
        assert server.script == []
        assert len(set(server.connections)) == 1


def test_a_connection_that_breaks_is_opened_again() -> None:
    with Scripted("hang up", 200) as server, Client(server.url) as client:
        assert client.status() == []
        assert len(set(server.connections)) == 2


def test_an_overloaded_server_is_given_up_after_the_retries() -> None:
    with Scripted(*[503] * 9) as server, Client(server.url, retries=2) as client:
        with pytest.raises(ClientError, match=r"overloaded: send less, or try again later \(no\)") as caught:
            client.status()
        assert caught.value.status == 503
        assert len(server.script) == 6


@pytest.mark.parametrize(("step", "message"), [(400, "refused"), (404, "no such model"), (500, "look at its log")])
def test_what_stays_wrong_is_not_tried_again(step: int, message: str) -> None:
    with Scripted(step, 200) as server, Client(server.url) as client:
        with pytest.raises(ClientError, match=message):
            client.status()
        assert server.script == [200]


def test_a_server_that_is_too_slow_gets_no_second_request() -> None:
    with Scripted("sleep", 200) as server, Client(server.url, timeout=0.2) as client:
        with pytest.raises(ClientError, match=r"did not answer within 0\.2 s: raise `timeout`"):
            client.status()
        assert server.script == [200]


def test_an_answer_that_is_no_json() -> None:
    with Scripted("html") as server, Client(server.url) as client, pytest.raises(ClientError, match="must answer with"):
        client.status()
