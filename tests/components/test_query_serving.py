"""Training and serving agree: an event scored by the trainer's model, and asked for over REST with the same texts."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from components.incremental_trainer.artifact_files import SERVING_FOLDER, STATE_FOLDER
from components.incremental_trainer.settings import Settings
from components.span_example_gen.event_features import event_features
from components.span_example_gen.readers.raw_batch import RawBatch
from components.span_example_gen.settings import settings_in
from components.span_transform.query_columns import rows_of
from pipeline.cli.app import app
from serving.bundle import check_bundle
from serving.client import Client
from serving.server.rest_server import RestServer
from serving.tfs_config.model_config import ModelConfig
from tests.components.query_days import FEATURES, as_csv, read_day, span_of, train_day, trainer_settings, transform_day
from tests.conftest import REPOSITORY
from trainer.features.feature_state import FeatureState
from trainer.features.query_values import with_values
from trainer.held_out_parts import held_out_files
from trainer.input_pipeline import read_held_out, read_keys
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.train_state import ModelState
from trainer.update import rebuild
from trainer.vocabulary import Vocabulary

DAY = "2024-05-01"
CELLS = {
    "country": ("no", "se", "", "null"),
    "age": ("31", "45", "+45", "x", "", "1e3", "-4.5"),
    "device": ("tv", "phone"),
    "tags": ("x|y", "y", "", "x|z|x|w|v", "none"),
    "campaign": ("17850.0", "007", "17850", "a.0"),
    "joined": ("1500000000", "1400000000.5", "soon", "", "9e30"),
}
MODELS: dict[str, dict[str, Any]] = {
    "two_tower": {},
    "sasrec": {"dropout": 0.0},
}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    draw, start = random.Random(seed), span_of(DAY) * 86_400
    return [
        {
            "user": f"u{draw.randrange(8)}",
            "at": start + 60 * number,
            **{name: draw.choice(cells) for name, cells in CELLS.items()},
            "film": f"film {draw.randrange(12)}",
        }
        for number in range(count)
    ]


class Served(NamedTuple):
    """A model as the trainer has it, and as a server has it.

    Attributes:
      model: with `items` and `keys`; `state` is of its features and `held_out` the positions of its day.
      ingest: how cells are read.
      bundle: what is served, at `url`.
    """

    model: Recommender
    items: Vocabulary
    keys: Vocabulary
    state: FeatureState
    held_out: list[str]
    ingest: Any
    bundle: Path
    url: str


@pytest.fixture(scope="module", params=MODELS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    ingested = read_day(root, DAY, as_csv(rows(300, 1)))
    where = transform_day(root / "state", ingested, DAY)
    how: Settings = trainer_settings(request.param, **MODELS[request.param])
    trained = train_day(root / "trained", DAY, where, how)
    bundle = root / "served" / "1"
    bundle.parent.mkdir()
    (Path(trained.uri) / SERVING_FOLDER).rename(bundle)
    model = rebuild(how.model, ModelState.load(Path(trained.uri) / STATE_FOLDER))
    items, keys = (Vocabulary.load(where.vocabulary, name) for name in ("items", "keys"))
    with RestServer([ModelConfig("shop", bundle.parent)]) as server:
        yield Served(
            model, items, keys, FeatureState.load(where.vocabulary, FEATURES), held_out_files(where.held_out),
            settings_in(ingested.properties), bundle, server.url,
        )  # fmt: skip


def ask(served: Served, signature: str, instances: list[dict[str, Any]]) -> list[Any]:
    body = json.dumps({"signature_name": signature, "instances": instances}).encode()
    response = urllib3.request("POST", f"{served.url}/v1/models/shop:predict", body=body, retries=False)
    assert response.status == 200, response.data
    return response.json()["predictions"]


def ranked(
    served: Served, user: str, history: list[str], pairs: list[list[str]] | None, signature: str = "rank"
) -> np.ndarray:
    """What the server makes of all items; `pairs` None asks without features."""
    items = [item.decode() for item in served.items.ids.to_pylist()]
    instance: dict[str, Any] = {"user_id": user, "history": history or [""], "candidates": items}
    if pairs is not None:
        instance["features"], signature = [*pairs, ["", ""]], f"{signature}_in_context"
    (prediction,) = ask(served, signature, [instance])
    return np.array(prediction["scores"] if isinstance(prediction, dict) else prediction)


def scored(served: Served, user: str, history: list[str], values: dict[str, Any]) -> np.ndarray:
    """What the trainer's model makes of them."""
    length = served.model.history_length
    seen = served.items.lookup(history)[-length:] if history else np.zeros(0, np.int64)
    padded = np.concatenate([np.zeros(length - len(seen), np.int64), seen])
    key = with_values(tf.constant(served.keys.lookup([user])), {name: tf.constant(of) for name, of in values.items()})
    return served.model.score_all(key, tf.constant(padded[None])).numpy()[0, served.items.first_row :]


def values_of(served: Served, cells: dict[str, str]) -> dict[str, np.ndarray]:
    """What becomes of a row of the user's files on the way to the trainer."""
    raw = RawBatch({of.source: pa.array([cells.get(of.name)], pa.string()) for of in FEATURES}, np.ones(1, np.int64))
    columns = event_features(raw, served.ingest)
    stored = {name: of.cast(pa.binary()) if pa.types.is_string(of.type) else of for name, of in columns.items()}
    return {of.vocabulary: rows_of(stored[of.vocabulary], of, served.state) for of in FEATURES}


# No separator of ASCII's, which files of lines do not hold; blanks of all kinds are among what is drawn.
_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cn", "Co", "Cc", "Cf")), max_size=12)
_ODD = st.sampled_from(
    ["", " ", "NULL", " nan ", "None", "\\N", "<NA>", "null         ", "never", " tv ", "tv\u2003", "TV", "1", "1.",
     ".5", "1e400", "1e39", "-1e39", "++7", "+", "--1", "0x10", "inf", "-inf", "1,5", "1e5", "17850.00", "+17850.0",
     " 17850.0",
     "y| x ||null|y|q", "|", "x|\u00a0y", "1700000000", "-62135596801", "253402300800", "1.5e9", "\u0661"]
)  # fmt: skip
_CELL = st.one_of(_ODD, _TEXT, st.floats().map(repr), st.integers(-(2**60), 2**60).map(str))
_ROW = st.fixed_dictionaries(
    {}, optional={name: st.one_of(st.sampled_from(cells), _CELL) for name, cells in CELLS.items()}
)


@settings(max_examples=60)
@given(
    cells=_ROW,
    user=st.sampled_from(["u1", "nobody"]),
    history=st.lists(st.sampled_from(["film 1", "film 2", "film 7", "no film"]), max_size=6),
)
def test_a_cell_and_the_same_text_in_a_request_come_to_the_same_scores(
    served: Served, cells: dict[str, str], user: str, history: list[str]
) -> None:
    expected = scored(served, user, history, values_of(served, cells))
    got = ranked(served, user, history, [[name, text] for name, text in cells.items()])
    assert got == pytest.approx(expected, abs=1e-5)


def test_the_held_out_events_of_a_day_are_scored_alike(served: Served) -> None:
    positions, _ = read_held_out(served.held_out)
    users = [key.decode() for key in read_keys(served.held_out)]
    by_place = {(row["user"], 1000 * row["at"]): row for row in rows(300, 1)}
    for place in range(0, len(positions), 7):
        values = {name: of[place : place + 1] for name, of in positions.query_features.items()}
        history = positions.items[positions.begin[place] : positions.end[place]]
        names = [item.decode() for item in served.items.ids_of(history).to_pylist()]
        row = by_place[users[place], int(positions.timestamp[place])]
        got = ranked(served, users[place], names, [[name, row[name]] for name in CELLS])
        assert got == pytest.approx(scored(served, users[place], names, values), abs=1e-5)


def test_without_features_the_answer_is_that_of_missing(served: Served) -> None:
    plain = ranked(served, "u1", ["film 2"], None)
    assert plain == pytest.approx(ranked(served, "u1", ["film 2"], []), abs=1e-6)
    assert plain == pytest.approx(ranked(served, "u1", ["film 2"], [[name, ""] for name in CELLS]), abs=1e-6)
    assert plain == pytest.approx(scored(served, "u1", ["film 2"], values_of(served, {})), abs=1e-5)
    assert plain != pytest.approx(ranked(served, "u1", ["film 2"], [["device", "tv"], ["country", "no"]]), abs=1e-3)


def test_a_name_that_is_no_feature_is_passed_over_and_the_first_of_two_counts(served: Served) -> None:
    tv = ranked(served, "u1", [], [["device", "tv"]])
    assert ranked(served, "u1", [], [["colour", "red"], ["device", "tv"], ["device", "phone"]]) == pytest.approx(tv)
    both = ranked(served, "u1", [], [["tags", "x"], ["tags", "y"]])
    assert both == pytest.approx(ranked(served, "u1", [], [["tags", "x|y"]]))


def test_a_request_of_several_users_has_what_is_known_of_each(served: Served) -> None:
    def instance(*pairs: list[str]) -> dict[str, Any]:
        padded = [*pairs, *[["", ""]] * (2 - len(pairs))]
        return {"user_id": "u1", "history": ["film 1"], "exclude": [""], "candidates": [""], "k": 3, "features": padded}

    each = [instance(["device", "tv"], ["age", "45"]), instance(["device", "phone"]), instance()]
    together = ask(served, "recommend_in_context", each)
    for instance_of, answer in zip(each, together, strict=True):
        (alone,) = ask(served, "recommend_in_context", [instance_of])
        assert alone["item_ids"] == answer["item_ids"]
        assert alone["scores"] == pytest.approx(answer["scores"], abs=1e-5)
    assert len(together[0]["item_ids"]) == 3


def test_the_requests_of_the_page_are_answered(served: Served) -> None:
    page = (REPOSITORY / "docs" / "features.md").read_text()
    commands = [shlex.split(block) for block in re.findall(r"```sh\n(curl .*?)```", page, re.DOTALL)]
    assert len(commands) == 2
    for _, _, url, _, body in commands:
        document = json.loads(body)
        assert url == "http://127.0.0.1:8501/v1/models/shop:predict"
        assert {name for name, _ in document["instances"][0]["features"]} <= {*CELLS}
        (answer,) = ask(served, document["signature_name"], document["instances"])
        scores = answer["scores"] if isinstance(answer, dict) else answer
        assert len(scores) == document["instances"][0].get("k", 2)
        assert min(scores) > -1e29


def test_a_client_sends_what_it_is_given_as_texts(served: Served) -> None:
    known = {"device": "tv", "age": 45, "tags": ["x", "y"], "country": None}
    pairs = [["device", "tv"], ["age", "45"], ["tags", "x"], ["tags", "y"]]
    items = [item.decode() for item in served.items.ids.to_pylist()]
    expected = ranked(served, "u1", ["film 1"], pairs)
    with Client(served.url, "shop") as client:
        scores = {item.item: item.score for item in client.rank("u1", ["film 1"], items, features=known)}
        assert [scores[item] for item in items] == pytest.approx(expected, abs=1e-6)
        (best, *_) = client.recommend("u1", ["film 1"], features=known)
        assert (best.item, best.score) == (items[int(expected.argmax())], pytest.approx(expected.max(), abs=1e-5))
        assert client.embed("u1", features=known).user != client.embed("u1").user
        assert client.recommend("u1", features={"country": None}) == client.recommend("u1", features={"device": ""})


def test_the_command_line_asks_with_features(served: Served, tmp_path: Path) -> None:
    settings_file = tmp_path / "shop.yaml"
    columns = {"key": "user", "item": "film", "timestamp": "at"}
    settings_file.write_text(json.dumps({"name": "shop", "data": {"path": "events", "columns": columns}}))
    common = ["recommend", "u1", "--config", str(settings_file), "--url", served.url, "--k", "1"]
    got = CliRunner().invoke(app, [*common, "--feature", "device=tv", "--feature", "tags=x", "--feature", "tags=y"])
    with Client(served.url, "shop") as client:
        (best,) = client.recommend("u1", k=1, features={"device": "tv", "tags": ["x", "y"]})
    assert f"{best.item} " in got.stdout
    assert f"{best.score:.3f}" in got.stdout
    refused = CliRunner().invoke(app, [*common, "--feature", "device"])
    assert refused.exit_code != 0
    assert "`--feature` must be NAME=VALUE, such as device=tv. Received: 'device'." in " ".join(refused.output.split())


def test_the_manifest_names_every_feature(served: Served) -> None:
    about = check_bundle(served.bundle).about
    named = {whose: [(of["name"], of["kind"]) for of in each] for whose, each in about["features"].items()}
    assert named["key"] == [("country", "category"), ("age", "number")]
    assert [name for name, _ in named["context"]] == ["device", "tags", "campaign", "joined"]
    assert {"recommend", "recommend_in_context", "rank", "rank_in_context", "serving_default"} <= {*about["signatures"]}
