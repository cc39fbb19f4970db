from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.operations.deployment import write_deployment
from pipeline.operations.promotion import assign_label
from serving.deploy.deployment import DeployError
from serving.tfs_config.model_config import read_models_config
from tests.pipeline.made_store import MadeStore

SETTINGS = """\
name: shop
root: run
data:
  path: events
  columns: {key: user_id, item: item_id, timestamp: timestamp}
"""
ELSEWHERE = "model_config_list { config { name: 'shop' base_path: '/models/shop' } }"


def test_the_command_writes_from_the_settings_file_and_keeps_what_is_there(tmp_path: Path) -> None:
    settings, out = tmp_path / "warmspan.yaml", tmp_path / "out"
    settings.write_text(SETTINGS)
    (tmp_path / "run").mkdir(mode=0o700)
    command = ["deploy-config", "--config", str(settings), "--out", str(out)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.split() == [str(path) for path in map(Path, ran.stdout.split()) if path.is_file()]
    assert "is closed to others. `chmod o+x" in ran.stderr
    compose = yaml.safe_load((out / "compose.yaml").read_text())
    assert compose["services"]["serving"]["volumes"][0]["source"] == str(tmp_path / "run" / "serving")
    (out / "compose.yaml").write_text("mine")
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert (out / "compose.yaml").read_text() == "mine"
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    assert (out / "compose.yaml").read_text() != "mine"


def test_the_labels_that_are_moved_are_those_that_the_server_reads(made: MadeStore, tmp_path: Path) -> None:
    _, second, third = made.chain(3)
    write_deployment(made.config, tmp_path / "out")
    serving = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]["serving"]
    (file,) = (flag.partition("=")[2] for flag in serving["command"] if flag.startswith("--model_config_file="))
    (mount,) = (volume for volume in serving["volumes"] if Path(file).is_relative_to(volume["target"]))

    def seen() -> dict[str, int]:
        """The labels as the server finds them through its mount."""
        inside = Path(mount["source"]) / Path(file).relative_to(mount["target"])
        (config,) = read_models_config(inside)
        assert config.base_path.is_relative_to(mount["target"])
        assert config.policy.select([second, third]) == {second, third}
        return dict(config.labels)

    assert seen() == {"stable": third, "canary": third}
    assign_label(made.config, "stable", second)
    assert seen() == {"stable": second, "canary": third}
    # Nothing that was written before is another one now.
    assert write_deployment(made.config, tmp_path / "out")
    assert seen() == {"stable": second, "canary": third}


def test_a_models_config_that_the_server_cannot_use_is_a_sentence(made: MadeStore, tmp_path: Path) -> None:
    made.config.models_config_path.parent.mkdir(parents=True, exist_ok=True)
    for text, rule in (("oops {", "must be a ModelServerConfig"), (ELSEWHERE, "Each `base_path` in .* must lie in")):
        made.config.models_config_path.write_text(text)
        with pytest.raises(DeployError, match=rule):
            write_deployment(made.config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
