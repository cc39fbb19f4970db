"""The section `alerts` of the settings: who is told when something has happened that a person should know."""

from __future__ import annotations

import shlex
from typing import Literal
from urllib.parse import urlsplit

import pydantic

from pipeline.config.section import Section

What = Literal["failure", "refused", "held", "gap", "drift", "unusual"]


class Alerts(Section):
    """`command` gets the alert as JSON on its standard input, `webhook` as the body of a POST; both if both are given.

    `on`: a node failed, the gate refused a candidate, the guard holds a span, days without files, a drift limit was
    reached, a figure of the span is far from the days before. `timeout`: seconds that a command or a webhook may take.
    """

    command: str | tuple[str, ...] | None = None
    webhook: str | None = None
    on: tuple[What, ...] = ("failure", "refused", "held", "gap", "drift", "unusual")
    timeout: float = pydantic.Field(default=10.0, gt=0)

    @pydantic.field_validator("command")
    @classmethod
    def _can_be_run(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        try:
            empty = value is not None and not (shlex.split(value) if isinstance(value, str) else value)
        except ValueError as error:
            raise ValueError(f"must be a command line ({error}). Received: {value!r}.") from None
        if empty:
            raise ValueError(f"must name a program. Received: {value!r}.")
        return value

    @pydantic.field_validator("webhook")
    @classmethod
    def _has_an_address(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError(f"must be an address like https://example.com/hook. Received: {value!r}.")
        return value

    @property
    def argv(self) -> tuple[str, ...]:
        """The command and its arguments; empty without one."""
        if self.command is None:
            return ()
        return tuple(shlex.split(self.command)) if isinstance(self.command, str) else self.command
