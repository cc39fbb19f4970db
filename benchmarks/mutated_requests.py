"""Requests that are nearly right: valid ones of a served model with a few things changed, as bytes of HTTP."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from typing import Any

_NAMES = ("user_id", "history", "candidates", "examples", "key", "weight", "b64", "instances", "inputs", "", "é")
_SIGNATURES = ("serving_default", "rank", "evaluate", "evaluate_rows", "", "nobody", "__saved_model_init_op", 7, None)
_VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1.0, 0.1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**40, 1e308, -0.0, float("nan")),
    *("", "u1", "i0000001", "\x00", "é你😀", "\ud800", "x" * 2000, [], {}, [[]], [{}], {"b64": ""}, {"b64": "@"}),
    *({"b64": "/w=="}, [1, [2]], [[1], 2], ["a"] * 100, {"a": {"b": {}}}, float("inf")),
)
_PATHS = (
    *("/v1/models/{}:predict", "/v1/models/{}:classify", "/v1/models/{}:regress", "/v1/models/{}/versions/1:predict"),
    *("/v1/models/{}/versions/99999999999999999999:predict", "/v1/models/{}/labels/no:predict", "/v1/models/{}"),
    *("/v1/models/../../{}:predict", "/v1/models/..%2f..%2fetc%2fpasswd:predict", "/v1/models/%00:predict", "/v1/"),
    *("/v1/models/{}/metadata", "/v1/models/{}/", "//v1/models/{}:predict", "/v1/models/{}:predict?x=1#y", "/", "*"),
    *("/v1/models/%:predict", "/v1/models/" + "a" * 4000 + ":predict", "/V1/MODELS/{}:PREDICT", "/monitoring/x"),
)
_METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "PATCH", "post", "X")
_TOKENS = (
    *(b"NaN", b"Infinity", b"-Inf", b"1e999", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud83d", b"\\u0000"),
    *(b"[[[[", b"{", b"}", b'"'),
)


class Mutator:
    """An endless source of requests for the model `name`, the same for the same seed."""

    def __init__(self, name: str, valid: Sequence[Any], seed: int) -> None:
        self._name = name
        self._valid = valid
        self._random = random.Random(seed)

    def request(self) -> bytes:
        """One request, most often a POST to the model."""
        pick = self._random
        path = _PATHS[0] if pick.random() < 0.85 else pick.choice(_PATHS)
        method = "POST" if pick.random() < 0.95 else pick.choice(_METHODS)
        body = self.body()
        headers = [b"Host: x", b"Content-Length: %d" % len(body)]
        chance = pick.random()
        if chance < 0.05:
            body = gzip.compress(body, 1, mtime=0) if chance < 0.03 else body
            headers = [b"Host: x", b"Content-Length: %d" % len(body), b"Content-Encoding: gzip"]
        elif chance < 0.1:
            headers.append(pick.choice((b"Content-Type: text/\xff", b"X: " + b"y" * 5000, b"Expect: nothing")))
        line = f"{method} {path.format(self._name)} HTTP/1.1".encode()
        return b"\r\n".join([line, *headers, b"", body])

    def body(self) -> bytes:
        """A valid body with up to three parts exchanged and, one time in three, some bytes too."""
        pick = self._random
        document = json.loads(json.dumps(pick.choice(self._valid)))
        for _ in range(pick.randrange(4)):
            document = self._changed(document)
        body = bytearray(json.dumps(document, ensure_ascii=pick.random() < 0.5).encode("utf-8", "surrogatepass"))
        if pick.random() < 0.33:
            for _ in range(pick.randrange(1, 4)):
                self._change_bytes(body)
        elif pick.random() < 0.02:
            body = bytearray(bytes(body).decode("utf-8", "replace").encode(pick.choice(("utf-16", "utf-32", "utf-7"))))
        return bytes(body)

    def _changed(self, document: Any) -> Any:
        """The document with one place in it exchanged, taken out, repeated or named otherwise."""
        pick = self._random
        if not isinstance(document, dict | list) or not document or pick.random() < 0.1:
            return pick.choice(_VALUES)
        if isinstance(document, list):
            at = pick.randrange(len(document))
            if pick.random() < 0.2:
                return document[:at] + document[at + 1 :] if pick.random() < 0.5 else document * pick.randrange(2, 5)
            return [*document[:at], self._changed(document[at]), *document[at + 1 :]]
        key = pick.choice(list(document))
        chance = pick.random()
        if chance < 0.1:
            return {name: value for name, value in document.items() if name != key}
        if chance < 0.2:
            return {**document, pick.choice(_NAMES): pick.choice(_VALUES)}
        if chance < 0.3:
            return {**document, "signature_name": pick.choice(_SIGNATURES)}
        return {**document, key: self._changed(document[key])}

    def _change_bytes(self, body: bytearray) -> None:
        pick = self._random
        at = pick.randrange(len(body) + 1)
        chance = pick.random()
        if chance < 0.3:
            body[at:at] = pick.choice(_TOKENS)
        elif chance < 0.6:
            del body[at : at + pick.randrange(1, 9)]
        elif chance < 0.8:
            body[at : at + 1] = bytes([pick.randrange(256)])
        else:
            body[at:at] = body[: pick.randrange(1, 20)]
