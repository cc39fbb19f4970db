"""Measures a span, judges it by those before it, and says whether it is held."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.artifacts import FILES, HELD
from components.resolvers import span_of
from components.span_guard.anomalies import held_by
from components.span_guard.events import read_day
from components.span_guard.figures import measure
from components.span_guard.limits import Rules, judge, reasons
from components.span_guard.profile import Profile

_FINGERPRINT = "input_fingerprint"
_MOST_SAID = 3
_DAY = (
    86_400_000  # milliseconds; where a span begins does not fit into 32 bits, which is all that MLMD has in PostgreSQL
)


class Executor(base_executor.BaseExecutor):
    """Writes the profile; `held` (0 or 1), `reason` and the span's `files` become properties of the artifact.

    The reason is there also where a span is let in all the same: `guard.hold` is off, or a person has released these
    files. Of others, a new delivery, the release says nothing.
    """

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (examples,), (output,) = input_dict["examples"], output_dict["profile"]
        span = exec_properties["span"]
        start = span * _DAY if exec_properties["dated"] else None
        rules = Rules.from_json(exec_properties["rules"])
        past = [Profile.read(profile.uri) for profile in sorted(input_dict.get("past") or [], key=span_of)]
        profile = measure(span, read_day(examples, start), past)
        judged = judge(profile.figures, [(before.span, before.figures) for before in past], span, rules)
        why = [*held_by(input_dict["anomalies"][0]), *reasons(profile.figures, judged)]
        files = examples.get_string_custom_property(_FINGERPRINT)
        released = any(
            earlier.get_string_custom_property(FILES) == files for earlier in input_dict.get("released") or []
        )
        profile.write(output.uri, {"judged": [dataclasses.asdict(judgement) for judgement in judged], "reasons": why})
        output.set_int_custom_property("span", span)
        output.set_int_custom_property(HELD, int(bool(why) and rules.hold and not released))
        output.set_string_custom_property("reason", _in_short(why))
        output.set_string_custom_property(FILES, files)


def _in_short(why: list[str]) -> str:
    """The worst of them: the profile has all."""
    left = len(why) - _MOST_SAID
    return "; ".join([*why[:_MOST_SAID], *([f"and {left} more"] if left > 0 else [])])
