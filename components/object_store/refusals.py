"""What a store's library says, in three kinds: it is away for now, it does not let us, it has no such thing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Literal

Kind = Literal["away", "keys", "missing", "other"]

_KEYS = {
    "AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "Forbidden", "InvalidAccessKeyId",
    "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "401", "403",
}  # fmt: skip
_AWAY = {
    "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "SlowDownRead",
    "SlowDownWrite", "ServerNotInitialized", "XMinioServerNotInitialized", "429", "500", "502", "503", "504",
}  # fmt: skip
_MISSING = {"NoSuchBucket", "NoSuchKey", "404"}
# By name, because neither of the libraries is there without the other's store.
_OF_LIBRARY: dict[str, Kind] = {
    "NoCredentialsError": "keys",
    "PartialCredentialsError": "keys",
    "CredentialRetrievalError": "keys",
    "DefaultCredentialsError": "keys",
    "RefreshError": "keys",
    "EndpointConnectionError": "away",
    "ConnectionClosedError": "away",
    "HTTPClientError": "away",
    "ClientError": "away",  # aiohttp's: botocore's own has a code, which goes before
    "RequestException": "away",
    "TransportError": "away",
    "FSTimeoutError": "away",
    "IncompleteRead": "away",
    "ResponseParserError": "away",
    "ChecksumError": "away",
}
_BUSY = {errno.EBUSY, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH}


def kind_of(error: BaseException) -> Kind:
    """Which of them an error is; "other" is none of the store's, or none that is known."""
    # What the store itself has answered says more than what its library makes of it.
    for cause in causes(error):
        code = _code(cause)
        for codes, kind in ((_KEYS, "keys"), (_AWAY, "away"), (_MISSING, "missing")):
            if code in codes:
                return kind  # type: ignore[return-value]
    for cause in causes(error):
        if isinstance(cause, FileNotFoundError):
            return "missing"
        if isinstance(cause, PermissionError) or "Forbidden" in str(cause):
            return "keys"
        if isinstance(cause, (ConnectionError, TimeoutError)):
            return "away"
        if isinstance(cause, OSError) and cause.errno in _BUSY:
            return "away"
        for parent in type(cause).__mro__:
            if kind := _OF_LIBRARY.get(parent.__name__):  # type: ignore[assignment]
                return kind
    return "other"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "code", "") or "")  # gcsfs's
