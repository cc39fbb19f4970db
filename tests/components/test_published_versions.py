"""A copy in a store is the folder's, and never half a version to a server, wherever the process ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.object_store.store import ObjectStoreError
from components.span_pusher.fetched_versions import fetch
from components.span_pusher.published_versions import INCOMING, MARKER, EmptiedError, NotOursError, publish, published
from components.span_pusher.streamed_versions import streamed_version
from components.span_pusher.version_folder import drop_streamed, push, streamed, take_out, versions
from components.span_pusher.version_labels import read_labels, write_labels
from serving.bundle import Manifest, check_bundle, fingerprints
from tests.components.object_store.folder_store import Faults, KilledError, folder_store
from tests.components.test_version_folder import make_bundle

ONE, TWO, THREE = 2024050101, 2024050201, 2024050301
OURS = "a root"


class Root:
    """A served folder with its labels, and a store beside it."""

    def __init__(self, base: Path) -> None:
        self.base, self.served, self.config = base, base / "serving" / "shop", base / "serving" / "models.config"
        self.place = base / "store" / "bucket" / "models" / "shop"
        self._seen: dict[int, set[str]] = {}

    def push(self, version: int, content: str = "weights") -> None:
        bundle = self.base / f"bundle {version} {content}"
        if not bundle.exists():
            make_bundle(bundle, f"{content} {version}")
        push(bundle, self.served, version, {})

    def publish(self, faults: Faults | None = None) -> object:
        store = folder_store(self.base / "store", faults)
        return publish(self.served, self.config, store, OURS, wait_seconds=0)

    def there(self):
        return published(folder_store(self.base / "store"))

    def check_what_servers_see(self) -> None:
        """What can be loaded is whole, and what is named is there to be loaded."""
        for folder in self.place.glob("[0-9]*"):
            if (folder / MARKER).exists():
                held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
                assert held >= {"variables/variables.index", "variables/variables.data", "assets/items.txt"}, folder
        named = self.there().named
        assert all((self.place / str(version) / MARKER).exists() for version in named), named

    def check_is_the_same(self) -> None:
        there, here = self.there(), sorted((*versions(self.served), *streamed(self.served)))
        assert (list(there.whole), there.partial) == (here, ())
        for version in here:
            assert check_bundle(self.place / str(version)) == check_bundle(self.served / str(version))
        labels = read_labels(self.config, "shop")
        assert dict(there.labels) == labels
        assert list(there.named) == (here if labels else here[-1:])
        assert not (self.place / INCOMING).exists() or not any(
            path.is_file() for path in (self.place / INCOMING).rglob("*")
        )


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_a_copy_has_the_layout_that_tensorflow_serving_reads(root: Root) -> None:
    root.push(ONE)
    root.push(TWO)
    root.publish()
    root.check_is_the_same()
    assert sorted(path.name for path in root.place.iterdir() if path.name != INCOMING) == [
        *(str(ONE), str(TWO)),
        *("models.config", "root.json"),
    ]
    text = (root.place / "models.config").read_text()
    assert 'base_path: "s3://bucket/models/shop"' in text
    assert "specific {\n        versions: 2024050201\n" in text


def test_a_repeated_publication_changes_nothing(root: Root) -> None:
    root.push(ONE)
    root.publish()
    faults = Faults()
    root.publish(faults)
    assert faults.changes == 0


def test_files_come_beside_first_and_the_marker_last(root: Root) -> None:
    root.push(ONE)
    order: list[str] = []

    def note() -> None:
        order.extend(
            name
            for path in sorted(root.place.rglob("*"))
            if path.is_file() and (name := path.relative_to(root.place).as_posix()) not in order
        )

    root.publish(Faults(after=note))
    names = [name.partition("/")[2] for name in order if name.startswith(f"{ONE}/")]
    assert names[-2:] == [MARKER, "manifest.json"]
    first = order.index(f"{ONE}/{names[0]}")
    assert all(order.index(f"{INCOMING}/{ONE}/{name}") < first for name in names)
    assert order.index("models.config") > order.index(f"{ONE}/manifest.json")


def test_what_leaves_is_no_more_named_before(root: Root) -> None:
    for version in (ONE, TWO):
        root.push(version)
    root.publish()
    take_out(root.served, [TWO])
    root.publish(Faults(after=root.check_what_servers_see))
    root.check_is_the_same()


def test_labels_and_streamed_versions_follow(root: Root) -> None:
    for version in (ONE, TWO):
        root.push(version)
    write_labels(root.config, "shop", root.served, {"stable": ONE, "canary": TWO})
    root.publish()
    root.check_is_the_same()
    root.push(streamed_version(TWO, 1))
    write_labels(root.config, "shop", root.served, {})
    root.publish()
    root.check_is_the_same()
    assert root.there().named == (streamed_version(TWO, 1),)
    drop_streamed(root.served)
    root.publish()
    assert root.there().named == (TWO,)


def test_a_label_comes_to_a_restored_version_once_servers_could_load_it(root: Root) -> None:
    root.push(TWO)
    write_labels(root.config, "shop", root.served, {"stable": TWO})
    root.publish()
    root.push(ONE)
    write_labels(root.config, "shop", root.served, {"stable": ONE})
    seen: list[tuple[tuple[int, ...], dict[str, int]]] = []
    root.publish(Faults(after=lambda: seen.append((root.there().named, dict(root.there().labels)))))
    states = list(dict.fromkeys((named, tuple(labels.items())) for named, labels in seen))
    assert states == [
        ((TWO,), (("stable", TWO),)),
        ((ONE, TWO), (("stable", TWO),)),
        ((ONE, TWO), (("stable", ONE),)),
    ]


def test_a_version_that_was_changed_in_place_is_exchanged(root: Root) -> None:
    root.push(ONE)
    root.publish()
    folder = root.served / str(ONE)
    (folder / "assets/items.txt").write_text("without a user")
    Manifest({"span": 1}, fingerprints(folder)).write(folder)
    changes = root.publish(Faults(after=root.check_what_servers_see))
    assert (changes.came, changes.left) == ((ONE,), (ONE,))
    root.check_is_the_same()


def test_an_emptied_folder_takes_nothing_out_of_service(root: Root) -> None:
    root.publish()
    assert root.there() == type(root.there())((), (), (), {})
    root.push(ONE)
    root.publish()
    before = root.there()
    shutil.rmtree(root.served)
    with pytest.raises(EmptiedError, match=f"must hold a version, .* Received: none, where .* holds {ONE}"):
        root.publish()
    assert root.there() == before


@pytest.mark.parametrize("of_whom", ["another root", "nobody known"])
def test_what_is_not_ours_is_left_alone(root: Root, of_whom: str) -> None:
    root.push(ONE)
    if of_whom == "another root":
        publish(root.served, root.config, folder_store(root.base / "store"), "the other", wait_seconds=0)
        words = "place of one pipeline root. Received: it is that of the root the other, and this one is a root"
    else:
        make_bundle(root.place / str(THREE))
        words = f"must hold no versions before the first .* Received: {THREE}"
    before = {path: path.read_bytes() for path in root.place.rglob("*") if path.is_file()}
    with pytest.raises(NotOursError, match=words):
        root.publish()
    assert {path: path.read_bytes() for path in root.place.rglob("*") if path.is_file()} == before


def test_a_version_that_leaves_while_it_is_uploaded_is_no_more_missed(root: Root) -> None:
    for version in (ONE, TWO):
        root.push(version)

    def leave() -> None:
        if (root.place / INCOMING / str(TWO)).exists():  # as a stream or a rollback does
            take_out(root.served, [TWO])

    root.publish(Faults(after=leave))
    assert versions(root.served) == [ONE]
    root.check_is_the_same()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.sampled_from((ONE, TWO, THREE)), unique=True, min_size=1),
            st.booleans(),
            st.lists(st.integers(1, 30), max_size=2),
        ),
        min_size=1,
        max_size=2,
    )
)
def test_wherever_publications_are_killed_the_next_one_makes_the_copy_whole(tmp_path_factory, steps) -> None:
    root = Root(tmp_path_factory.mktemp("root"))
    for wanted, labelled, kills in steps:
        for version in wanted:
            root.push(version)
        write_labels(root.config, "shop", root.served, {"stable": wanted[0]} if labelled else {})
        take_out(root.served, set(versions(root.served)) - set(wanted))
        for kill_at in kills:
            try:
                root.publish(Faults(kill_at, after=root.check_what_servers_see))
            except KilledError:
                root.check_what_servers_see()
        root.publish(Faults(after=root.check_what_servers_see))
        root.check_is_the_same()


class TestFetch:
    def fetch(self, root: Root, faults: Faults | None = None):
        return fetch(folder_store(root.base / "store", faults), root.base / "server" / "shop")

    def test_a_server_gets_what_is_served(self, root: Root) -> None:
        root.push(ONE)
        root.push(TWO)
        write_labels(root.config, "shop", root.served, {"stable": ONE, "canary": TWO})
        root.publish()
        assert self.fetch(root).came == (ONE, TWO)
        server = root.base / "server"
        assert versions(server / "shop") == [ONE, TWO]
        assert check_bundle(server / "shop" / str(ONE)) == check_bundle(root.served / str(ONE))
        assert read_labels(server / "models.config", "shop") == {"stable": ONE, "canary": TWO}
        assert self.fetch(root) == type(self.fetch(root))()
        write_labels(root.config, "shop", root.served, {})
        take_out(root.served, [TWO])
        root.publish()
        assert self.fetch(root).left == (TWO,)
        assert (versions(server / "shop"), read_labels(server / "models.config", "shop")) == ([ONE], {})

    def test_what_is_not_named_yet_is_left_alone(self, root: Root) -> None:
        root.push(ONE)
        root.publish()
        root.push(TWO)
        faults = Faults()
        faults.after = lambda: self.fetch(root)
        root.publish(faults)
        assert versions(root.base / "server" / "shop") == [ONE, TWO]

    def test_an_empty_place_takes_nothing_out_of_service(self, root: Root) -> None:
        root.push(ONE)
        root.publish()
        self.fetch(root)
        shutil.rmtree(root.place)
        self.fetch(root)
        assert versions(root.base / "server" / "shop") == [ONE]

    def test_a_damaged_version_does_not_get_there(self, root: Root) -> None:
        root.push(ONE)
        root.publish()
        self.fetch(root)
        root.push(TWO)
        root.publish()
        (root.place / str(TWO) / "variables" / "variables.data").write_text("damaged")
        with pytest.raises(
            ObjectStoreError, match=rf"Version {TWO} must be whole in s3://bucket/models/shop\. .*part var"
        ):
            self.fetch(root)
        assert sorted(path.name for path in (root.base / "server" / "shop").iterdir()) == [str(ONE)]
