"""Bytes of a request body to Python values, by the rules of TensorFlow Serving's JSON parser.

Python's own parser does the work. What it can't read, or reads otherwise, goes through an exact reader without
recursion: it gives the server's wording and byte offset for a fault, takes `Inf` and any depth, and refuses numbers
beyond a double and half surrogate pairs. Bytes that are not UTF-8 come through as surrogate escapes, so that a string
tensor gets them unchanged.
"""

from __future__ import annotations

import json
import re
from typing import Any

from serving.errors import ServingError, invalid

# The exact reader takes about a second for this much; of a longer body only the place of the fault is told.
EXACT_LIMIT = 1 << 20
SHOWN_LENGTH = 256

_SUSPECT = re.compile(
    rb"\d[eE]\+?\d{3}|\d{300}"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
    # After a backslash that is escaped itself, which half belongs to which is for the exact reader to say.
    rb"|\\\\u[dD][89a-fA-F]"
)
# What none of these is found in needs no look by that rule, which takes longer than the parser. Of 300 digits in a row
# nine are among every 32nd byte.
_LONG_EXPONENT, _LONG_NUMBER = re.compile(rb"[eE]\+?\d{3}"), re.compile(rb"\d{9}")
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CONSTANT = re.compile(r"-?(?:NaN|Infinity|Inf(?!i))")
_ESCAPES = '"\\/bfnrt'
_WORDS = {"n": ("null", None), "t": ("true", True), "f": ("false", False)}


class RepeatedKeys(dict[str, Any]):
    """An object with `size` members, some of the same key: it holds the first of each key, and `last` the last.

    TF Serving looks a key up from the front; only the features of an example are written one over the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, Any] = {}
        self.size = 0

    def add(self, key: str, value: Any) -> None:
        self.setdefault(key, value)
        self.last[key] = value
        self.size += 1


def read_json(body: bytes) -> Any:
    """Parses `body`. An object with a key given more than once comes as `RepeatedKeys`.

    Raises:
      ServingError: INVALID_ARGUMENT, `JSON Parse error: <fault> at offset: <byte>`.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    exact = len(body) <= EXACT_LIMIT
    suspect = _is_suspect(body)
    if not (exact and suspect):
        try:
            return (_CAREFUL if suspect else _PLAIN).decode(text)
        except RecursionError:
            if not exact:
                raise invalid("JSON Parse error: Nested too deeply.") from None
        except json.JSONDecodeError as error:
            if not exact:
                offset = _byte_offset(text, _fault(text, error.pos))
                raise invalid(f"JSON Parse error: Invalid value, name or separator. at offset: {offset}") from None
    return _ExactReader(text).read()


def _is_suspect(body: bytes) -> bool:
    perhaps = b"\\u" in body or _LONG_EXPONENT.search(body) or _LONG_NUMBER.search(body[::32])
    return bool(perhaps and _SUSPECT.search(body))


def show_json(value: Any) -> str:
    """How a value is quoted in an error: as JSON, indented, cut after 256 characters."""
    text = ""
    try:
        # Piece by piece: a large request must not be written out whole for the little that is shown of it.
        for piece in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
            text += piece
            if len(text) > SHOWN_LENGTH:
                break
    except RecursionError:
        text = "(nested too deeply to be shown)"
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "..."


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated = RepeatedKeys()
    for key, value in pairs:
        repeated.add(key, value)
    return repeated


def _integer(token: str) -> int | float:
    # Beyond 64 bits an integer is a double, in TF Serving and in every tensor.
    return int(token) if len(token) <= 20 else float(token)


_PLAIN = json.JSONDecoder(object_pairs_hook=_members)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_members, parse_int=_integer)


def _fault(text: str, position: int) -> int:
    """Where a value or a name should begin and does not: some Pythons give the comma that has nothing behind it."""
    return _SPACE.match(text, position + 1).end() if text[position : position + 1] == "," else position  # type: ignore[union-attr]


def _byte_offset(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8", "surrogateescape"))


class _ExactReader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def read(self) -> Any:
        self._skip_space()
        if not self._peek():
            raise self._fault("The document is empty.")
        root: list[Any] = []
        # One frame for each open list or object: the container, and the key that waits for its value.
        frames: list[tuple[list[Any] | dict[str, Any], str | None]] = [(root, None)]
        while True:
            value = self._value()
            container, key = frames[-1]
            if isinstance(container, RepeatedKeys):
                assert key is not None
                container.add(key, value)
            else:
                assert isinstance(container, list)
                container.append(value)
            if isinstance(value, list | dict) and self._open(value, frames):
                continue
            if not self._close(frames, root):
                return root[0]

    def _open(self, value: list[Any] | dict[str, Any], frames: list[Any]) -> bool:
        """True when `value` was just opened and is not closed at once."""
        self._skip_space()
        if isinstance(value, list):
            if self._peek() == "]":
                self.position += 1
                return False
            frames.append((value, None))
        else:
            if self._peek() == "}":
                self.position += 1
                return False
            frames.append((value, self._key()))
        return True

    def _close(self, frames: list[Any], root: list[Any]) -> bool:
        """After a value: goes on to the next one. False at the end of the document."""
        while True:
            self._skip_space()
            container, _ = frames[-1]
            if container is root:
                if self.position < len(self.text):
                    raise self._fault("The document root must not be followed by other values.")
                return False
            mark = self._peek()
            is_list = isinstance(container, list)
            if mark == ",":
                self.position += 1
                self._skip_space()
                if not is_list:
                    frames[-1] = (container, self._key())
                return True
            if mark != ("]" if is_list else "}"):
                what = "] after an array element" if is_list else "} after an object member"
                raise self._fault(f"Missing a comma or {what}.")
            self.position += 1
            frames.pop()

    def _value(self) -> Any:
        start, mark = self.position, self._peek()
        if mark == '"':
            return self._string()
        if mark in ("[", "{"):
            self.position += 1
            return [] if mark == "[" else RepeatedKeys()
        if mark in _WORDS:
            word, value = _WORDS[mark]
            for letter in word:
                if self._peek() != letter:
                    raise self._fault("Invalid value.")
                self.position += 1
            return value
        if constant := _CONSTANT.match(self.text, start):
            self.position = constant.end()
            return float(constant[0].replace("Infinity", "inf"))
        return self._number()

    def _number(self) -> int | float:
        start = self.position
        match = _NUMBER.match(self.text, start)
        if not match:
            raise self._fault("Invalid value.", start + (self._peek() == "-"))
        self.position = match.end()
        fraction, exponent = match.groups()
        follower = self._peek()
        if follower == "." and fraction is None and exponent is None:
            raise self._fault("Miss fraction part in number.", self.position + 1)
        if follower in ("e", "E") and exponent is None:
            sign = self.text[self.position + 1 : self.position + 2] in ("+", "-")
            raise self._fault("Miss exponent in number.", self.position + 1 + sign)
        token = match[0]
        number = _integer(token) if fraction is None and exponent is None else float(token)
        if number in (float("inf"), float("-inf")):
            raise self._fault("Number too big to be stored in double.", start)
        return number

    def _key(self) -> str:
        if self._peek() != '"':
            raise self._fault("Missing a name for object member.")
        key = self._string()
        self._skip_space()
        if self._peek() != ":":
            raise self._fault("Missing a colon after a name of object member.")
        self.position += 1
        self._skip_space()
        return key

    def _string(self) -> str:
        start = self.position
        pieces: list[str] = []
        position = start + 1
        while True:
            end = position
            while end < len(self.text) and self.text[end] not in '"\\' and self.text[end] >= " ":
                end += 1
            pieces.append(self.text[position:end])
            mark = self.text[end : end + 1]
            if mark == '"':
                self.position = end + 1
                return "".join(pieces)
            if mark != "\\":
                missing = mark in ("", "\0")
                fault = "Missing a closing quotation mark in string." if missing else "Invalid encoding in string."
                raise self._fault(fault, end)
            piece, position = self._escape(end)
            pieces.append(piece)

    def _escape(self, start: int) -> tuple[str, int]:
        letter = self.text[start + 1 : start + 2]
        if letter and letter in _ESCAPES:
            return json.loads(f'"\\{letter}"'), start + 2
        if letter != "u":
            raise self._fault("Invalid escape character in string.", start)
        code = self._hex(start, start + 2)
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code), start + 6
        if code >= 0xDC00 or self.text[start + 6 : start + 8] != "\\u":
            raise self._fault("The surrogate pair in string is invalid.", start)
        low = self._hex(start, start + 8)
        if not 0xDC00 <= low <= 0xDFFF:
            raise self._fault("The surrogate pair in string is invalid.", start)
        return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), start + 12

    def _hex(self, escape: int, start: int) -> int:
        digits = self.text[start : start + 4]
        if not re.fullmatch("[0-9a-fA-F]{4}", digits):
            raise self._fault("Incorrect hex digit after \\u escape in string.", escape)
        return int(digits, 16)

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        assert match is not None
        self.position = match.end()

    def _fault(self, what: str, position: int | None = None) -> ServingError:
        offset = _byte_offset(self.text, self.position if position is None else position)
        return invalid(f"JSON Parse error: {what} at offset: {offset}")
