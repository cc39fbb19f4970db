"""How the next update learns, as the ledger has it: what `plan` and `status` say is what the decision will be."""

from __future__ import annotations

import json

import pytest
from tfx.types import standard_artifacts
from typer.testing import CliRunner

from components.resolvers import Champion
from components.update_decider.component import _backoff
from pipeline.cli.app import app
from pipeline.ledger.serving_state import read_serving_state
from pipeline.operations.garbage_collection import carry_out as clean
from pipeline.operations.garbage_collection import make_cleanup
from pipeline.operations.rollback import carry_out, make_rollback
from pipeline.parameters.graph_parameters import GraphParameters
from tests.pipeline.made_store import DAYS, MadeStore

HALF = "learns at half the rate: 2024-05-03 was refused, retention"


def decided(made: MadeStore, day: str) -> int:
    """The level that the pipeline's own resolver and decision come to on `day`."""
    verdicts = []
    for proto in made.store.get_artifacts_by_type("PushedModel"):
        if proto.state == proto.LIVE:
            verdicts.append(standard_artifacts.PushedModel())
            verdicts[-1].set_mlmd_artifact(proto)
    inputs = {"model": [], "model_blessing": [], "memory": [], "sequences": [], "past_verdicts": verdicts}
    resolved = Champion(DAYS.parse(day), 3).resolve_artifacts(None, inputs)["past_verdicts"]
    return _backoff(GraphParameters.of(made.config).policy, resolved).level


def level(made: MadeStore) -> int:
    """The same as it stands in the ledger's sentence."""
    said = read_serving_state(made.config).learning
    return 2 if "a quarter" in said else 1 if "half" in said else 0


def test_a_refusal_is_said_before_the_next_run_and_a_success_takes_it_back(made: MadeStore) -> None:
    first, second = made.chain(2, lesson="not worse")
    assert (level(made), decided(made, "2024-05-03")) == (0, 0)
    made.day("2024-05-03", second, blessed=False, lesson="refused")
    assert read_serving_state(made.config).learning == HALF
    assert decided(made, "2024-05-04") == 1
    path = str(made.config.root.parent / "warmspan.yaml")
    for command in ("plan", "status"):
        assert f"next      Fine-tuning {HALF}." in CliRunner().invoke(app, [command, "-c", path]).output
    assert json.loads(CliRunner().invoke(app, ["plan", "-c", path, "--json"]).output)["learning"] == HALF
    fourth = made.day("2024-05-04", second, blessed=False, lesson="refused", backoff=1)
    assert (level(made), decided(made, "2024-05-05")) == (2, 2)
    made.day("2024-05-05", second, lesson="not worse", backoff=2)
    assert (level(made), decided(made, "2024-05-06")) == (1, 1)
    assert decided(made, "2024-05-04") == 1, "a day that is run again sees what it saw the first time"
    assert fourth > first


@pytest.mark.parametrize("bad", [2024050401, 2024050301])
def test_a_verdict_that_was_taken_back_says_nothing_also_when_its_model_is_gone(made: MadeStore, bad: int) -> None:
    made.day("2024-05-01", lesson="not worse", action="cold_start")
    made.day("2024-05-02", 2024050101, blessed=False, lesson="refused")
    made.day("2024-05-03", 2024050101, lesson="not worse", backoff=1)
    made.day("2024-05-04", 2024050301, lesson="worse")
    assert (level(made), decided(made, "2024-05-05")) == (1, 1)
    carry_out(made.config, make_rollback(made.config, bad=bad), "bots")
    # Without 4 May the success of the 3rd stands; without that one too the refusal of the 2nd.
    expected = {2024050401: 0, 2024050301: 1}[bad]
    assert (level(made), decided(made, "2024-05-05")) == (expected, expected)
    clean(made.config, make_cleanup(made.config))
    assert (level(made), decided(made, "2024-05-05")) == (expected, expected)


def test_without_a_champion_there_is_nothing_to_learn_more_slowly(made: MadeStore) -> None:
    made.day("2024-05-01", blessed=False, lesson="refused", action="cold_start")
    assert (read_serving_state(made.config).learning, decided(made, "2024-05-02")) == ("", 0)
