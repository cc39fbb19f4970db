"""TFX's resolution of span, version and fingerprint, with a first delivery that has no version and readable errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from tfx.components.example_gen import driver, input_processor, utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2, range_config_pb2

from components.span_example_gen.errors import SpanError

# The folder of a version, as it stands in a pattern: `v{VERSION}/`, `{VERSION:2}/`.
_VERSION_FOLDER = re.compile(r"[^/{}]*\{VERSION(:\d+)?\}[^/{}]*/")
FIRST_DELIVERY = 0


class SpanInputProcessor(input_processor.FileBasedInputProcessor):
    """Finds the newest version of a span; files without a version are version 0, older than any other."""

    def __init__(
        self,
        input_base_uri: str,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
    ) -> None:
        super().__init__(input_base_uri, splits, range_config)
        self._plain: input_processor.FileBasedInputProcessor | None = None

    def resolve_span_and_version(self) -> tuple[int, int | None]:
        """Span and version; raises SpanError where the span has no files."""
        span = self._range_config.static_range.start_span_number
        pattern = next(iter(self._splits)).pattern
        if not fileio.exists(self._input_base_uri):
            raise SpanError(
                f"`data.path` must be the folder of all spans. Received: {self._input_base_uri}, not there."
            )
        if self._files(pattern, span, "*"):
            try:
                return super().resolve_span_and_version()
            except ValueError as error:
                raise SpanError(
                    f"The files of {self._filled(pattern, span, '*')!r} in {self._input_base_uri} must name a version "
                    f"by a number. {error}. Rename or remove the folder."
                ) from None
        plain = _VERSION_FOLDER.sub("", pattern)
        if plain != pattern and self._files(plain, span, ""):
            splits = [example_gen_pb2.Input.Split(name=split.name, pattern=plain) for split in self._splits]
            self._plain = input_processor.FileBasedInputProcessor(self._input_base_uri, splits, self._range_config)
            span, _ = self._plain.resolve_span_and_version()
            return span, FIRST_DELIVERY
        raise SpanError(
            f"The span must have files. Received: none for {self._filled(pattern, span, '*')!r} in "
            f"{self._input_base_uri}. Deliver the span, or correct `data.path` and `data.pattern`."
        )

    def get_pattern_for_span_version(self, pattern: str, span: int, version: int | None) -> str:
        """The pattern with span and version filled in."""
        if self._plain is not None:
            return self._plain.get_pattern_for_span_version(_VERSION_FOLDER.sub("", pattern), span, None)
        return super().get_pattern_for_span_version(pattern, span, version)

    def get_input_fingerprint(self, span: int, version: int | None) -> str | None:
        """TFX's fingerprint of the span's files: count, bytes and times of change."""
        if self._plain is not None:
            return self._plain.get_input_fingerprint(span, None)
        return super().get_input_fingerprint(span, version)

    def _files(self, pattern: str, span: int, version: str) -> list[str]:
        paths = fileio.glob(os.path.join(self._input_base_uri, self._filled(pattern, span, version)))
        return [path for path in paths if not fileio.isdir(path)]

    def _filled(self, pattern: str, span: int, version: str) -> str:
        filled = utils.get_pattern_for_span_version(
            pattern, bool(self._is_match_span), bool(self._is_match_date), False, span, None
        )
        return re.sub(utils.VERSION_FULL_REGEX, version, filled)


class SpanDriver(driver.FileBasedDriver):
    """TFX's driver of file-based ExampleGens with the processor above."""

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> SpanInputProcessor:
        """The processor for these splits."""
        assert input_base_uri
        return SpanInputProcessor(input_base_uri, splits, range_config)
