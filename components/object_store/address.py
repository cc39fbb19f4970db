"""Addresses of object stores: `s3://bucket/folder`, `gs://bucket/folder`. No fsspec is imported for one."""

from __future__ import annotations

import re
from typing import Any

# The library that fsspec takes for a scheme, and the extra of warmspan that brings it.
LIBRARIES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}
EXAMPLES = " or ".join(f"{scheme}://bucket/folder" for scheme in LIBRARIES)
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z0-9]+)://(?P<bucket>[^/]+)(?:/(?P<below>.*))?", re.DOTALL)


class StoreAddress(str):
    """A place in a bucket, without a slash at its end: everything whose name goes on with a slash lies below it."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> StoreAddress:
        """Reads an address.

        Raises:
          ValueError: it is none, of another kind of store, or has a part that is empty, `.` or `..`.
        """
        text = str(value)
        match = _ADDRESS.fullmatch(text)
        if match is None or match["scheme"] not in LIBRARIES:
            raise ValueError(f"must be an address of an object store, {EXAMPLES}. Received: {text!r}.")
        parts = (match["below"] or "").removesuffix("/").split("/") if match["below"] else []
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(
                f"must be an address whose parts have names, {EXAMPLES}. Received: {text!r}. Leave out double slashes "
                "and dots."
            )
        return cls("/".join([f"{match['scheme']}://{match['bucket']}", *parts]))

    @property
    def scheme(self) -> str:
        return self.partition("://")[0]

    @property
    def bucket(self) -> StoreAddress:
        """The bucket's own address."""
        return StoreAddress("/".join(self.split("/", 3)[:3]))

    @property
    def key(self) -> str:
        """The name within the bucket; empty for the bucket itself."""
        return "/".join(self.split("/", 3)[3:])

    def below(self, name: str) -> StoreAddress:
        """The address of what is called `name` below this one."""
        return StoreAddress(f"{self}/{name}")


def is_address(path: object) -> bool:
    """Whether a file's path is an address of an object store."""
    return str(path).startswith(tuple(f"{scheme}://" for scheme in LIBRARIES))
