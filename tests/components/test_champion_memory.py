"""The replay memory that a candidate gets is the one made together with the champion."""

from __future__ import annotations

import itertools

from tfx.types import artifact, standard_artifacts

from components.artifacts import ReplayMemory
from components.resolvers import Champion


def made(kind: type[artifact.Artifact], number: int, **properties: int) -> artifact.Artifact:
    created = kind()
    created.id = number
    for name, value in properties.items():
        created.set_int_custom_property(name, value)
    return created


def resolve(models: list, blessings: list, memories: list, span: int) -> list[int]:
    inputs = {"model": models, "model_blessing": blessings, "memory": memories, "sequences": []}
    return [memory.id for memory in Champion(span, 3).resolve_artifacts(None, inputs)["memory"]]


def day(span: int, first_id: int, blessed: int = 1, revoked: int = 0) -> tuple[list, list, list]:
    version = span * 100 + 1
    return (
        [made(standard_artifacts.Model, first_id, span=span, version=version, revoked=revoked)],
        [made(standard_artifacts.ModelBlessing, first_id + 1, current_model_id=first_id, blessed=blessed)],
        [made(ReplayMemory, first_id + 2, span=span, version=version)],
    )


def together(*days: tuple[list, list, list]) -> tuple[list, list, list]:
    models, blessings, memories = (list(itertools.chain(*lists)) for lists in zip(*days, strict=True))
    return models, blessings, memories


def test_the_memory_is_of_the_champion_not_of_the_newest_candidate():
    assert resolve(*together(day(1, 10), day(2, 20)), span=3) == [22]
    assert resolve(*together(day(1, 10), day(2, 20, blessed=0)), span=3) == [12], "refused"
    assert resolve(*together(day(1, 10), day(2, 20, revoked=1)), span=3) == [12], "revoked"
    assert resolve(*together(day(1, 10), day(2, 20)), span=2) == [12], "an old span is run again"


def test_without_a_champion_or_with_one_from_before_there_were_memories_there_is_none():
    assert resolve([], [], [], span=1) == []
    models, blessings, _ = day(1, 10)
    assert resolve(models, blessings, [], span=2) == []
