"""Files of a trained model that hold ids: variables, warm-up requests and reference answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.incremental_trainer.artifact_files import REFERENCE_FILE
from pipeline.erasure.formats.base import FileFormat, RewritableFormat, Unreadable
from pipeline.erasure.id_matcher import IdMatcher
from serving.bundle.erasure import strings_of, warm_up_users
from serving.bundle.reference_answers import Reference
from serving.bundle.warmup_requests import WARM_UP_FILE
from trainer.keras2 import tf


class Variables(FileFormat):
    """A SavedModel's tensors of strings, which stand in the file without anything between them; not the items'.

    A SavedModel and its manifest change as a whole: see `serving.bundle.erasure`.
    """

    def matches(self, path: Path) -> bool:
        return path.name.startswith("variables.data-")

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[None, int]]:
        if not path.with_name("variables.index").exists():
            raise Unreadable(path)
        try:
            tensors = strings_of(path.with_name("variables"))
        except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
            raise Unreadable(path) from error
        yield None, sum(value in matcher.ids for values in tensors.values() for value in values.ravel().tolist())


class WarmUp(FileFormat):
    """Users of the requests that a SavedModel is warmed up with. It changes as a whole, as its variables do."""

    def matches(self, path: Path) -> bool:
        return path.parts[-2:] == WARM_UP_FILE.parts

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[None, int]]:
        yield None, sum(user in matcher.ids for user in warm_up_users(path.parents[1]))


class ReferenceAnswers(RewritableFormat):
    """Positions that a model must answer; those of the users go."""

    def matches(self, path: Path) -> bool:
        return path.name == REFERENCE_FILE

    def walk(self, path: Path, matcher: IdMatcher) -> Iterator[tuple[Reference, int]]:
        reference, kept, total = Reference.load(path), [], 0
        for place, user in enumerate(reference.users):
            example = reference.examples[place] if place < len(reference.examples) else b""
            keys = tf.train.Example.FromString(example).features.feature["key"].bytes_list.value
            times = sum(id_ in matcher.ids for id_ in (user, *keys))
            kept += [] if times else [place]
            total += times
        names = ("users", "histories", "items", "scores", *(["examples"] if reference.examples else []))
        columns: dict[str, Any] = {name: [getattr(reference, name)[place] for place in kept] for name in names}
        yield dataclasses.replace(reference, **columns), total

    def write(self, beside: Path, parts: Iterator[Reference], path: Path) -> None:
        for reference in parts:
            reference.save(beside)
