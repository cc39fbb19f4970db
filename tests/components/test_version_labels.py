"""The labels in models.config, whoever wrote the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.span_pusher.version_labels import knows, read_labels, write_labels
from serving.tfs_config.model_config import All, Latest, ModelConfigError, read_models_config

THEIRS = """
model_config_list {
  config { name: 'other' base_path: '/models/other' model_version_policy { latest { num_versions: 3 } } }
  config {
    name: 'shop'  # a comment
    base_path: '/models/shop' model_platform: 'tensorflow'
    model_version_policy { %s }
    logging_config { sampling_config { sampling_rate: 0.5 } }
  }
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "models.config"


def test_without_a_file_there_are_no_labels_and_the_first_one_makes_it(file: Path) -> None:
    assert read_labels(file, "shop") == {}
    write_labels(file, "shop", file.parent / "shop", {"stable": 3})
    (config,) = read_models_config(file)
    assert (config.name, config.base_path) == ("shop", file.parent / "shop")
    assert (config.labels, config.policy) == ({"stable": 3}, All())
    assert [path.name for path in file.parent.iterdir()] == ["models.config"]


def test_what_may_get_a_label_is_loaded_before(file: Path) -> None:
    """The server refuses a file that moves a label to a version that is not loaded, with all else that it says."""
    for labels in ({"stable": 1}, {"stable": 1, "canary": 2}, {"stable": 2, "canary": 2}, {"stable": 2, "canary": 3}):
        write_labels(file, "shop", file.parent / "shop", labels)
        (config,) = read_models_config(file)
        assert (config.labels, config.policy.select(range(10))) == (labels, set(range(10)))


def test_whether_the_file_knows_a_model(file: Path) -> None:
    assert not knows(file, "shop")
    write_labels(file, "shop", file.parent / "shop", {})
    assert (knows(file, "shop"), knows(file, "other")) == (True, False)


def test_what_else_the_file_says_stays(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(THEIRS % "specific { versions: 3 }")
    write_labels(file, "shop", file.parent / "shop", {"stable": 3})
    other, shop = read_models_config(file)
    assert (other.name, other.policy) == ("other", Latest(3))
    assert (str(shop.base_path), shop.policy, shop.labels) == ("/models/shop", All(), {"stable": 3})
    assert "sampling_rate: 0.5" in file.read_text()


def test_without_labels_the_newest_version_is_served_again(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(THEIRS % "latest { num_versions: 2 }")
    write_labels(file, "shop", file.parent / "shop", {"stable": 3})
    assert read_models_config(file)[1].policy == All()
    write_labels(file, "shop", file.parent / "shop", {})
    assert read_models_config(file)[1].policy == Latest(1)
    assert read_labels(file, "shop") == {}


def test_a_file_that_cannot_be_used_is_left_as_it_is(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("oops {")
    for call in (
        lambda: read_labels(file, "shop"),
        lambda: knows(file, "shop"),
        lambda: write_labels(file, "shop", file.parent, {"stable": 3}),
    ):
        with pytest.raises(ModelConfigError, match="must be a ModelServerConfig in text form"):
            call()
    assert file.read_text() == "oops {"


def test_every_user_may_read_the_file_whatever_the_umask(file: Path) -> None:
    before = os.umask(0o077)
    try:
        write_labels(file, "shop", file.parent / "shop", {"stable": 1})
    finally:
        os.umask(before)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o644, 0o755)
