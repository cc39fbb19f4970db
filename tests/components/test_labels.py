"""The labels in models.config, whoever wrote the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.span_pusher.labels import read_labels, write_labels
from serving.model_config import All, Latest, ModelConfigError, Specific, read_models_config

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
    assert (config.labels, config.policy) == ({"stable": 3}, Specific(frozenset({3})))
    assert [path.name for path in file.parent.iterdir()] == ["models.config"]


def test_every_labelled_version_stays_loaded_and_so_does_the_one_before_until_the_next_move(file: Path) -> None:
    def loaded(labels: dict[str, int], gone: tuple[int, ...] = ()) -> set[int]:
        write_labels(file, "shop", file.parent / "shop", labels, gone)
        assert read_labels(file, "shop") == labels
        return read_models_config(file)[0].policy.select(range(10))

    assert loaded({"stable": 1}) == {1}
    assert loaded({"stable": 1, "canary": 2}) == {1, 2}
    assert loaded({"stable": 2, "canary": 2}) == {1, 2}
    assert loaded({"stable": 2, "canary": 3}) == {2, 3}
    assert loaded({"stable": 2, "canary": 2}, gone=(3,)) == {2}


def test_what_else_the_file_says_stays(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(THEIRS % "all {}")
    write_labels(file, "shop", file.parent / "shop", {"stable": 3})
    other, shop = read_models_config(file)
    assert (other.name, other.policy) == ("other", Latest(3))
    assert (str(shop.base_path), shop.policy, shop.labels) == ("/models/shop", All(), {"stable": 3})
    assert "sampling_rate: 0.5" in file.read_text()


def test_without_labels_the_newest_version_is_served_again(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(THEIRS % "latest { num_versions: 2 }")
    write_labels(file, "shop", file.parent / "shop", {"stable": 3})
    assert read_models_config(file)[1].policy == Specific(frozenset({3}))
    write_labels(file, "shop", file.parent / "shop", {})
    assert read_models_config(file)[1].policy == Latest(1)
    assert read_labels(file, "shop") == {}


def test_a_file_that_cannot_be_used_is_left_as_it_is(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("oops {")
    for call in (lambda: read_labels(file, "shop"), lambda: write_labels(file, "shop", file.parent, {"stable": 3})):
        with pytest.raises(ModelConfigError, match="must be a ModelServerConfig in text form"):
            call()
    assert file.read_text() == "oops {"
